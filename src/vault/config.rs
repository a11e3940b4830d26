//! readConfig and draftConfig: what is published, and what somebody wants to be otherwise. A draft changes nothing until a
//! policy version with it is published.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
use serde_json::{Map, Value, json};

use crate::audit::Outcome;
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, TenantId};
use crate::model::wire::Page;
use crate::policy::Facts;
use crate::policy::roles::{self, Cell};
use crate::store::layout::{PolicyPart, RowKey, prefix};
use crate::tenant::Tenant;
use crate::tenant::document::Kind;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, first16};
use super::lifecycle::Vault;
use super::rows::{pack, time, unpack};
use super::views::{ConfigEntry, ConfigPage, ControllerView, ControllersPage, DraftView, DraftedView};

/// Entries on a page unless told, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Bytes of JSON that one entry may take: it is kept in one row.
const LARGEST_ENTRY: usize = 5_000;

/// What somebody wants an entry to be. Sealed under the vault's row key.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub(crate) struct DraftRow {
    #[n(0)]
    pub kind: String,
    #[n(1)]
    pub id: String,
    /// JSON; none where the entry is to go.
    #[n(2)]
    pub entry: Option<String>,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub by: [u8; 16],
    #[n(4)]
    pub at: i64,
}

/// A draft as it is stored.
pub(crate) struct Draft {
    pub(crate) key: Vec<u8>,
    pub(crate) stored: Vec<u8>,
    pub(crate) row: DraftRow,
}

impl Draft {
    /// Its kind; damage shows as a refusal.
    pub(crate) fn kind(&self) -> Result<Kind, Refused> {
        Kind::named(&self.row.kind).ok_or(Code::Internal.into())
    }

    /// What the entry is to be; `None` where it is to go.
    pub(crate) fn entry(&self) -> Result<Option<Map<String, Value>>, Refused> {
        let parsed = self.row.entry.as_deref().map(serde_json::from_str).transpose();
        parsed.map_err(|_| Code::Internal.into())
    }
}

/// What is asked of a draft.
pub enum Wanted {
    /// The entry is to be this.
    Entry(Map<String, Value>),
    /// The entry is to go.
    Remove,
    /// Nothing is to change after all.
    Discard,
}

impl Vault {
    /// readConfig: what is published of a kind, and beside it what is drafted, for those who may draft, approve or audit.
    pub async fn config(&self, call: &Call, kind: &str, page: Page) -> Result<Answer, Refused> {
        let operation = Operation::ReadConfig;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let kind = Kind::named(kind);
        // A partner's own object is its own entry in the register.
        let own = kind == Some(Kind::Partners) && call.caller.partner.is_some();
        let allowed = core.decide(call, operation, &Facts { own, ..core.facts(&tenant) }, None)?;
        let Some(kind) = kind else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let officers = [Role::PolicyAuthor, Role::PrivacyOfficer, Role::Auditor];
        let sees_drafts = officers.iter().any(|role| call.caller.roles.contains(role));
        let mut listed = self::listed(core, &tenant, kind, sees_drafts)?;
        let only_own = call.caller.roles.iter().all(|role| roles::cell(operation, *role) != Cell::Allowed);
        if only_own {
            listed.retain(|id, _| call.caller.partner.as_ref() == Some(id));
        }
        let context = [b"cursor-config".as_slice(), kind.text().as_bytes(), call.caller.id.bytes()].concat();
        let after = match &page.cursor {
            Some(cursor) => {
                let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
                let plain = core.hierarchy.open_row(&context, &sealed).map_err(|_| Code::BadCursor)?;
                Some(String::from_utf8(plain.bytes().to_vec()).map_err(|_| Code::BadCursor)?)
            }
            None => None,
        };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        let limit = page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let mut rest = listed.into_values().filter(|one| after.as_ref().is_none_or(|after| one.id > *after)).peekable();
        let entries: Vec<ConfigEntry> = rest.by_ref().take(limit).collect();
        let next_cursor = match (rest.peek(), entries.last()) {
            (Some(_), Some(last)) => Some(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(&context, last.id.as_bytes())?)),
            _ => None,
        };
        let body = ConfigPage { kind: kind.text(), policy_version: tenant.version().to_owned(), entries, next_cursor };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }

    /// The controllers of this vault, for everybody: who answers for what is kept here (p01).
    pub fn public_controllers(&self) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let entries = opened.core.tenants.all().into_iter().map(|tenant| controller(&tenant)).collect();
        let body = ControllersPage { kind: Kind::Controllers.text(), entries, next_cursor: None };
        Ok(Answer { body: Some(serde_json::to_vec(&body).map_err(|_| Code::Internal)?), ..Answer::default() })
    }

    /// draftConfig: notes what an entry is to be. It is checked on its own at once, and with everything else when it is
    /// proposed.
    pub async fn draft_config(&self, call: &Call, kind: &str, id: &str, wanted: Wanted) -> Result<Answer, Refused> {
        let operation = Operation::DraftConfig;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let refuse = |code: Code| core.refuse(call, operation, code, None);
        let kind = Kind::named(kind).filter(|kind| (1..=64).contains(&id.len()) && kind.takes_id(id));
        let Some(kind) = kind else { return Err(refuse(Code::NotFound)) };
        let entry = match wanted {
            Wanted::Entry(entry) => Some(Some(entry)),
            Wanted::Remove => Some(None),
            Wanted::Discard => None,
        };
        let row = match entry {
            None => None,
            Some(entry) => {
                let mut scratch = tenant.document().clone();
                if let Err(misshapen) = scratch.put(kind, id, entry.as_ref()) {
                    let pointer = misshapen.member.map(|member| format!("/{member}"));
                    return Err(Refused { pointer, ..refuse(Code::InvalidBody) });
                }
                let text = entry.map(|entry| Value::Object(entry).to_string());
                if text.as_ref().is_some_and(|text| text.len() > LARGEST_ENTRY) {
                    return Err(refuse(Code::TooLarge));
                }
                let by = *call.caller.id.bytes();
                let at = core.clock.now().as_microsecond();
                Some(DraftRow { kind: kind.text().to_owned(), id: id.to_owned(), entry: text, by, at })
            }
        };
        let key = draft_key(core, tenant.id(), kind, id);
        let value = match &row {
            Some(row) => Some(core.hierarchy.seal_row(&key, &pack(row)?)?),
            None => None,
        };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        let mut change = Change::noting(entry);
        change.rows.push(RowChange { key, expect: Expect::Any, value });
        opened.committer.commit(change).await?;
        let body = match row {
            Some(row) => {
                let view = DraftedView { draft: drafted(&row)?, kind: row.kind, id: row.id };
                Some(serde_json::to_vec(&view).map_err(|_| Code::Internal)?)
            }
            None => None,
        };
        Ok(Answer { decision: Some(decision), body, ..Answer::default() })
    }
}

/// Every draft of a controller, in the order of kinds and ids.
pub(crate) fn drafts(core: &Core, tenant: TenantId) -> Result<Vec<Draft>, Refused> {
    let mut drafts = Vec::new();
    let prefix = prefix::policy(&tenant, PolicyPart::Draft);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&prefix, after.as_deref(), LARGEST_PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, stored) in page {
            let row: DraftRow = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
            drafts.push(Draft { key, stored, row });
        }
    }
    drafts.sort_by(|one, other| (&one.row.kind, &one.row.id).cmp(&(&other.row.kind, &other.row.id)));
    Ok(drafts)
}

/// A controller as everybody may see it.
fn controller(tenant: &Tenant) -> ControllerView {
    let entry = tenant.controller();
    ControllerView {
        id: tenant.id(),
        title: entry.title.clone(),
        address: entry.address.clone(),
        privacy_officer: entry.officer.clone(),
        policy_version: tenant.version().to_owned(),
    }
}

fn listed(core: &Core, tenant: &Tenant, kind: Kind, sees_drafts: bool) -> Result<BTreeMap<String, ConfigEntry>, Refused> {
    let entries = if kind == Kind::Roles { role_entries() } else { tenant.document().entries(kind) };
    let one = |(id, entry): (String, Value)| (id.clone(), ConfigEntry { id, published: Some(entry), draft: None });
    let mut listed: BTreeMap<String, ConfigEntry> = entries.into_iter().map(one).collect();
    if sees_drafts {
        for draft in drafts(core, tenant.id())?.iter().filter(|draft| draft.row.kind == kind.text()) {
            let id = draft.row.id.clone();
            let place = listed.entry(id.clone()).or_insert(ConfigEntry { id, published: None, draft: None });
            place.draft = Some(drafted(&draft.row)?);
        }
    }
    Ok(listed)
}

fn drafted(row: &DraftRow) -> Result<DraftView, Refused> {
    let entry = row.entry.as_deref().map(serde_json::from_str).transpose().map_err(|_| Code::Internal)?;
    let remove = row.entry.is_none();
    Ok(DraftView { entry, remove, by: CallerId::from_bytes(row.by), at: time(row.at) })
}

/// How a role may use an operation, in a word; `None` where it may not.
pub fn may(operation: Operation, role: Role) -> Option<&'static str> {
    match roles::cell(operation, role) {
        Cell::Never => None,
        Cell::Allowed => Some("allowed"),
        Cell::Own => Some("own"),
        Cell::SecondPerson => Some("second-person"),
        Cell::RightsOnly => Some("rights-only"),
    }
}

/// The roles with what each may do: the table that the first guard asks.
fn role_entries() -> Vec<(String, Value)> {
    let entry = |role: &Role| {
        let name = serde_json::to_value(role).ok()?.as_str()?.to_owned();
        let operations: Map<String, Value> = Operation::ALL
            .iter()
            .filter_map(|operation| Some((operation.text().to_owned(), may(*operation, *role)?.into())))
            .collect();
        Some((name.clone(), json!({"id": name, "operations": operations})))
    };
    roles::ROLES.iter().filter_map(entry).collect()
}

impl Draft {
    /// The name that the newest row key gives it.
    pub(crate) fn named(&self, core: &Core, tenant: TenantId) -> Result<Vec<u8>, Refused> {
        Ok(draft_key(core, tenant, self.kind()?, &self.row.id))
    }
}

fn draft_key(core: &Core, tenant: TenantId, kind: Kind, id: &str) -> Vec<u8> {
    let digest = core.hierarchy.keyed_digest("draft", &[kind.text().as_bytes(), id.as_bytes()]);
    RowKey::Policy { tenant, part: PolicyPart::Draft, name: first16(&digest), chunk: 0 }.bytes()
}
