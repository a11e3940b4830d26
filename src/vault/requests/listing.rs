//! listRequests: the queue, by what is due first.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::RequestId;
use crate::model::states::REQUEST;
use crate::model::wire::{ListRequests, RequestType, RequestsPage};
use crate::store::layout::RowKey;

use super::super::call::{Answer, Call, Refused};
use super::super::core::Core;
use super::super::lifecycle::Vault;
use super::super::rows::{RequestRow, unpack};
use super::{load, seen_by, view};

/// Requests on a page unless told, and at most (API.md).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Rows that are looked at together.
const ROWS: usize = 500;

/// A request's place in the queue: when it is due, and its id.
type Place = (i64, [u8; 16]);

impl Vault {
    /// listRequests: those of the caller's controller, what is due first before the others. Who is no officer sees tags and no
    /// subject.
    pub async fn requests(&self, call: &Call, query: ListRequests) -> Result<Answer, Refused> {
        let operation = Operation::ListRequests;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let malformed = || core.refuse(call, operation, Code::MalformedRequest, None);
        let state = match &query.state {
            Some(name) => Some(REQUEST.number(name).ok_or_else(malformed)?),
            None => None,
        };
        let kind = match &query.r#type {
            Some(name) => Some(RequestType::named(name).ok_or_else(malformed)?.number()),
            None => None,
        };
        let bound = [b"cursor-requests", call.caller.id.bytes().as_slice()].concat();
        let after = match &query.page.cursor {
            Some(cursor) => Some(place(core, &bound, cursor).ok_or_else(|| core.refuse(call, operation, Code::BadCursor, None))?),
            None => None,
        };
        let admitted = core.admit(&allowed, core.entry(call, operation, Outcome::Allowed)?).await?;
        let before = query.due_before.map(|at| at.as_microsecond());
        let wanted = |row: &RequestRow| {
            row.tenant == *tenant.id().bytes()
                && state.is_none_or(|state| row.status == state)
                && kind.is_none_or(|kind| row.kind == kind)
                && before.is_none_or(|before| row.expected_by < before)
        };
        let limit = query.page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let mut first = first(core, limit + 1, after, wanted)?;
        let more = first.len() > limit;
        while first.len() > limit {
            first.pop_last();
        }
        let mut items = Vec::with_capacity(first.len());
        for (_, id) in &first {
            let id = RequestId::from_bytes(*id);
            // One that changed since it was found is shown as it is now.
            if let Some((_, row)) = load(core, id)? {
                items.push(seen_by(call, &row, view(&tenant, id, &row)?));
            }
        }
        let next = match first.last().filter(|_| more) {
            Some((due, id)) => {
                let sealed = core.hierarchy.seal_row(&bound, &[&due.to_be_bytes()[..], id].concat())?;
                Some(BASE64_URL_SAFE_NO_PAD.encode(sealed))
            }
            None => None,
        };
        let body = RequestsPage { requests: items, next_cursor: next };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// The first so many places after one; no more than those are held, however many requests there are.
fn first(
    core: &Core,
    most: usize,
    after: Option<Place>,
    wanted: impl Fn(&RequestRow) -> bool,
) -> Result<BTreeSet<Place>, Refused> {
    let mut first = BTreeSet::new();
    each(core, |id, row| {
        let place = (row.expected_by, *id.bytes());
        if after.is_none_or(|after| place > after) && wanted(&row) {
            first.insert(place);
            if first.len() > most {
                first.pop_last();
            }
        }
        Ok(())
    })?;
    Ok(first)
}

/// Goes through every request of the vault, a page at a time.
pub(super) fn each(core: &Core, mut look: impl FnMut(RequestId, RequestRow) -> Result<(), Refused>) -> Result<(), Refused> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(b"q", after.as_deref(), ROWS)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, stored) in page {
            let Some(RowKey::Request(id)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
            look(id, unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?)?;
        }
    }
}

fn place(core: &Core, bound: &[u8], cursor: &str) -> Option<Place> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let plain = core.hierarchy.open_row(bound, &sealed).ok()?;
    let (due, id) = plain.bytes().split_at_checked(8)?;
    Some((i64::from_be_bytes(due.try_into().ok()?), id.try_into().ok()?))
}
