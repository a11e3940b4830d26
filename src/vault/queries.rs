//! queryRecords: many people for one purpose, by a closed list of filters, and nobody told apart who is not meant to be.
//!
//! Each person's records are decided about, noted and opened as if they were read alone. What leaves is one row a person:
//! with the person's id where the purpose may know who it is and a direct identifier was asked for; else under a pseudonym
//! of this query alone, and only if enough people share each combination of what was asked for (p06, p19).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::{Field, FieldSet, Identifiability, Kind, Sensitivity};
use crate::model::ids::SubjectId;
use crate::model::purpose::{Group, Purpose};
use crate::model::wire::{Filter, FilterOp, QueryPage, QueryRecords, QueryRow};
use crate::policy::{self, Ask, Facts};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::core::{Admitted, Core, Known, Person, first16, key_group};
use super::lifecycle::Vault;
use super::masks;
use super::reading::{TRIES, closed, examine, records_of};
use super::records::{context, wraps_of};

/// Rows of one answer at the most.
const MOST_ROWS: usize = 500;

/// People that one call looks at: a crowd is counted among them.
const PEOPLE: usize = 10_000;

/// People decided about, noted and opened together.
const TOGETHER: usize = 250;

/// Bytes of values that one call holds.
const MOST_BYTES: usize = 16 << 20;

/// Filters of one query.
const MOST_FILTERS: usize = 16;

/// A query that was checked.
struct Plan<'a> {
    purpose: &'a Purpose,
    /// The fields of the rows.
    fields: Vec<&'a Field>,
    /// Those whose values become years.
    years: FieldSet,
    filters: Vec<(&'a Field, &'a Filter)>,
    /// Fields of the rows and of the filters.
    opened: Vec<u16>,
    /// Those of the rows that in combination could tell who somebody is.
    quasi: Vec<u16>,
    /// Whether the rows say openly who each is about.
    open: bool,
    /// Whether the rows or the filters tell people apart, so that only a crowd may be shown.
    crowd: bool,
}

/// Where a query goes on, sealed: the key of its pseudonyms, the person it began after, the rows that were answered.
struct Position {
    key: [u8; 32],
    after: Vec<u8>,
    answered: usize,
}

/// One person's row.
struct Row {
    subject: SubjectId,
    pseudonym: [u8; 16],
    values: BTreeMap<u16, Value>,
}

impl Vault {
    /// queryRecords.
    pub async fn query_records(&self, call: &Call, body: QueryRecords) -> Result<Answer, Refused> {
        let operation = Operation::QueryRecords;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let names = body.fields.iter().chain(body.filters.iter().map(|filter| &filter.field));
        let asked: Vec<u16> = names.filter_map(|name| tenant.field(name).ok()).map(|field| field.number).collect();
        let allowed = core.decide(call, operation, &Facts { fields: &asked, ..core.facts(&tenant) }, None)?;
        let refused =
            |(code, pointer): (Code, String)| Refused { pointer: Some(pointer), ..core.refuse(call, operation, code, None) };
        let purpose = allowed.purpose().ok_or(Code::PurposeRequired)?;
        let plan = plan(&tenant, purpose, &body).map_err(refused)?;
        let limit = body.limit.unwrap_or(MOST_ROWS);
        if !(1..=MOST_ROWS).contains(&limit) {
            return Err(refused((Code::InvalidBody, "/limit".into())));
        }
        let released: FieldSet = plan.fields.iter().map(|field| field.number).collect();
        let masked =
            masks::masked(&allowed, &call.grounds, &released).map_err(|code| core.refuse(call, operation, code, None))?;
        let bound = cursor_context(call, &body)?;
        let position = match &body.cursor {
            None => Position { key: keys::random::bytes()?, after: Vec::new(), answered: 0 },
            Some(cursor) => {
                Position::open(core, &bound, cursor).map_err(|refused| core.refuse(call, operation, refused.code, None))?
            }
        };

        let looking = Looking { core, call, tenant: &tenant, plan: &plan, masked, key: position.key };
        let mut rows: Vec<Row> = Vec::new();
        let (mut after, mut looked_at, mut bytes, mut ended) = (position.after.clone(), 0, 0, false);
        while looked_at < PEOPLE && !ended {
            let start = Some(&after[..]).filter(|after| !after.is_empty());
            let page = core.store.scan(b"s", start, TOGETHER)?;
            ended = page.len() < TOGETHER;
            looked_at += page.len();
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
            let mut ids = Vec::with_capacity(page.len());
            for (key, _) in &page {
                let Some(RowKey::Subject(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
                ids.push(id);
            }
            for row in opened_rows(&looking, &ids).await? {
                bytes += row.values.values().map(weight).sum::<usize>() + 128;
                rows.push(row);
            }
            if bytes > MOST_BYTES {
                return Err(core.refuse(call, operation, Code::TooLarge, None));
            }
        }
        // Nobody, among people whom a filter tells apart, is an answer about somebody too: the same refusal hides which it is.
        let told_apart = rows.is_empty() && !plan.filters.is_empty();
        if plan.crowd && (told_apart || smallest(&plan, &rows) < tenant.measures().floor) {
            return Err(core.refuse(call, operation, Code::CombinationIdentifies, None));
        }
        // The order of the rows says no more than the pseudonyms do.
        rows.sort_by_key(|row| row.pseudonym);
        let end = rows.len().min(position.answered.saturating_add(limit));
        let answered = rows.get(position.answered..end).unwrap_or_default();
        let next = if end < rows.len() {
            Some(Position { answered: end, ..position })
        } else if ended {
            None
        } else {
            Some(Position { after, answered: 0, ..position })
        };
        let next_cursor = next.map(|next| next.seal(core, &bound)).transpose()?;
        let body = QueryPage { rows: answered.iter().map(|row| plan.view(row)).collect(), next_cursor };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.records = answered.len() as u32;
        entry.fields = released.iter().collect();
        entry.obligations = masks::obligations(&tenant, &released, &masked);
        let admitted = core.admit(&allowed, entry).await?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// Checks a query against the catalogue: what may be asked for is left to the guards, what can be compared is not.
fn plan<'a>(tenant: &'a Tenant, purpose: &'a Purpose, body: &'a QueryRecords) -> Result<Plan<'a>, (Code, String)> {
    let wrong = |code, pointer: String| Err((code, pointer));
    let mut fields: Vec<&Field> = Vec::with_capacity(body.fields.len());
    for (place, name) in body.fields.iter().enumerate() {
        let pointer = format!("/fields/{place}");
        match tenant.field(name) {
            Err(code) => return wrong(code, pointer),
            Ok(field) if field.kind == Kind::Secret => return wrong(Code::CategoryNotPermitted, pointer),
            Ok(field) if fields.iter().any(|before| before.number == field.number) => return wrong(Code::InvalidBody, pointer),
            Ok(field) => fields.push(field),
        }
    }
    if fields.is_empty() {
        return wrong(Code::InvalidBody, "/fields".into());
    }
    let mut years = FieldSet::EMPTY;
    for (place, name) in body.years.iter().enumerate() {
        match fields.iter().find(|field| field.name == *name && field.kind == Kind::Date) {
            Some(field) => years.insert(field.number),
            None => return wrong(Code::InvalidBody, format!("/years/{place}")),
        }
    }
    if purpose.pseudonymous {
        fields.iter().filter(|field| field.kind == Kind::Date).for_each(|field| years.insert(field.number));
    }
    if body.filters.len() > MOST_FILTERS {
        return wrong(Code::InvalidBody, "/filters".into());
    }
    let mut filters = Vec::with_capacity(body.filters.len());
    for (place, filter) in body.filters.iter().enumerate() {
        let field = tenant.field(&filter.field).map_err(|code| (code, format!("/filters/{place}/field")))?;
        let plain = field.identifiability != Identifiability::Direct && field.sensitivity == Sensitivity::Normal;
        let comparable = match filter.op {
            FilterOp::Equals => matches!(field.kind, Kind::Text | Kind::Date),
            FilterOp::Prefix => field.kind == Kind::Text,
            FilterOp::Year => field.kind == Kind::Date,
        };
        if !plain || !comparable {
            return wrong(Code::NotIndexable, format!("/filters/{place}"));
        }
        let year = filter.value.len() == 4 && filter.value.bytes().all(|byte| byte.is_ascii_digit());
        if filter.value.is_empty() || filter.value.len() > 256 || (filter.op == FilterOp::Year && !year) {
            return wrong(Code::InvalidBody, format!("/filters/{place}/value"));
        }
        filters.push((field, filter));
    }
    let is_quasi = |field: &&Field| field.identifiability == Identifiability::Quasi;
    let quasi: Vec<u16> = fields.iter().copied().filter(|field| is_quasi(field)).map(|field| field.number).collect();
    let open = !purpose.pseudonymous && fields.iter().any(|field| field.identifiability == Identifiability::Direct);
    let crowd = !open && (!quasi.is_empty() || filters.iter().any(|(field, _)| is_quasi(field)));
    let all: FieldSet = fields.iter().copied().chain(filters.iter().map(|(field, _)| *field)).map(|field| field.number).collect();
    Ok(Plan { purpose, fields, years, filters, opened: all.iter().collect(), quasi, open, crowd })
}

impl Plan<'_> {
    /// Whether somebody's values fulfil every filter. What is not there fulfils none.
    fn fits(&self, values: &BTreeMap<u16, Value>) -> bool {
        self.filters.iter().all(|(field, filter)| {
            let text = values.get(&field.number).and_then(Value::as_str);
            text.is_some_and(|text| match filter.op {
                FilterOp::Equals => text == filter.value,
                FilterOp::Prefix => text.starts_with(&filter.value),
                FilterOp::Year => text.split('-').next() == Some(&filter.value),
            })
        })
    }

    /// Somebody's values as they may leave; none where nothing that was asked for is there.
    fn released(&self, mut values: BTreeMap<u16, Value>) -> Option<BTreeMap<u16, Value>> {
        values.retain(|number, _| self.fields.iter().any(|field| field.number == *number));
        for (_, value) in values.iter_mut().filter(|(number, _)| self.years.contains(**number)) {
            let year = value.as_str().and_then(|text| text.split('-').next()).map(str::to_owned);
            *value = year.map_or(Value::Null, Value::from);
        }
        (!values.is_empty()).then_some(values)
    }

    fn view(&self, row: &Row) -> QueryRow {
        let fields =
            self.fields.iter().filter_map(|field| Some((field.name.clone(), row.values.get(&field.number)?.clone()))).collect();
        let pseudonym = || format!("psn_{}", BASE64_URL_SAFE_NO_PAD.encode(row.pseudonym));
        QueryRow { subject: self.open.then_some(row.subject), pseudonym: (!self.open).then(pseudonym), fields }
    }
}

/// How many people share the rarest combination; of nobody, no combination is rare.
fn smallest(plan: &Plan<'_>, rows: &[Row]) -> u64 {
    let mut crowds: BTreeMap<Vec<Option<String>>, u64> = BTreeMap::new();
    for row in rows {
        let combination = plan.quasi.iter().map(|number| row.values.get(number).map(Value::to_string)).collect();
        *crowds.entry(combination).or_default() += 1;
    }
    crowds.into_values().min().unwrap_or(u64::MAX)
}

/// What is to be opened of one person: their records, which of these, through which group, which fields.
struct Chosen {
    place: usize,
    known: Arc<Vec<Known>>,
    found: Vec<(usize, Group, Vec<u16>)>,
}

/// The rows of some people: each decided about, noted, and opened. Keys that change meanwhile ask for another try.
async fn opened_rows(looking: &Looking<'_>, ids: &[SubjectId]) -> Result<Vec<Row>, Refused> {
    for number in 1..=TRIES {
        let this = Try { turn: looking.core.hierarchy.turn(), first: number == 1, last: number == TRIES };
        if let Some(rows) = try_rows(looking, ids, this).await? {
            return Ok(rows);
        }
        let ids: Vec<keys::Id> = ids.iter().map(|id| *id.bytes()).collect();
        looking.core.people.forget(&ids, &[]);
    }
    Err(Code::Overloaded.into())
}

/// What one query looks for, and for whom.
struct Looking<'a> {
    core: &'a Core,
    call: &'a Call,
    tenant: &'a Tenant,
    plan: &'a Plan<'a>,
    masked: FieldSet,
    /// Of the pseudonyms.
    key: [u8; 32],
}

/// One of several tries: the turn of the keys when it began, and whether it is the first or the last.
#[derive(Clone, Copy)]
struct Try {
    turn: u64,
    first: bool,
    last: bool,
}

impl Looking<'_> {
    /// Somebody whose rows do not open although nothing changed under the query: that is noted, and stops nobody else.
    fn closed(&self, this: Try, refused: &Refused, tag: Option<[u8; 16]>) -> Option<Refused> {
        // The first may have met the moment between the commit of a change and its end.
        let keys_changed = this.first || self.core.hierarchy.turn() != this.turn;
        // A large record's pieces may have been replaced between its first row and the others.
        let pieces_changed = refused.code == Code::StoreUnavailable && !this.last;
        let changed = keys_changed || pieces_changed;
        (!changed).then(|| self.core.refuse(self.call, Operation::QueryRecords, refused.code, tag))
    }
}

/// One try; none where something changed under it.
async fn try_rows(looking: &Looking<'_>, ids: &[SubjectId], this: Try) -> Result<Option<Vec<Row>>, Refused> {
    let Looking { core, call, tenant, plan, masked, key } = looking;
    let now = core.clock.now();
    let mut people: Vec<Arc<Person>> = Vec::with_capacity(ids.len());
    for id in ids {
        match core.person(tenant, *id) {
            Ok(person) => people.extend(person),
            Err(refused) if looking.closed(this, &refused, None).is_none() => return Ok(None),
            Err(_) => {}
        }
    }
    let abouts: Vec<_> = people.iter().map(|person| person.facts(tenant, now)).collect();
    // Each is decided about as if they were the only one.
    let ask = Ask {
        caller: &call.caller,
        operation: Operation::QueryRecords,
        purpose: Some(&plan.purpose.id),
        now,
        grounds: &call.grounds,
    };
    let mut all_allowed = Vec::new();
    let mut all_chosen = Vec::new();
    let mut entries = Vec::new();
    for (place, (person, about)) in people.iter().zip(&abouts).enumerate() {
        let facts = Facts { fields: &plan.opened, ..core.facts_about(tenant, call, person, about) };
        let Ok(allowed) = policy::decide(&ask, &facts) else { continue };
        let known = match records_of(core, person, |one| matches!(examine(&allowed, one), Ok(Some(_)))) {
            Ok(known) => known,
            Err(refused) if looking.closed(this, &refused, Some(person.tag)).is_none() => return Ok(None),
            Err(_) => continue,
        };
        let mut found = Vec::new();
        for (record, one) in known.iter().enumerate() {
            if let Ok(Some((group, fields))) = examine(&allowed, one) {
                found.push((record, group, fields));
            }
        }
        if found.is_empty() {
            continue;
        }
        if let Err(seconds) = core.budget.take(call.caller.token, person.id.bytes(), now) {
            let refused = core.refuse(call, Operation::QueryRecords, Code::ReadBudgetSpent, None);
            return Err(Refused { retry_after: Some(seconds), ..refused });
        }
        let fields: FieldSet = found.iter().flat_map(|(_, _, fields)| fields.iter().copied()).collect();
        let mut entry = core.entry(call, Operation::QueryRecords, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.records = found.len() as u32;
        entry.fields = fields.iter().collect();
        entry.obligations = masks::obligations(tenant, &fields, masked);
        entries.push(entry);
        all_allowed.push(allowed);
        all_chosen.push(Chosen { place, known, found });
    }
    let admitted = core.admit_each(&all_allowed, entries).await?;
    let mut rows = Vec::new();
    for (chosen, admitted) in all_chosen.into_iter().zip(&admitted) {
        let person = &people[chosen.place];
        let values = match opened(core, tenant, person, &chosen, masked, admitted) {
            Ok(values) => values,
            Err(refused) if looking.closed(this, &refused, Some(person.tag)).is_none() => return Ok(None),
            Err(_) => continue,
        };
        if !plan.fits(&values) {
            continue;
        }
        if let Some(values) = plan.released(values) {
            let digest = keys::digest::sha256(&[b"pv1/pseudonym", key, person.id.bytes()]);
            rows.push(Row { subject: person.id, pseudonym: first16(&digest), values });
        }
    }
    Ok(Some(rows))
}

/// The values of one person's fields: where several records have a field, the newest.
fn opened(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    chosen: &Chosen,
    masked: &FieldSet,
    admitted: &Admitted<'_>,
) -> Result<BTreeMap<u16, Value>, Refused> {
    let mut found: Vec<_> = chosen.found.iter().collect();
    found.sort_by_key(|(record, _, _)| chosen.known[*record].row.updated_at);
    let mut values = BTreeMap::new();
    for (record, group, fields) in found {
        let one = &chosen.known[*record];
        let permit = admitted.permit(person.id, key_group(*group)?);
        let key = person.keys.record_key(&permit, one.id.bytes(), &wraps_of(&one.row)).map_err(closed)?;
        let bound = context(core, person, one.id, &one.row, &one.label_digest)?;
        for (number, plain) in key.decrypt(&permit, &bound, &one.row.envelope, Some(fields))? {
            let field = tenant.field_numbered(number).ok_or(Code::Internal)?;
            let text = std::str::from_utf8(plain.bytes()).map_err(|_| Code::Internal)?;
            let hidden = if masked.contains(number) { field.masked(text) } else { None };
            let shown = hidden.as_deref().unwrap_or(text);
            values.insert(number, serde_json::from_str(shown).map_err(|_| Code::Internal)?);
        }
    }
    Ok(values)
}

/// What a cursor is bound to: the caller, the purpose and the query, so that it goes on with no other.
fn cursor_context(call: &Call, body: &QueryRecords) -> Result<Vec<u8>, Refused> {
    let query = serde_json::to_vec(&(&call.purpose, &body.fields, &body.filters, &body.years)).map_err(|_| Code::Internal)?;
    Ok([b"cursor-query", &call.caller.id.bytes()[..], &keys::digest::sha256(&[&query])].concat())
}

impl Position {
    fn seal(&self, core: &Core, bound: &[u8]) -> Result<String, Refused> {
        let plain = [&self.key[..], &(self.answered as u32).to_be_bytes(), &self.after].concat();
        Ok(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(bound, &plain)?))
    }

    fn open(core: &Core, bound: &[u8], cursor: &str) -> Result<Self, Refused> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
        let plain = core.hierarchy.open_row(bound, &sealed).map_err(|_| Code::BadCursor)?;
        let (key, rest) = plain.bytes().split_first_chunk::<32>().ok_or(Code::BadCursor)?;
        let (answered, after) = rest.split_first_chunk::<4>().ok_or(Code::BadCursor)?;
        Ok(Self { key: *key, after: after.to_vec(), answered: u32::from_be_bytes(*answered) as usize })
    }
}

/// Bytes that a value takes, about.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 32,
        Value::Array(values) => values.iter().map(weight).sum::<usize>() + 32,
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + weight(value)).sum::<usize>() + 32,
        _ => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    fn tenant() -> Tenant {
        Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap()
    }

    fn planned(purpose: &str, body: &str) -> Result<(bool, bool), (Code, String)> {
        let tenant = tenant();
        let body: QueryRecords = serde_json::from_str(body).unwrap();
        let plan = plan(&tenant, tenant.purpose(purpose).unwrap(), &body)?;
        Ok((plan.open, plan.crowd))
    }

    #[test]
    fn rows_are_open_or_hide_in_a_crowd_or_say_nothing_about_anybody() {
        for (purpose, body, open, crowd) in [
            ("a-account", r#"{"fields":["email","gender"]}"#, true, false),
            ("a-account", r#"{"fields":["gender","birth_date","postcode"]}"#, false, true),
            ("a-account", r#"{"fields":["consents"]}"#, false, false),
            ("a-account", r#"{"fields":["consents"],"filters":[{"field":"gender","op":"equals","value":"f"}]}"#, false, true),
            ("g-improve", r#"{"fields":["orders"]}"#, false, true),
        ] {
            assert_eq!(planned(purpose, body), Ok((open, crowd)), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_compared_or_asked_for_is_refused_by_its_place() {
        let filter = |field: &str, op: &str, value: &str| {
            format!(r#"{{"fields":["gender"],"filters":[{{"field":"{field}","op":"{op}","value":"{value}"}}]}}"#)
        };
        for (body, code, place) in [
            (r#"{"fields":[]}"#.to_owned(), Code::InvalidBody, "/fields"),
            (r#"{"fields":["gender","gender"]}"#.into(), Code::InvalidBody, "/fields/1"),
            (r#"{"fields":["password"]}"#.into(), Code::CategoryNotPermitted, "/fields/0"),
            (r#"{"fields":["shoe_size"]}"#.into(), Code::FieldNotInCatalogue, "/fields/0"),
            (r#"{"fields":["gender"],"years":["gender"]}"#.into(), Code::InvalidBody, "/years/0"),
            (filter("email", "equals", "a"), Code::NotIndexable, "/filters/0"),
            (filter("message", "prefix", "a"), Code::NotIndexable, "/filters/0"),
            (filter("orders", "equals", "a"), Code::NotIndexable, "/filters/0"),
            (filter("gender", "year", "1980"), Code::NotIndexable, "/filters/0"),
            (filter("birth_date", "year", "80"), Code::InvalidBody, "/filters/0/value"),
            (filter("gender", "equals", ""), Code::InvalidBody, "/filters/0/value"),
        ] {
            assert_eq!(planned("a-account", &body), Err((code, place.to_owned())), "{body}");
        }
    }

    #[test]
    fn the_rarest_combination_counts_and_a_missing_value_is_one() {
        let tenant = tenant();
        let body: QueryRecords = serde_json::from_str(r#"{"fields":["gender","birth_date"],"years":["birth_date"]}"#).unwrap();
        let plan = plan(&tenant, tenant.purpose("a-account").unwrap(), &body).unwrap();
        let row = |gender: Option<&str>, birth: &str| {
            let values = [(2, gender.map(Value::from)), (3, Some(Value::from(birth)))];
            let values = values.into_iter().filter_map(|(number, value)| Some((number, value?))).collect();
            Row { subject: SubjectId::from_bytes([0; 16]), pseudonym: [0; 16], values: plan.released(values).unwrap() }
        };
        let mut rows: Vec<Row> = ["1980-02-03", "1980-11-30"].map(|birth| row(Some("f"), birth)).into();
        assert_eq!((smallest(&plan, &rows), smallest(&plan, &[])), (2, u64::MAX));
        rows.push(row(None, "1980-01-01"));
        assert_eq!(smallest(&plan, &rows), 1);
    }
}
