//! Verified fields (p40, p42): when a value was verified, that it is corrected with evidence only, and when it has become stale.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::code::Code;
use crate::model::wire::Evidence;
use crate::tenant::Tenant;

use super::call::Call;
use super::guardians::is_past;
use super::records::is_word;
use super::rows::{LabelField, LabelRow, time};

/// Whether evidence has its form: a word and a SHA-256 in hex. None has it too.
pub(crate) fn is_evidence(evidence: Option<&Evidence>) -> bool {
    evidence.is_none_or(|evidence| {
        let digest = evidence.digest.as_bytes();
        is_word(&evidence.kind) && digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit)
    })
}

/// Why the fields `asked` may not be corrected: one of them was verified and nothing shows that it was wrong. What the person
/// brings is looked at by somebody first, so their own token never is enough.
pub(crate) fn hindrance(call: &Call, fields: &[LabelField], asked: &[u16], evidence: Option<&Evidence>) -> Option<Code> {
    let verified = fields.iter().any(|field| field.verified_at.is_some() && asked.contains(&field.number));
    (verified && (evidence.is_none() || call.caller.subject.is_some())).then_some(Code::EvidenceRequired)
}

/// The numbers of the fields that a body says were verified, and when. Only fields of the record, not in the future, and never on
/// the person's own word.
pub(crate) fn marks(
    tenant: &Tenant,
    call: &Call,
    named: &BTreeMap<String, Timestamp>,
    has: impl Fn(u16) -> bool,
    now: Timestamp,
) -> Result<Vec<(u16, i64)>, Code> {
    if call.caller.subject.is_some() && !named.is_empty() {
        return Err(Code::InvalidBody);
    }
    let mark = |(name, at): (&String, &Timestamp)| {
        let number = tenant.field(name).ok()?.number;
        (has(number) && is_past(*at, now)).then_some((number, at.as_microsecond()))
    };
    named.iter().map(mark).collect::<Option<_>>().ok_or(Code::InvalidBody)
}

/// Sets the marks.
pub(crate) fn mark(fields: &mut [LabelField], marks: &[(u16, i64)]) {
    for field in fields {
        if let Some((_, at)) = marks.iter().find(|(number, _)| *number == field.number) {
            field.verified_at = Some(*at);
        }
    }
}

/// Notes in every field that the person's own token writes it, if one does.
pub(crate) fn own(call: &Call, fields: &mut [LabelField], now: Timestamp) {
    for field in fields.iter_mut().filter(|_| call.caller.subject.is_some()) {
        field.own_at = Some(now.as_microsecond());
    }
}

/// Whether a value can tell who somebody is: another than the person put it there, or verified it since, or it has stood since
/// before `since`.
pub(crate) fn is_settled(field: &LabelField, since: Timestamp) -> bool {
    field.own_at.is_none_or(|at| at <= since.as_microsecond() || field.verified_at.is_some_and(|verified| verified >= at))
}

/// Takes the marks along to the next version. A verified field that was corrected is verified by its evidence.
pub(crate) fn carry(before: &[LabelField], after: &mut [LabelField], asked: &[u16], evidence: Option<&Evidence>, now: Timestamp) {
    for field in after {
        let Some(old) = before.iter().find(|old| old.number == field.number) else { continue };
        (field.verified_at, field.evidence) = (old.verified_at, old.evidence.clone());
        if !asked.contains(&field.number) {
            field.own_at = old.own_at;
        }
        field.corrected_at = if asked.contains(&field.number) { Some(now.as_microsecond()) } else { old.corrected_at };
        if let (true, Some(evidence), Some(_)) = (asked.contains(&field.number), evidence, old.verified_at) {
            field.verified_at = Some(now.as_microsecond());
            field.evidence = Some(format!("{}:{}", evidence.kind, evidence.digest));
        }
    }
}

/// The names of those of `shown` that nobody gave, corrected or verified for longer than the catalogue allows.
pub(crate) fn stale<'t>(tenant: &'t Tenant, label: &LabelRow, shown: &[u16], now: Timestamp) -> Vec<&'t str> {
    let of_label = label.fields.iter().filter(|field| shown.contains(&field.number));
    let is_stale = |field: &LabelField| {
        let field_text = tenant.field_numbered(field.number)?;
        let days = field_text.stale_after_days?;
        let last = [Some(label.collected_at), field.verified_at, field.corrected_at].into_iter().flatten().max()?;
        let stale_at = time(last).checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok()?;
        (stale_at <= now).then_some(field_text.name.as_str())
    };
    of_label.filter_map(is_stale).collect()
}
