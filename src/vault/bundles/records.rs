//! The records of a bundle, a page at a time: each page is decided and noted as readRecords is, before anything of it is decrypted.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::audit::Outcome;
use crate::model::caller::{Caller, Grounds, Operation, Role};
use crate::model::code::Code;
use crate::model::field::{FieldSet, Kind};
use crate::model::ids::RecordId;
use crate::model::purpose::{Group, GroupSet, Purpose};
use crate::model::rules::Basis;
use crate::model::standing::RestrictionKind;
use crate::policy::RecordFacts;
use crate::store::layout::{RecordHead, RowKey, prefix};
use crate::tenant::Tenant;

use super::super::call::{Call, Refused};
use super::super::core::{Person, key_group};
use super::super::erasure::by_vault::scheduler_of;
use super::super::masks;
use super::super::reading::{self, closed, is_closed, may_have_changed};
use super::super::records::{context, label_context, whole, wraps_of};
use super::super::rows::{LabelRow, time, unpack};
use super::copy;
use super::data::Rendering;

/// Records that are decided together. Their envelopes are opened one at a time.
const PAGE: usize = 200;

/// What a portable bundle takes: what the person gave, by hand or by using the service (WP 242 rev.01).
const GIVEN: [&str; 2] = ["data-subject", "interaction"];

/// A page of records, rendered.
#[derive(Default)]
pub(super) struct Page {
    /// One after the other, with commas between.
    pub(super) json: Vec<u8>,
    /// The same for people.
    pub(super) html: String,
    /// Where the next page begins; none after the last.
    pub(super) after: Option<Vec<u8>>,
    /// What the records were collected for.
    pub(super) purposes: BTreeSet<String>,
}

/// A record, still closed, and what of it is opened.
struct One {
    id: RecordId,
    value: Vec<u8>,
    head: Heading,
    label: LabelRow,
    label_digest: [u8; 32],
    opened: Result<(Group, Vec<u16>), &'static str>,
}

/// What of a record's own row is needed before its envelope.
struct Heading {
    version: u64,
    groups: GroupSet,
}

/// The next page. Keys that change under it begin it again.
pub(super) async fn page(rendering: &Rendering<'_>, after: Option<&[u8]>) -> Result<Page, Refused> {
    let hierarchy = &rendering.core.hierarchy;
    for number in 0..reading::TRIES - 1 {
        let turn = hierarchy.turn();
        match page_once(rendering, after).await {
            Err(refused) if is_closed(&refused) && may_have_changed(rendering.core, rendering.person.id, number, turn) => {}
            done => return done,
        }
    }
    page_once(rendering, after).await
}

async fn page_once(rendering: &Rendering<'_>, after: Option<&[u8]>) -> Result<Page, Refused> {
    let (core, tenant) = (rendering.core, rendering.tenant);
    let operation = Operation::ReadRecords;
    let Some(person) = core.person(tenant, rendering.person.id)? else { return Err(Code::Erased.into()) };
    let now = core.clock.now();
    let call = in_their_name(rendering, &person);
    let about = person.facts(tenant, now);
    let facts = core.facts_about(tenant, &call, &person, &about);
    let allowed = core.decide(&call, operation, &facts, Some(person.tag))?;

    let rows = core.store.scan(&prefix::records(&person.id), after, PAGE)?;
    let after = rows.last().filter(|_| rows.len() == PAGE).map(|(key, _)| key.clone());
    let mut page = Page { after, ..Page::default() };
    let mut found = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let Some(RowKey::Record(_, id)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
        let head = RecordHead::parse(&value)?;
        let plain = person.keys.open_row(&label_context(&person.id, &id), head.label)?;
        let label: LabelRow = unpack(plain.bytes())?;
        let wrapped: GroupSet = head.wraps.iter().filter_map(|wrap| Group::numbered(wrap.group)).collect();
        let facts = RecordFacts {
            purposes: &label.purposes,
            groups: wrapped.without_hold(),
            collected_at: time(label.collected_at),
            fields: label.fields.iter().map(|field| field.number).collect(),
            id: Some(id),
            source: label.system.as_deref(),
            session: label.session,
        };
        let mine: FieldSet = match rendering.portable {
            true => portable(tenant, &person, &label),
            false => facts.fields,
        };
        if mine.is_empty() {
            continue;
        }
        let opened = match allowed.on(&facts) {
            Ok(group) => Ok((group, mine.and(allowed.fields()).iter().collect())),
            // Nothing but a hold keeps it: it is there for a case, and opened for nobody.
            Err(_) if facts.groups.is_empty() => Err(Code::Held.text()),
            Err(denied) => Err(denied.code.text()),
        };
        let heading = Heading { version: head.version, groups: facts.groups };
        let label_digest = keys::digest::sha256(&[plain.bytes()]);
        page.purposes.extend(label.purposes.iter().cloned());
        found.push(One { id, head: heading, label, label_digest, opened, value });
    }

    let open = found.iter().filter_map(|one| one.opened.as_ref().ok());
    let released: FieldSet = open.clone().flat_map(|(_, fields)| fields.iter().copied()).collect();
    let masked = masks::masked(&allowed, &call.grounds, &released)?;
    let mut entry = core.entry(&call, operation, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    entry.records = open.count() as u32;
    entry.fields = released.iter().collect();
    entry.obligations = masks::obligations(tenant, &released, &masked);
    let admitted = core.admit(&allowed, entry).await?;

    for one in found {
        let mut values: Vec<(u16, Box<RawValue>)> = Vec::new();
        if let Ok((group, fields)) = &one.opened
            && !fields.is_empty()
        {
            let row = whole(core, &person.id, &one.id, &one.value)?;
            let permit = admitted.permit(person.id, key_group(*group)?);
            let key = person.keys.record_key(&permit, one.id.bytes(), &wraps_of(&row)).map_err(closed)?;
            let bound = context(core, &person, one.id, &row, &one.label_digest)?;
            for (number, plain) in &key.decrypt(&permit, &bound, &row.envelope, Some(fields))? {
                let field = tenant.field_numbered(*number).ok_or(Code::Internal)?;
                let text = std::str::from_utf8(plain.bytes()).map_err(|_| Code::Internal)?;
                let mask = if masked.contains(*number) { field.masked(text) } else { None };
                let shown = mask.unwrap_or_else(|| text.to_owned());
                values.push((*number, RawValue::from_string(shown).map_err(|_| Code::Internal)?));
            }
        }
        write(rendering, &person, &one, &values, &masked, &mut page)?;
    }
    Ok(page)
}

/// The call by which the vault reads for the person, who asked for it: for their rights and for nothing else.
fn in_their_name(rendering: &Rendering<'_>, person: &Person) -> Call {
    let (core, tenant) = (rendering.core, rendering.tenant);
    let soon = core.clock.now().checked_add(jiff::SignedDuration::from_mins(1)).unwrap_or(jiff::Timestamp::MAX);
    let rights = tenant.purposes().iter().find(|purpose| purpose.any_group).map(|purpose| purpose.id.clone());
    let caller = Caller {
        name: "scheduler".into(),
        roles: BTreeSet::from([Role::Subject]),
        purposes: rights.iter().cloned().collect(),
        subject: Some(person.id),
        expires_at: soon,
        stepped_up_until: rendering.clear.then_some(soon),
        ..Caller::nobody(scheduler_of(core, tenant), tenant.id())
    };
    Call { caller: Arc::new(caller), purpose: rights, idempotency: None, if_match: None, gpc: false, grounds: Grounds::NONE }
}

/// The fields of a record that the person may take elsewhere (GDPR Art. 20(1)): given by the person, and used for a purpose that
/// rests on consent or a contract.
fn portable(tenant: &Tenant, person: &Person, label: &LabelRow) -> FieldSet {
    if !GIVEN.contains(&label.source_type.as_str()) {
        return FieldSet::EMPTY;
    }
    let rests = |purpose: &&Purpose| {
        let basis = tenant.basis(purpose, &person.row.jurisdiction, &person.row.class);
        basis.is_some_and(|rule| matches!(rule.basis, Basis::Consent | Basis::Contract | Basis::Account))
    };
    let purposes = label.purposes.iter().filter_map(|id| tenant.purpose(id)).filter(rests);
    let covered: FieldSet = purposes.flat_map(|purpose| purpose.fields.iter().collect::<Vec<_>>()).collect();
    label.fields.iter().map(|field| field.number).collect::<FieldSet>().and(&covered)
}

/// What stands in the way of a record's use.
fn marks(person: &Person, id: RecordId) -> Vec<&'static str> {
    let standing = &person.row.standing;
    let active = |kind| standing.restrictions.iter().any(|restriction| restriction.active && restriction.kind == kind);
    let all = [
        (active(RestrictionKind::Art18), "restricted"),
        (active(RestrictionKind::Dispute), "disputed"),
        (standing.is_held(id.bytes()), "held"),
    ];
    all.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect()
}

fn write(
    rendering: &Rendering<'_>,
    person: &Person,
    one: &One,
    values: &[(u16, Box<RawValue>)],
    masked: &FieldSet,
    page: &mut Page,
) -> Result<(), Refused> {
    let (tenant, label) = (rendering.tenant, &one.label);
    let fields: FieldSet = label.fields.iter().map(|field| field.number).collect();
    let collected_at = time(label.collected_at);
    let ends = |group: Group| tenant.retention_end(group, &person.row.jurisdiction, &fields, collected_at);
    let groups = one.head.groups.iter().map(|group| json!({"group": tenant.group_name(group), "until": ends(group)}));
    let party = label.source_party.as_deref();
    let mut record = json!({
        "id": one.id,
        "kind": label.kind,
        "version": one.head.version,
        "purposes": label.purposes,
        "collected_at": collected_at,
        "policy_version": label.policy_version,
        "source": {"type": label.source_type, "party": party, "basis": label.source_basis, "system": label.system},
        "region": label.region.as_deref().or(person.row.region.as_deref()).unwrap_or_else(|| tenant.storage()),
        "kept": groups.collect::<Vec<_>>(),
        "marks": marks(person, one.id),
        "not_opened": one.opened.as_ref().err(),
    });
    let wanted = if rendering.portable { portable(tenant, person, label) } else { fields };
    if !page.json.is_empty() {
        page.json.push(b',');
    }
    let title = format!("Record {} ({}, version {})", one.id, label.kind, one.head.version);
    page.html.push_str(&copy::heading(&title));
    page.html.push_str(&about(&record));
    page.html.push_str(&copy::table("Fields", &["Field", "Value", "Category", "Shown", "Verified"]));
    // Everything but the values, then these as they are stored, without being parsed.
    let members = record.as_object_mut().map(std::mem::take).unwrap_or_default();
    let text = serde_json::to_vec(&Value::Object(members)).map_err(|_| Code::Internal)?;
    page.json.extend_from_slice(text.strip_suffix(b"}").unwrap_or(&text));
    page.json.extend_from_slice(b",\"fields\":[");
    for (place, own) in label.fields.iter().filter(|own| wanted.contains(own.number)).enumerate() {
        let field = tenant.field_numbered(own.number);
        let value = values.iter().find(|(number, _)| *number == own.number).map(|(_, value)| value);
        let shown = match (field, value) {
            (_, Some(_)) if masked.contains(own.number) => "masked",
            (_, Some(_)) => "clear",
            (Some(field), None) if field.kind == Kind::Secret => "stored as verifier",
            (_, None) => "not opened",
        };
        let name = field.map_or_else(|| format!("field {}", own.number), |field| field.name.clone());
        let verified_at = own.verified_at.map(time);
        let item = json!({"name": name, "category": own.category, "shown": shown, "verified_at": verified_at});
        let text = serde_json::to_vec(&item).map_err(|_| Code::Internal)?;
        if place > 0 {
            page.json.push(b',');
        }
        page.json.extend_from_slice(text.strip_suffix(b"}").unwrap_or(&text));
        if let Some(value) = value {
            page.json.extend_from_slice(b",\"value\":");
            page.json.extend_from_slice(value.get().as_bytes());
        }
        page.json.push(b'}');
        let words = value
            .map_or(String::new(), |value| serde_json::from_str(value.get()).map_or(String::new(), |value| copy::words(&value)));
        let verified = verified_at.map_or(String::new(), |at| at.to_string());
        page.html.push_str(&copy::row(&[name, words, own.category.clone(), shown.to_owned(), verified]));
    }
    page.html.push_str(copy::TABLE_END);
    page.json.extend_from_slice(b"]}");
    Ok(())
}

/// What stands about a record beside its fields, in words.
fn about(record: &Value) -> String {
    let kept = record["kept"].as_array().into_iter().flatten();
    let kept: Vec<String> = kept
        .map(|kept| format!("{} until {}", copy::words(&kept["group"]), kept["until"].as_str().unwrap_or("no fixed day")))
        .collect();
    let source = &record["source"];
    let from: Vec<String> = ["type", "party", "basis", "system"]
        .iter()
        .map(|name| copy::words(&source[name]))
        .filter(|word| !word.is_empty())
        .collect();
    let rows = [
        ("Collected", copy::words(&record["collected_at"])),
        ("Source", from.join(", ")),
        ("For", copy::words(&record["purposes"])),
        ("Kept", kept.join(", ")),
        ("Stored in", copy::words(&record["region"])),
        ("Marks", copy::words(&record["marks"])),
        ("Not opened, since", copy::words(&record["not_opened"])),
    ];
    let mut html = copy::table("About this record", &["", ""]);
    let shown = rows.into_iter().filter(|(_, words)| !words.is_empty());
    shown.for_each(|(name, words)| html.push_str(&copy::row(&[name.to_owned(), words])));
    html + copy::TABLE_END
}
