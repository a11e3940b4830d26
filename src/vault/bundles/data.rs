//! What a bundle says: everything of GDPR Art. 15(1) and (2) and (3), or what Art. 20(1) lets the person take along. Long lists go
//! out as they are read, so that a bundle of any size is made in the same memory.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::audit::{Entry, Outcome};
use crate::model::code::Code;
use crate::model::field::AliasKind;
use crate::model::ids::{CallerId, CaseId, ConsentId, DecisionId, DisclosureId, RequestId, VaultId};
use crate::model::purpose::Purpose;
use crate::model::rules::Basis;
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::super::call::Refused;
use super::super::core::{Core, Person};
use super::super::disclosures::{self, Shown};
use super::super::erasure::by_vault::scheduler_of;
use super::super::policies::rights;
use super::super::rows::{ConsentRow, DisclosureRow, time, unpack};
use super::super::{guardians, restrictions};
use super::parts::{COPY, DATA, Writer};
use super::{copy, records};

/// What `format` says.
const FORMAT: &str = "oubliette-subject-bundle";

/// What `version` says.
const VERSION: u32 = 1;

/// Rows and entries looked at together.
const PAGE: usize = 500;

/// Whose bundle, and of which kind.
pub(super) struct Rendering<'a> {
    pub(super) core: &'a Core,
    pub(super) tenant: &'a Tenant,
    pub(super) person: &'a Person,
    pub(super) request: RequestId,
    /// What the person may take along, not everything.
    pub(super) portable: bool,
    pub(super) made_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// Fields of high sensitivity in clear.
    pub(super) clear: bool,
}

impl Rendering<'_> {
    /// `access` or `portability`.
    pub(super) const fn kind(&self) -> &'static str {
        if self.portable { "portability" } else { "access" }
    }

    fn names(&self, numbers: &[u16]) -> Vec<&str> {
        numbers.iter().filter_map(|number| self.tenant.field_numbered(*number)).map(|field| field.name.as_str()).collect()
    }
}

/// What is gathered on the way for what comes at the end.
#[derive(Default)]
struct Seen {
    purposes: BTreeSet<String>,
    regions: BTreeSet<String>,
}

/// Writes the data and its copy.
pub(super) async fn render<'a>(rendering: &Rendering<'_>, mut writer: Writer<'a>) -> Result<Writer<'a>, Refused> {
    // What is done from now on, the making of this bundle included, belongs to the next one.
    let end = rendering.core.trail.durable_size();
    let header = serde_json::to_vec(&header(rendering)).map_err(|_| Code::Internal)?;
    writer.put(DATA, header.strip_suffix(b"}").unwrap_or(&header)).await?;
    writer.put(COPY, opening(rendering).as_bytes()).await?;
    let mut seen = Seen::default();
    the_records(rendering, &mut writer, &mut seen).await?;
    if !rendering.portable {
        recipients(rendering, &mut writer, &mut seen).await?;
        consents(rendering, &mut writer, &mut seen).await?;
        reads(rendering, &mut writer, &mut seen, end).await?;
        the_rest(rendering, &mut writer, &seen).await?;
    }
    writer.put(DATA, b"}").await?;
    writer.put(COPY, copy::END.as_bytes()).await?;
    Ok(writer)
}

fn header(rendering: &Rendering<'_>) -> Value {
    let Rendering { core, tenant, person, .. } = rendering;
    let (controller, row) = (tenant.controller(), &person.row);
    let mut aliases: Vec<&str> = row
        .aliases
        .iter()
        .filter_map(|own| AliasKind::ALL.iter().find(|kind| kind.number() == own.kind))
        .map(|kind| kind.text())
        .collect();
    aliases.dedup();
    json!({
        "format": FORMAT,
        "version": VERSION,
        "kind": rendering.kind(),
        "vault": VaultId::from_bytes(core.vault),
        "request": rendering.request,
        "made_at": rendering.made_at,
        "expires_at": rendering.expires_at,
        "policy_version": tenant.version(),
        "controller": {
            "id": controller.id, "title": controller.title, "address": controller.address, "officer": controller.officer,
        },
        "subject": {
            "id": person.id,
            "class": row.class,
            "jurisdiction": row.jurisdiction,
            "region": row.region.as_deref().unwrap_or_else(|| tenant.storage()),
            "birth_date": row.birth_date,
            "minor": person.facts(tenant, rendering.made_at).minor,
            "found_by": aliases,
            "created_at": row.created_at(),
            "closed_at": row.standing.closed_at.map(time),
        },
    })
}

fn opening(rendering: &Rendering<'_>) -> String {
    let controller = rendering.tenant.controller();
    let day = rendering.made_at.strftime("%Y-%m-%d");
    let (title, what) = if rendering.portable {
        ("The data that you gave", "what you gave and what rests on your consent or a contract (GDPR Art. 20)")
    } else {
        ("The data that is kept about you", "everything that is kept about you (GDPR Art. 15)")
    };
    let mut sentences = vec![
        format!("Request {}, {day}. It holds {what}, as {} keeps it.", rendering.request, controller.title),
        format!(
            "Who answers for the data: {}, {}. Privacy officer: {}.",
            controller.title, controller.address, controller.officer
        ),
        "The same for machines stands in data.json. Whether either was changed, the signed manifest tells.".to_owned(),
    ];
    if !rendering.clear {
        let why =
            "What is marked as masked is of high sensitivity. It is in the bundle in clear once you show an identity document.";
        sentences.push(why.to_owned());
    }
    copy::begin(title, &sentences)
}

async fn the_records(rendering: &Rendering<'_>, writer: &mut Writer<'_>, seen: &mut Seen) -> Result<(), Refused> {
    writer.put(DATA, b",\"records\":[").await?;
    let (mut after, mut first) = (None::<Vec<u8>>, true);
    loop {
        let page = records::page(rendering, after.as_deref()).await?;
        if !page.json.is_empty() {
            if !first {
                writer.put(DATA, b",").await?;
            }
            first = false;
            writer.put(DATA, &page.json).await?;
            writer.put(COPY, page.html.as_bytes()).await?;
        }
        seen.purposes.extend(page.purposes);
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    writer.put(DATA, b"]").await
}

/// A list that goes out item by item, with its table in the copy.
struct List<'a> {
    columns: &'a [(&'a str, &'a str)],
    first: bool,
}

impl<'a> List<'a> {
    async fn begin(
        writer: &mut Writer<'_>,
        member: &str,
        title: &str,
        columns: &'a [(&'a str, &'a str)],
    ) -> Result<Self, Refused> {
        writer.put(DATA, format!(",\"{member}\":[").as_bytes()).await?;
        let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
        let html = copy::heading(title) + &copy::table(title, &names);
        writer.put(COPY, html.as_bytes()).await?;
        Ok(Self { columns, first: true })
    }

    async fn add(&mut self, writer: &mut Writer<'_>, item: &Value) -> Result<(), Refused> {
        let mut text = if self.first { Vec::new() } else { b",".to_vec() };
        self.first = false;
        serde_json::to_writer(&mut text, item).map_err(|_| Code::Internal)?;
        writer.put(DATA, &text).await?;
        writer.put(COPY, copy::row(&copy::cells(self.columns, item)).as_bytes()).await
    }

    async fn end(self, writer: &mut Writer<'_>) -> Result<(), Refused> {
        writer.put(DATA, b"]").await?;
        writer.put(COPY, copy::TABLE_END.as_bytes()).await
    }
}

/// To whom something went: the ledger, line by line.
async fn recipients(rendering: &Rendering<'_>, writer: &mut Writer<'_>, seen: &mut Seen) -> Result<(), Refused> {
    let columns = [
        ("at", "When"),
        ("name", "Recipient"),
        ("recipient_kind", "Kind"),
        ("purpose", "For"),
        ("fields", "Fields"),
        ("region", "Region"),
        ("id", "Disclosure"),
    ];
    let mut list = List::begin(writer, "recipients", "Who it was given to", &columns).await?;
    let (core, person) = (rendering.core, rendering.person);
    let rows = prefix::disclosures(&person.id);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&rows, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, value) in &page {
            let Some(RowKey::Disclosure(_, id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
            let row: DisclosureRow = unpack(person.keys.open_row(key, value)?.bytes())?;
            // What the person may not hear of yet is in the bundle that they ask for when they may.
            if disclosures::is_secret(core, &row) {
                continue;
            }
            let item = recipient(rendering, id, &row);
            seen.regions.insert(row.region);
            seen.purposes.insert(row.purpose);
            list.add(writer, &item).await?;
        }
    }
    list.end(writer).await
}

fn recipient(rendering: &Rendering<'_>, id: DisclosureId, row: &DisclosureRow) -> Value {
    let partner = rendering.tenant.partner(&row.recipient);
    json!({
        "id": id,
        "recipient": row.recipient,
        "name": partner.map_or(row.recipient.as_str(), |partner| partner.title.as_str()),
        "recipient_kind": partner.map(|partner| partner.kind),
        "kind": disclosures::kind_of(row),
        "case": row.case.map(CaseId::from_bytes),
        "purpose": row.purpose,
        "fields": rendering.names(&row.fields),
        "region": row.region,
        "at": time(row.at),
        "decision": DecisionId::from_bytes(row.decision),
    })
}

/// What the person said to purposes, every event.
async fn consents(rendering: &Rendering<'_>, writer: &mut Writer<'_>, seen: &mut Seen) -> Result<(), Refused> {
    let columns = [
        ("at", "When"),
        ("purpose", "Purpose"),
        ("kind", "Kind"),
        ("state", "What was said"),
        ("until", "Until"),
        ("categories", "About"),
    ];
    let mut list = List::begin(writer, "consents", "What you agreed to, and took back", &columns).await?;
    let (core, person) = (rendering.core, rendering.person);
    let rows = prefix::consents(&person.id);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&rows, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, value) in &page {
            let row: ConsentRow = unpack(person.keys.open_row(key, value)?.bytes())?;
            let event = row.event;
            let item = json!({
                "id": ConsentId::from_bytes(event.id),
                "purpose": event.purpose,
                "kind": event.kind,
                "state": event.state,
                "at": time(event.at),
                "until": event.until.map(time),
                "policy_version": event.policy_version,
                "categories": event.categories,
                "evidence": row.evidence,
                "extend_retention_until": row.extend_until.map(time),
            });
            seen.purposes.insert(event.purpose);
            list.add(writer, &item).await?;
        }
    }
    list.end(writer).await
}

/// Who did what with it and why, out of the trail: its entries with the person's tag, and nobody else's.
async fn reads(rendering: &Rendering<'_>, writer: &mut Writer<'_>, seen: &mut Seen, end: u64) -> Result<(), Refused> {
    let columns = [
        ("at", "When"),
        ("operation", "What"),
        ("purpose", "For"),
        ("by/name", "Who"),
        ("fields", "Fields"),
        ("outcome", "Outcome"),
        ("decision", "Decision"),
    ];
    let mut list = List::begin(writer, "reads", "Who used it", &columns).await?;
    let core = rendering.core;
    let shown = Shown::to(core, rendering.person)?;
    let mut at = 0;
    while at < end {
        let page = core.trail.entries(at, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        at = last + 1;
        let mine = page.iter().filter(|(index, entry)| *index < end && entry.tag == Some(rendering.person.tag));
        for (_, entry) in mine {
            // What was disclosed on a case stands here in its time.
            if !shown.has(entry) {
                continue;
            }
            let Some(item) = read(rendering, entry) else { continue };
            seen.purposes.extend(entry.purpose.clone());
            list.add(writer, &item).await?;
        }
        // The trail may be long, and others want to be answered meanwhile.
        tokio::task::yield_now().await;
    }
    list.end(writer).await
}

fn read(rendering: &Rendering<'_>, entry: &Entry) -> Option<Value> {
    let (outcome, code) = match &entry.outcome {
        Outcome::Allowed => ("allowed", None),
        Outcome::Done => ("done", None),
        Outcome::Refused { code, .. } => ("refused", Some(code.text())),
        Outcome::Void => return None,
    };
    Some(json!({
        "at": entry.at,
        "operation": entry.operation,
        "purpose": entry.purpose,
        "by": who(rendering, entry.caller),
        "outcome": outcome,
        "code": code,
        "fields": rendering.names(&entry.fields),
        "records": entry.records,
        "decision": entry.decision,
    }))
}

/// Who it was: a partner or a program by its name; somebody who works for the controller by what they do there, for a colleague's
/// name is that colleague's own data (CJEU C-579/21, Pankki S).
fn who(rendering: &Rendering<'_>, caller: Option<CallerId>) -> Value {
    let (core, tenant) = (rendering.core, rendering.tenant);
    let Some(id) = caller.filter(|id| *id != scheduler_of(core, tenant)) else {
        return json!({"kind": "vault", "name": "the vault itself"});
    };
    let Some(row) = core.registry.caller(&id) else { return json!({"kind": "unknown", "name": "a caller that is no more"}) };
    let rights = &row.rights;
    if let Some(partner) = &rights.partner {
        let title = tenant.partner(partner).map_or(partner.as_str(), |partner| partner.title.as_str());
        return json!({"kind": "partner", "id": partner, "name": title});
    }
    if rights.person {
        return json!({"kind": "staff", "name": "somebody of the controller's staff", "roles": rights.roles()});
    }
    json!({"kind": "service", "name": rights.name, "roles": rights.roles()})
}

/// What is short: purposes with what they rest on, periods, transfers, and what stands about the person.
async fn the_rest(rendering: &Rendering<'_>, writer: &mut Writer<'_>, seen: &Seen) -> Result<(), Refused> {
    let Rendering { core, tenant, person, .. } = rendering;
    let standing = &person.row.standing;
    let purposes: Vec<Value> =
        tenant.purposes().iter().filter(|own| seen.purposes.contains(&own.id)).map(|own| purpose(rendering, own)).collect();
    let retention = retention(rendering);
    let transfers = transfers(rendering, seen);
    let now = core.clock.now();
    let contracts: Vec<Value> = standing
        .contracts
        .iter()
        .map(|own| json!({"reference": own.reference, "from": own.from, "until": own.until, "in_force": own.is_active(now)}))
        .collect();
    let preferences: Vec<Value> =
        standing.preferences.iter().map(|own| json!({"name": own.name, "on": own.on, "at": time(own.at)})).collect();
    let restrictions: Vec<Value> =
        standing.restrictions.iter().filter_map(|own| serde_json::to_value(restrictions::view(own)).ok()).collect();
    let notices: Vec<Value> =
        standing.notices.iter().map(|own| json!({"policy_version": own.policy_version, "shown_at": time(own.at)})).collect();
    let owed: Vec<Value> =
        standing.tasks.iter().map(|own| json!({"kind": own.kind, "party": own.party, "due_at": time(own.due_at)})).collect();
    let rights: Vec<Value> =
        rights().iter().map(|own| json!({"operation": own.operation, "term": own.term, "title": own.title})).collect();
    // The guardian is somebody else: who it is, is not said.
    let guardian = standing.guardian.as_ref().map(|word| {
        let view = guardians::view(word, person.facts(tenant, now).minor);
        json!({"method": view.method, "purposes": view.purposes, "state": view.state})
    });
    let authority = tenant.authority(&person.row.jurisdiction).map(|own| json!({"title": own.title, "url": own.url}));

    let html = [
        copy::heading("What it is used for, and what that rests on"),
        copy::list(
            "Purposes",
            &[
                ("title", "Purpose"),
                ("id", "Id"),
                ("dpv", "Terms"),
                ("categories", "Categories"),
                ("basis/words", "Rests on"),
                ("basis/term", "Term"),
            ],
            &purposes,
        ),
        copy::heading("How long it is kept"),
        copy::list(
            "Periods after collection",
            &[
                ("group", "Group"),
                ("period", "Period"),
                ("categories", "Categories"),
                ("statute", "Law"),
                ("extended_until", "Longer, until"),
            ],
            &retention,
        ),
        copy::heading("Where it may go"),
        copy::list(
            "Ways between regions",
            &[("from", "From"), ("to", "To"), ("tool", "By"), ("evidence", "Evidence")],
            &transfers,
        ),
        copy::heading("What stands about you"),
        copy::list(
            "Contracts",
            &[("reference", "Reference"), ("from", "From"), ("until", "Until"), ("in_force", "In force")],
            &contracts,
        ),
        copy::list("Preferences", &[("name", "Switch"), ("on", "On"), ("at", "Since")], &preferences),
        copy::list(
            "Restrictions",
            &[
                ("kind", "Kind"),
                ("purposes", "Purposes"),
                ("at", "Since"),
                ("review_at", "Looked at again"),
                ("active", "In force"),
            ],
            &restrictions,
        ),
        copy::list("Notices that you were shown", &[("policy_version", "Policy"), ("shown_at", "When")], &notices),
        copy::list("What you are owed", &[("kind", "What"), ("party", "About"), ("due_at", "Until")], &owed),
        copy::list("Groups that were destroyed", &[("group", "Group")], &erased(rendering)),
        copy::heading("Your rights"),
        copy::list("Rights", &[("title", "You may"), ("term", "By")], &rights),
        copy::list("Where to complain", &[("title", "Authority"), ("url", "Address")], authority.as_slice()),
    ]
    .concat();
    writer.put(COPY, html.as_bytes()).await?;
    let rest = json!({
        "purposes": purposes,
        "retention": retention,
        "transfers": transfers,
        "contracts": contracts,
        "preferences": preferences,
        "restrictions": restrictions,
        "guardian": guardian,
        "notices": notices,
        "owed": owed,
        "erased": erased(rendering),
        "rights": rights,
        "authority": authority,
    });
    let text = serde_json::to_vec(&rest).map_err(|_| Code::Internal)?;
    let members = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")).ok_or(Code::Internal)?;
    writer.put(DATA, b",").await?;
    writer.put(DATA, members).await
}

/// The groups whose keys were destroyed and not made anew.
fn erased(rendering: &Rendering<'_>) -> Vec<Value> {
    rendering.tenant.group_names(rendering.person.dead()).into_iter().map(|group| json!({"group": group})).collect()
}

fn purpose(rendering: &Rendering<'_>, purpose: &Purpose) -> Value {
    let (tenant, row) = (rendering.tenant, &rendering.person.row);
    let now = rendering.made_at;
    let basis = tenant.basis(purpose, &row.jurisdiction, &row.class).map(|rule| {
        let consent = (rule.basis == Basis::Consent)
            .then(|| row.standing.consents.iter().filter(|own| own.purpose == purpose.id).max_by_key(|own| own.at))
            .flatten();
        let in_force = row.standing.contracts.iter().filter(|own| own.is_active(now)).map(|own| &own.reference);
        let contracts = (rule.basis == Basis::Contract).then(|| in_force.collect::<Vec<_>>());
        json!({
            "id": rule.id,
            "basis": rule.basis,
            "words": crate::tenant::publish::basis_words(rule.basis),
            "term": rule.term,
            "assessment": rule.assessment,
            "consent": consent.map(|event| json!({"id": ConsentId::from_bytes(event.id), "state": event.state(now)})),
            "contracts": contracts,
        })
    });
    json!({
        "id": purpose.id,
        "title": purpose.title,
        "dpv": purpose.dpv,
        "part_of": purpose.parent,
        "group": purpose.group.map(|group| tenant.group_name(group)),
        "categories": purpose.categories,
        "basis": basis,
    })
}

/// The rules by which what is kept under the person's living groups ends.
fn retention(rendering: &Rendering<'_>) -> Vec<Value> {
    let (tenant, person) = (rendering.tenant, rendering.person);
    let alive = person.alive().without_hold();
    let binds = |areas: &BTreeSet<String>| areas.is_empty() || tenant.closeness(areas, &person.row.jurisdiction).is_some();
    let rules = tenant.retention_rules().iter().filter(|rule| alive.contains(rule.group) && binds(&rule.areas));
    rules
        .map(|rule| {
            let longer =
                person.row.standing.extensions.iter().filter(|own| own.group == rule.group.number()).map(|own| own.until).max();
            json!({
                "group": tenant.group_name(rule.group),
                "period": rule.period.as_ref().map(ToString::to_string),
                "categories": rule.categories,
                "rule": rule.rule,
                "statute": rule.rule.as_ref().and_then(|id| tenant.legal_rule(id)).map(|rule| &rule.statute),
                "extended_until": longer.map(time),
            })
        })
        .collect()
}

/// The rules in force by which it may pass to where recipients are.
fn transfers(rendering: &Rendering<'_>, seen: &Seen) -> Vec<Value> {
    let tenant = rendering.tenant;
    let here = rendering.person.row.region.as_deref().unwrap_or_else(|| tenant.storage());
    let rules = seen.regions.iter().filter(|region| *region != here).flat_map(|region| tenant.transfers(here, region));
    rules
        .map(|rule| {
            json!({
                "from": rule.from, "to": rule.to, "tool": rule.tool, "evidence": rule.evidence,
                "valid_until": rule.valid_until.map(|day| day.to_string()),
            })
        })
        .collect()
}
