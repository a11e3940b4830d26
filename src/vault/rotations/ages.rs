//! How old the keys are, how old they may become, and what the vault does about it: cryptoperiods (NIST SP 800-57 part 1, 5.3) and schedules.
//!
//! The clock of a kind of key begins when the vault is made, and anew when a rotation of that kind begins that comes to its end. A key that is
//! past its time is an alarm, once: a line in the trail and in the log, a letter to the privacy officer of each controller, and `overdue` in
//! listKeys until it is turned over. It works all the same.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use minicbor::{Decode, Encode};
use parking_lot::RwLock;
use serde_json::Value;

use crate::audit::{Entry, Note, Outcome};
use crate::model::ids::KeyJobId;
use crate::store::layout::{Meta, RowKey};

use super::super::call::Refused;
use super::super::committer::{Change, Draft, settle};
use super::super::core::{Core, fresh};
use super::super::outbox::{self, Delivery, To};
use super::super::rows::{pack, time, unpack};
use super::job::{self, Job};
use super::kind::Kind;
use super::turn::turn_over;

/// A kind of key whose age counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aged {
    /// The root key.
    Root,
    /// The epoch key.
    Epoch,
    /// The keys of the key trees' places.
    Tree,
    /// The keys of people's records.
    Subjects,
    /// The keys under which people are found.
    Index,
    /// The keys of the vault's own rows, its statistics and its tokens.
    Tenant,
    /// The key that signs for the trail.
    Signing,
}

impl Aged {
    /// Every kind.
    pub const ALL: [Self; 7] = [Self::Root, Self::Epoch, Self::Tree, Self::Subjects, Self::Index, Self::Tenant, Self::Signing];

    /// Its name in the configuration, in rows and in listKeys.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Epoch => "epoch",
            Self::Tree => "tree",
            Self::Subjects => "subjects",
            Self::Index => "index",
            Self::Tenant => "tenant",
            Self::Signing => "signing",
        }
    }

    /// The rotation that turns it over in the background.
    const fn kind(self) -> Option<Kind> {
        match self {
            // A root key takes its holder, and an epoch is one transition.
            Self::Root | Self::Epoch => None,
            Self::Tree => Some(Kind::Tree),
            Self::Subjects => Some(Kind::Subjects),
            Self::Index => Some(Kind::Index),
            Self::Tenant => Some(Kind::Tenant),
            Self::Signing => Some(Kind::Signing),
        }
    }
}

/// How old keys may become, in days by kind. What is not there, or 0, is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Periods {
    /// Past this a key is overdue.
    pub overdue: BTreeMap<Aged, u32>,
    /// At this age the vault turns it over by itself.
    pub by_itself: BTreeMap<Aged, u32>,
}

fn is_past(days: Option<&u32>, age: SignedDuration) -> bool {
    days.is_some_and(|days| *days > 0 && age >= SignedDuration::from_hours(24 * i64::from(*days)))
}

/// When one kind of key was last turned over. Sealed under the vault's row key with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct AgeRow {
    #[n(0)]
    name: String,
    /// When its oldest key may have been made; none since the vault was.
    #[n(1)]
    since: Option<i64>,
    /// When it was said that it is overdue.
    #[n(2)]
    told: Option<i64>,
}

/// The ages as their row has them, and when the vault was made.
#[derive(Default)]
pub(crate) struct Ages(RwLock<(Vec<AgeRow>, Timestamp)>);

const ROW: RowKey = RowKey::Meta(Meta::KeyAges);

impl Ages {
    /// Reads them from the store; the vault is as old as the first entry of its trail.
    pub(crate) fn load(&self, core: &Core) -> Result<(), Refused> {
        let key = ROW.bytes();
        let rows = match core.store.row(&key)? {
            Some(sealed) => unpack(core.hierarchy.open_row(&key, &sealed)?.bytes())?,
            None => Vec::new(),
        };
        let first = core.trail.entries(0, 1)?.into_iter().next();
        *self.0.write() = (rows, first.map_or_else(|| core.clock.now(), |(_, entry)| entry.at));
        Ok(())
    }

    /// Since when the oldest key of a kind may be there.
    pub(crate) fn since(&self, core: &Core, aged: Aged) -> Timestamp {
        if aged == Aged::Epoch {
            return *core.epoch_since.read();
        }
        let ages = self.0.read();
        let own = ages.0.iter().find(|row| row.name == aged.word()).and_then(|row| row.since);
        own.map_or(ages.1, time)
    }

    /// When it was told that a kind is overdue.
    fn told(&self, aged: Aged) -> Option<Timestamp> {
        self.0.read().0.iter().find(|row| row.name == aged.word()).and_then(|row| row.told).map(time)
    }
}

/// Adds to a key of listKeys how old it is, how old it may become, and its state: `active`, or `overdue` past its cryptoperiod.
pub(crate) fn show(core: &Core, aged: Aged, mut key: Value) -> Value {
    let since = core.ages.since(core, aged);
    show_since(core, since, &mut key);
    let at = |days: Option<&u32>| {
        let days = days.filter(|days| **days > 0)?;
        since.checked_add(SignedDuration::from_hours(24 * i64::from(*days))).ok().map(|at| at.to_string())
    };
    let (overdue, by_itself) = (core.periods.overdue.get(&aged), core.periods.by_itself.get(&aged));
    key["state"] = if is_overdue(core, aged) { "overdue" } else { "active" }.into();
    (key["overdue_at"], key["rotates_at"]) = (at(overdue).into(), at(by_itself).into());
    key
}

/// Whether a key is past its cryptoperiod.
pub(crate) fn is_overdue(core: &Core, aged: Aged) -> bool {
    is_past(core.periods.overdue.get(&aged), core.clock.now().duration_since(core.ages.since(core, aged)))
}

/// Adds how old a key is.
pub(crate) fn show_since(core: &Core, since: Timestamp, key: &mut Value) {
    key["active_since"] = since.to_string().into();
    key["age_seconds"] = core.clock.now().duration_since(since).as_secs().into();
}

/// The row of the ages in the making: what it says once the batch that `draft` becomes is kept.
pub(crate) struct Noted(Vec<AgeRow>);

/// Counts the age of these keys anew, from `since`: puts the row into `draft`, noted in `entry`.
pub(crate) fn turned_over(
    core: &Core,
    aged: Aged,
    since: Timestamp,
    draft: &mut Draft<'_>,
    entry: &mut Entry,
) -> Result<Noted, Refused> {
    note(core, aged, draft, entry, |row| (row.since, row.told) = (Some(since.as_microsecond()), None))
}

fn note(
    core: &Core,
    aged: Aged,
    draft: &mut Draft<'_>,
    entry: &mut Entry,
    change: impl FnOnce(&mut AgeRow),
) -> Result<Noted, Refused> {
    let mut rows = core.ages.0.read().0.clone();
    let place = rows.iter().position(|row| row.name == aged.word());
    let place = place.unwrap_or_else(|| {
        rows.push(AgeRow { name: aged.word().to_owned(), ..AgeRow::default() });
        rows.len() - 1
    });
    change(&mut rows[place]);
    let key = ROW.bytes();
    let value = core.hierarchy.seal_row(&key, &pack(&rows)?)?;
    draft.note(entry, key, false, Some(value))?;
    Ok(Noted(rows))
}

impl Noted {
    /// The batch was kept.
    pub(crate) fn kept(self, core: &Core) {
        core.ages.0.write().0 = self.0;
    }
}

/// Looks at every kind: tells of those that are overdue, and begins what is scheduled. On the committer's thread only.
pub(crate) fn look(core: &Core) -> Result<(), Refused> {
    let now = core.clock.now();
    for aged in Aged::ALL {
        let since = core.ages.since(core, aged);
        let age = now.duration_since(since);
        if is_past(core.periods.by_itself.get(&aged), age) {
            turn(core, aged, since)?;
        }
        if is_past(core.periods.overdue.get(&aged), age) && core.ages.told(aged).is_none_or(|told| told < since) {
            tell(core, aged, since)?;
        }
    }
    Ok(())
}

/// Turns it over by itself, unless that is under way, or was tried today.
fn turn(core: &Core, aged: Aged, since: Timestamp) -> Result<(), Refused> {
    let now = core.clock.now();
    let Some(kind) = aged.kind() else {
        if aged != Aged::Epoch {
            return Ok(());
        }
        let event = core.event("rotateEpoch", Outcome::Done, Note::None)?;
        return turn_over(core, |core| core.hierarchy.begin(&core.rows(), &[]), event, |_, _, _| Ok(()));
    };
    let lately = |job: &Job| !job.state().is_end() || now.duration_since(job.asked_at()) < SignedDuration::from_hours(24);
    if core.jobs.last_of(kind).is_some_and(|job| lately(&job)) {
        return Ok(());
    }
    tracing::info!(kind = kind.word(), %since, "a rotation is due by the schedule");
    let id = KeyJobId::from_bytes(fresh()?);
    let job = Job::new(core.jobs.next_number(), kind, None, None, now);
    job::keep(core, &id, &job, core.event("rotationAsked", Outcome::Done, Note::None)?)
}

fn tell(core: &Core, aged: Aged, since: Timestamp) -> Result<(), Refused> {
    tracing::warn!(key = aged.word(), %since, "a key is past its cryptoperiod: rotate it (docs/OPERATIONS.md)");
    let mut draft = Draft::new(core);
    let mut entry = core.event("keyOverdue", Outcome::Done, Note::None)?;
    for tenant in core.tenants.all() {
        let letter = Delivery::new(core, &tenant, To::Officer, "key-overdue").with("key", aged.word()).with("since", since);
        let mut change = Change::default();
        outbox::put(core, &letter, &mut change)?;
        for row in change.rows {
            draft.note(&mut entry, row.key, true, row.value)?;
        }
    }
    let now = core.clock.now();
    let noted = note(core, aged, &mut draft, &mut entry, |row| row.told = Some(now.as_microsecond()))?;
    settle(core, &mut draft, vec![entry])?;
    noted.kept(core);
    Ok(())
}
