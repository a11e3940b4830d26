//! The certificate: made once the old epoch is gone, held by the trail, provable to anybody with the public key.

use std::path::Path;
use std::sync::Arc;

use ::keys::PlaceState;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keys::Alias;

use crate::audit::certificate::{Backup, Certificate, DestroyedKey, FORMAT, Kept, KeyringPlace, Recipient, Times, VERSION};
use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::{DecisionId, DeliveryId, ErasureId, TenantId, VaultId};
use crate::model::purpose::GroupSet;
use crate::model::states::DELIVERY;
use crate::model::wire::{ErasureState, RecipientView, Scope};
use crate::store::layout::RowKey;

use super::super::call::Refused;
use super::super::committer::{Draft, settle};
use super::super::core::Core;
use super::super::outbox;
use super::super::rows::{ErasureRow, time};
use super::selftest;

/// Entries that may stand between the place where the certificate was expected in the trail and where it is.
const FURTHEST: u64 = 100_000;

/// What the self-test needs of the time before: it is known right after the transition, and lost with the process.
#[derive(Default)]
pub(crate) struct Before {
    /// Rows of the key trees as they were, shared by all erasures of one transition.
    pub(crate) rows: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    /// By what the subject could be found.
    pub(crate) aliases: Vec<Alias>,
}

/// Tests, states and keeps: gives the row in state `sealed`, with its certificate. Runs on the committer's thread, or
/// before it starts.
pub(crate) fn certify(core: &Core, id: ErasureId, mut row: ErasureRow, before: &Before) -> Result<ErasureRow, Refused> {
    let now = core.clock.now();
    // Each recipient's message is in the outbox since the batch that unlinked: nobody waits for a partner.
    row.reach(ErasureState::Propagated, now)?;
    row.reach(ErasureState::Sealed, now)?;
    let waits = waits(&row);
    let certificate = state(core, id, &row, before)?;
    let note = certificate.note().map_err(|_| Code::Internal)?;
    let text = certificate.canonical().ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Code::Internal)?;
    let mut entry = core.event("certificate", Outcome::Done, note)?;
    entry.tag = Some(row.tag);
    row.certificate = Some(text);
    row.near = core.trail.size();
    row.decision = Some(*entry.decision.bytes());
    if waits {
        row.reach(ErasureState::Partial, now)?;
    } else {
        row.subject = None;
        row.records.clear();
    }
    let mut draft = Draft::new(core);
    draft.note(&mut entry, RowKey::Erasure(id).bytes(), false, Some(super::seal(core, id, &row)?))?;
    settle(core, &mut draft, vec![entry])?;
    Ok(row)
}

/// Whether a legal hold keeps a part of a whole subject, so that the erasure goes on when it is lifted.
pub(super) fn waits(row: &ErasureRow) -> bool {
    row.scope().is_ok_and(|scope| scope == Scope::Subject) && !row.kept.is_empty()
}

fn state(core: &Core, id: ErasureId, row: &ErasureRow, before: &Before) -> Result<Certificate, Refused> {
    let at = |state: ErasureState| row.reached(state);
    let must = |state: ErasureState| at(state).unwrap_or(Timestamp::UNIX_EPOCH);
    let tenant = core.tenants.get(&TenantId::from_bytes(row.tenant));
    let scope = row.scope()?;
    let groups = match (scope, &tenant) {
        (Scope::Groups, Some(tenant)) => tenant.group_names(GroupSet::from_bits(row.groups)),
        _ => Vec::new(),
    };
    let epoch = row.epoch_closed.unwrap_or(0);
    let dropped = |id: String| DestroyedKey { id, method: "dropped-and-epoch-closed".into() };
    let kept = row.kept.iter().map(|kept| Kept {
        what: kept.what.clone(),
        rule: kept.rule.clone(),
        until: kept.until.map(|until| time(until).to_zoned_datetime(TimeZone::UTC).date()),
    });
    let mut keys = match scope {
        Scope::Subject if waits(row) => vec![dropped("subject-but-held".into())],
        Scope::Subject => vec![dropped("subject".into())],
        Scope::Groups => groups.iter().map(|group| dropped(format!("group:{group}"))).collect(),
        Scope::Records => vec![dropped(format!("records:{}", row.records.len().max(1)))],
    };
    if row.aliases > 0 {
        keys.push(dropped(format!("aliases:{}", row.aliases)));
    }
    let places: Vec<KeyringPlace> = core.hierarchy.places().into_iter().map(place).collect();
    let plain = places.iter().any(|place| place.kind == "file");
    let method = if plain { "overwritten-in-place" } else { "enclosure-destroyed" };
    keys.push(DestroyedKey { id: format!("epoch:{epoch}"), method: method.into() });
    Ok(Certificate {
        format: FORMAT.into(),
        version: VERSION,
        vault: VaultId::from_bytes(core.vault),
        erasure: id,
        cause: row.cause()?,
        scope,
        groups,
        times: Times {
            requested: must(ErasureState::Requested),
            verified: at(ErasureState::Verified),
            approved: at(ErasureState::Approved),
            unlinked: must(ErasureState::Unlinked),
            propagated: must(ErasureState::Propagated),
            sealed: must(ErasureState::Sealed),
        },
        epochs_closed: vec![epoch],
        keys,
        algorithm: "AES-256-GCM with HKDF-SHA-256 per wrap and per row".into(),
        counts: row.counts.iter().map(|count| (count.category.clone(), count.count)).collect(),
        kept: kept.collect(),
        recipients: recipients(core, row)?,
        backups: covered(core, epoch),
        self_test: selftest::run(core, row, before)?,
        assurance: core.hierarchy.assurance().word().into(),
        places,
        policy_version: tenant.map_or_else(String::new, |tenant| tenant.version().to_owned()),
        subject_tag: hex(&row.tag),
        claim_sha256: row.claim_sha256.map_or_else(String::new, |digest| hex(&digest)),
    })
}

fn place(place: PlaceState) -> KeyringPlace {
    let seconds = |seconds: u64| Timestamp::from_second(i64::try_from(seconds).ok()?).ok();
    KeyringPlace {
        name: place.name,
        kind: place.kind.into(),
        state: place.standing.word().into(),
        assurance: place.assurance.word().into(),
        since_epoch: place.since,
        until_epoch: place.until,
        gone_by: place.gone_by.and_then(seconds),
    }
}

/// The backup targets that held the tree rows of after the destruction before the key of this epoch died.
fn covered(core: &Core, epoch: u64) -> Vec<Backup> {
    let Some(backups) = &core.backups else { return Vec::new() };
    let one = |(target, verified_at): (&Path, _)| Backup { target: target.display().to_string(), verified_at };
    backups.covers(epoch).into_iter().map(one).collect()
}

/// Who is told, and how far that has come. A recipient that is still a secret is left out.
pub(super) fn told(core: &Core, row: &ErasureRow) -> Result<Vec<RecipientView>, Refused> {
    let now = core.clock.now().as_microsecond();
    let named = row.recipients.iter().filter(|own| own.secret_until.is_none_or(|until| until <= now));
    named
        .map(|own| {
            let message = outbox::load(core, DeliveryId::from_bytes(own.delivery))?.map(|(_, message)| message);
            let state = match &message {
                Some(message) => DELIVERY.state(message.state).ok_or(Code::Internal)?,
                // A partner that has no callback finds it among the person's own rows, in its inbox.
                None if row.scope()? != Scope::Subject => "in-inbox",
                None => "forgotten",
            };
            Ok(RecipientView { name: own.partner.clone(), state, since: message.map(|message| time(message.state_at)) })
        })
        .collect()
}

fn recipients(core: &Core, row: &ErasureRow) -> Result<Vec<Recipient>, Refused> {
    let unlinked = row.reached(ErasureState::Unlinked).unwrap_or(Timestamp::UNIX_EPOCH);
    let one = |told: RecipientView| {
        let acknowledged_at = told.since.filter(|_| told.state == "acknowledged");
        Recipient { name: told.name, state: told.state.to_owned(), queued_at: unlinked, acknowledged_at }
    };
    Ok(told(core, row)?.into_iter().map(one).collect())
}

/// The tlog proof of a sealed erasure's certificate, under the newest checkpoint.
pub(super) fn proof(core: &Core, row: &ErasureRow) -> Result<String, Refused> {
    let decision = DecisionId::from_bytes(row.decision.ok_or(Code::Internal)?);
    proof_of(core, row.near, decision, |note| matches!(note, Note::Certificate { .. }))
}

/// The tlog proof of the entry of a decision that carries such a note, which stands at `near` or a little further.
pub(crate) fn proof_of(core: &Core, near: u64, decision: DecisionId, such: impl Fn(&Note) -> bool) -> Result<String, Refused> {
    let mut at = near;
    while at < near.saturating_add(FURTHEST) {
        let page = core.trail.entries(at, 64)?;
        let Some((last, _)) = page.last() else { break };
        at = last + 1;
        let found = page.iter().find(|(_, entry)| entry.decision == decision && such(&entry.note));
        if let Some((index, _)) = found {
            return core.trail.proof(*index).map_err(Refused::from);
        }
    }
    Err(Code::Internal.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
