//! What is on its way out: letters to people, to the privacy officer and to authorities, and calls to partners. One row each, and
//! nothing personal in it: an address and a text are looked up when it goes out, under the keys that the person then has.
//!
//! A round tries whatever is due. What could not be sent is tried again, less and less often, until its time is over; a message
//! goes out at least once: where the process ends between the sending and the note of it, it goes out again under the same id.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use minicbor::{Decode, Encode};
use parking_lot::Mutex;

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::{DeliveryId, NoticeId, SubjectId, TenantId};
use crate::model::states::DELIVERY;
use crate::post::Failed;
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::call::Refused;
use super::committer::{Change, Committer, Expect, RowChange};
use super::core::{Core, fresh};
use super::lifecycle::Vault;
use super::rows::{pack, time, unpack};
use super::{callbacks, letters, publications};

/// Messages that are looked at together.
const PAGE: usize = 100;

/// The first wait before another try; each is twice as long as the one before.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// The longest wait between two tries.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(6);

/// How long a letter is tried (RFC 5321, 4.5.4.1).
const LETTERS_FOR: SignedDuration = SignedDuration::from_hours(5 * 24);

/// How long a partner is tried.
const PARTNERS_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long it is kept what became of a message that is nobody's own.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Rest after each page, so that a round never takes a processor from the callers.
const REST: Duration = Duration::from_millis(10);

/// To whom something goes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum To {
    /// A person; what is to be said stands in the notice's row, under the person's key.
    #[n(0)]
    Person {
        #[cbor(n(0), with = "minicbor::bytes")]
        subject: [u8; 16],
        #[cbor(n(1), with = "minicbor::bytes")]
        notice: [u8; 16],
    },
    /// The controller's privacy officer.
    #[n(1)]
    Officer,
    /// A partner, by its id, at its callback.
    #[n(2)]
    Partner(#[n(0)] String),
    /// An authority of the directory, by its id.
    #[n(3)]
    Authority(#[n(0)] String),
}

/// A word of a letter, by its name: an id, a date, a code; never anything personal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Word {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub value: String,
}

/// One message. Sealed under the vault's row key; times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Delivery {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    #[n(1)]
    pub to: To,
    /// Which letter of the controller's; for a partner, the kind of event: `update`, `restriction`, `erasure`.
    #[n(2)]
    pub template: String,
    #[n(3)]
    pub words: Vec<Word>,
    /// What is posted to a partner, ready and signed.
    #[n(4)]
    pub body: Option<String>,
    #[n(5)]
    pub made_at: i64,
    /// When it is to be acknowledged at the latest; later it stands in the list of what is overdue.
    #[n(6)]
    pub due_at: Option<i64>,
    #[n(7)]
    pub next_at: i64,
    #[n(8)]
    pub tries: u32,
    /// A number of [`DELIVERY`]'s states.
    #[n(9)]
    pub state: u8,
    /// When it came to that state.
    #[n(10)]
    pub state_at: i64,
    /// What it is about: an erasure, a request, an incident, a case, by the bytes of its id.
    #[cbor(n(11), with = "minicbor::bytes")]
    pub about: Option<[u8; 16]>,
}

impl Delivery {
    /// A message that waits from now on.
    pub(crate) fn new(core: &Core, tenant: &Tenant, to: To, template: &str) -> Self {
        let now = core.clock.now().as_microsecond();
        Self {
            tenant: *tenant.id().bytes(),
            to,
            template: template.to_owned(),
            words: Vec::new(),
            body: None,
            made_at: now,
            due_at: None,
            next_at: now,
            tries: 0,
            state: 0,
            state_at: now,
            about: None,
        }
    }

    /// The same with a word more.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.words.push(Word { name: name.to_owned(), value: value.to_string() });
        self
    }

    /// Moves on by an action of [`DELIVERY`].
    pub(crate) fn step(&mut self, core: &Core, action: &str) -> Result<(), Refused> {
        let from = DELIVERY.state(self.state).ok_or(Code::Internal)?;
        let to = DELIVERY.next(from, action).ok_or(Code::StateConflict)?;
        self.state = DELIVERY.number(to).ok_or(Code::Internal)?;
        self.state_at = core.clock.now().as_microsecond();
        Ok(())
    }

    /// Whose.
    pub(crate) fn tenant(&self) -> TenantId {
        TenantId::from_bytes(self.tenant)
    }

    /// The person and the notice, where it goes to a person.
    pub(crate) fn person(&self) -> Option<(SubjectId, NoticeId)> {
        match self.to {
            To::Person { subject, notice } => Some((SubjectId::from_bytes(subject), NoticeId::from_bytes(notice))),
            _ => None,
        }
    }
}

/// Puts a message into the outbox with `change`: it goes out if, and only if, the change is kept.
pub(crate) fn put(core: &Core, delivery: &Delivery, change: &mut Change) -> Result<DeliveryId, Refused> {
    let id = match delivery.person() {
        // Under the notice's own id, by which an erasure of the person finds it.
        Some((_, notice)) => of_notice(notice),
        None => DeliveryId::from_bytes(fresh()?),
    };
    let key = RowKey::Delivery(id).bytes();
    let value = Some(core.hierarchy.seal_row(&key, &pack(delivery)?)?);
    change.rows.push(RowChange { key, expect: Expect::Fresh, value });
    Ok(id)
}

/// The message that takes a notice to its person.
pub(crate) fn of_notice(notice: NoticeId) -> DeliveryId {
    DeliveryId::from_bytes(*notice.bytes())
}

/// The stored bytes and the row of a message.
pub(crate) fn load(core: &Core, id: DeliveryId) -> Result<Option<(Vec<u8>, Delivery)>, Refused> {
    let key = RowKey::Delivery(id).bytes();
    let Some(stored) = core.store.row(&key)? else { return Ok(None) };
    let row = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
    Ok(Some((stored, row)))
}

/// The change of a message's row from what was `stored`.
pub(crate) fn changed(core: &Core, id: DeliveryId, stored: Vec<u8>, row: Option<&Delivery>) -> Result<RowChange, Refused> {
    let key = RowKey::Delivery(id).bytes();
    let value = row.map(|row| Ok::<_, Refused>(core.hierarchy.seal_row(&key, &pack(row)?)?)).transpose()?;
    Ok(RowChange { key, expect: Expect::Is(stored), value })
}

/// What became of one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    /// Nothing was tried; it waits for the next round.
    Waits,
    /// It left.
    Sent,
    /// It left, and the other side said that it has done what it asks.
    Acknowledged,
    /// It did not leave, and another try may help.
    Later,
    /// It will never be taken.
    Bounced,
    /// It is not to be sent any more.
    GivenUp,
}

impl From<Failed> for Went {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NoSender => Self::Waits,
            Failed::Unreachable | Failed::Later => Self::Later,
            Failed::Address | Failed::Refused => Self::Bounced,
        }
    }
}

impl Delivery {
    /// Moves on as one try went. `false` where nothing is to be noted.
    pub(crate) fn went(&mut self, core: &Core, went: Went) -> Result<bool, Refused> {
        match went {
            Went::Waits => return Ok(false),
            Went::Sent => self.step(core, "send")?,
            Went::Acknowledged => {
                self.step(core, "send")?;
                self.step(core, "acknowledge")?;
            }
            Went::Bounced => self.step(core, "bounce")?,
            Went::GivenUp => self.step(core, "give-up")?,
            Went::Later => {
                let now = core.clock.now();
                self.tries = self.tries.saturating_add(1);
                if now.duration_since(time(self.made_at)) >= self.longest() {
                    self.step(core, "give-up")?;
                } else {
                    self.step(core, "try-again")?;
                    self.next_at = after(now, wait(self.tries)).as_microsecond();
                }
            }
        }
        Ok(true)
    }

    fn longest(&self) -> SignedDuration {
        if matches!(self.to, To::Partner(_)) { PARTNERS_FOR } else { LETTERS_FOR }
    }

    fn waits(&self) -> bool {
        DELIVERY.state(self.state) == Some("waiting")
    }
}

/// The wait before another try, after so many.
fn wait(tries: u32) -> SignedDuration {
    let doubled = FIRST_WAIT.as_secs().saturating_mul(1 << tries.saturating_sub(1).min(20));
    SignedDuration::from_secs(doubled.min(LONGEST_WAIT.as_secs()))
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(now)
}

/// What a round over the outbox came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Delivered {
    /// People who were told of a policy: a letter to each is on its way.
    pub told: u64,
    /// Messages that were due.
    pub due: u64,
    /// Those that left.
    pub sent: u64,
    /// Those that are tried again.
    pub later: u64,
    /// Those that the other side will never take.
    pub bounced: u64,
    /// Those that are tried no more: their time is over, or there is nobody that they could go to.
    pub given_up: u64,
    /// Those that could not even be looked at; the next round tries again.
    pub failed: u64,
}

/// The thread, until it is told to stop.
pub(crate) struct Outbox {
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Outbox {
    /// Starts a round every so often; `None` is never.
    pub(crate) fn start(core: Arc<Core>, committer: Arc<Committer>, every: Option<Duration>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let Some(every) = every else { return Ok(Self { stop, thread: Mutex::default() }) };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let thread = std::thread::Builder::new().name("outbox".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                let go_on = || matches!(stopped.recv_timeout(REST), Err(RecvTimeoutError::Timeout));
                match runtime.block_on(round(&core, &committer, go_on)) {
                    Ok(Some(delivered)) if delivered == Delivered::default() => {}
                    Ok(Some(delivered)) => tracing::info!(?delivered, "delivered"),
                    Ok(None) => return,
                    Err(refused) => tracing::error!(code = refused.code.text(), "a round over the outbox was cut short"),
                }
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread, after the page that it is at.
    pub(crate) fn stop(&self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Vault {
    /// One round over the outbox: what the background task does every `post.every_seconds`.
    pub async fn deliver(&self) -> Result<Delivered, Refused> {
        let opened = self.opened()?;
        round(&opened.core, &opened.committer, || true).await?.ok_or(Code::Internal.into())
    }
}

/// Tries whatever is due; `None` when `go_on` said no on the way.
async fn round(core: &Core, committer: &Committer, go_on: impl Fn() -> bool) -> Result<Option<Delivered>, Refused> {
    let _turn = core.delivering.lock().await;
    let Some(told) = publications::round(core, committer, &go_on).await? else { return Ok(None) };
    let mut delivered = Delivered { told, ..Delivered::default() };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(prefix::DELIVERIES, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(Some(delivered)) };
        after = Some(last.clone());
        for (key, stored) in page {
            match one(core, committer, &key, stored, &mut delivered).await {
                Ok(()) => {}
                // Somebody changed or erased it meanwhile; the next round sees what they left.
                Err(refused) if matches!(refused.code, Code::Stale | Code::Erased) => {}
                Err(refused) if matches!(refused.code, Code::Sealed | Code::AuditUnavailable | Code::DiskFull) => {
                    return Err(refused);
                }
                // One damaged row must not keep everybody else's letters.
                Err(refused) => {
                    delivered.failed += 1;
                    tracing::error!(code = refused.code.text(), "a message could not be looked at");
                }
            }
        }
        if !go_on() {
            return Ok(None);
        }
    }
}

async fn one(core: &Core, committer: &Committer, key: &[u8], stored: Vec<u8>, delivered: &mut Delivered) -> Result<(), Refused> {
    let Some(RowKey::Delivery(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
    let mut row: Delivery = unpack(core.hierarchy.open_row(key, &stored)?.bytes())?;
    let now = core.clock.now();
    let mut change = Change::noting(core.event("deliver", Outcome::Done, Note::None)?);
    if !row.waits() {
        if now.duration_since(time(row.state_at)) >= KEPT_FOR {
            change.rows.push(changed(core, id, stored, None)?);
            committer.commit(change).await?;
        }
        return Ok(());
    }
    if row.next_at > now.as_microsecond() {
        return Ok(());
    }
    if !matches!(row.to, To::Partner(_)) && !core.post.is_ready() {
        // Without a way out nothing is read for a letter either.
        return Ok(());
    }
    delivered.due += 1;
    let went = match &row.to {
        To::Person { .. } => return letters::deliver(core, committer, id, row, delivered).await,
        To::Partner(_) => {
            let went = callbacks::send(core, &row).await?;
            if went == Went::Acknowledged {
                // It has done its work, and holds the name by which the partner knew the person.
                row.body = None;
            }
            went
        }
        To::Officer | To::Authority(_) => letters::to_officer(core, id, &row).await?,
    };
    if row.went(core, went)? {
        delivered.count(&row);
        change.rows.push(changed(core, id, stored, Some(&row))?);
        committer.commit(change).await?;
    }
    Ok(())
}

impl Delivered {
    /// Counts what became of a message that was tried.
    pub(crate) fn count(&mut self, row: &Delivery) {
        match DELIVERY.state(row.state) {
            Some("waiting") => self.later += 1,
            Some("bounced") => self.bounced += 1,
            Some("given-up") => self.given_up += 1,
            _ => self.sent += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_one_before_until_six_hours() {
        let minutes: Vec<i64> = (1..=12).map(|tries| wait(tries).as_mins()).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
    }
}
