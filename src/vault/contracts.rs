//! putContract: the contract that a purpose can rest on.

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::SubjectId;
use crate::model::standing::Contract;
use crate::model::wire::{ContractState, PutContract};
use crate::store::layout::RowKey;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::first16;
use super::lifecycle::Vault;
use super::rows::{ContractRow, pack, unpack};
use super::standing::amend;

/// Contracts in force that one person may have: their row has 6,000 bytes, and what the person says must find room in it.
const MOST: usize = 32;

impl Vault {
    /// putContract: opens, changes or closes the contract `reference` of a subject. A change of an existing one with
    /// `If-Match` is refused when it is stale; without, the last write wins.
    pub async fn put_contract(
        &self,
        call: &Call,
        id: SubjectId,
        reference: String,
        body: PutContract,
    ) -> Result<Answer, Refused> {
        let operation = Operation::PutContract;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
        let about = person.facts(&tenant, core.clock.now());
        core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
        if reference.is_empty()
            || reference.len() > 64
            || !reference.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
        }
        if body.until.is_some_and(|until| until < body.from) {
            let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
            return Err(Refused { pointer: Some("/until".into()), ..refused });
        }
        // The reference may be a number that somebody can guess. Old row keys stay in the store's files, so their digest is under a
        // key that dies with the subject; the rest is sealed.
        let digest = person.keys.keyed_digest("contract", &[reference.as_bytes()]);
        let key = RowKey::Contract(id, first16(&digest)).bytes();
        let old = core.store.row(&key)?;
        let version = match &old {
            Some(bytes) => {
                let plain = person.keys.open_row(&key, bytes)?;
                unpack::<ContractRow>(plain.bytes())?.version
            }
            None => 0,
        };
        if call.if_match.as_ref().is_some_and(|wanted| *wanted != etag(version)) {
            return Err(core.refuse(call, operation, Code::Stale, Some(person.tag)));
        }
        let row = ContractRow {
            reference,
            active: body.state == ContractState::Active,
            from: body.from.to_string(),
            until: body.until.map(|date| date.to_string()),
            version: version + 1,
        };
        let standing =
            Contract { reference: row.reference.clone(), active: row.active, from: row.from.clone(), until: row.until.clone() };
        let sealed = person.keys.seal_row(&key, &pack(&row)?)?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let answer = Answer {
            decision: Some(entry.decision),
            made: old.is_none(),
            etag: Some(etag(version + 1)),
            body: Some(serde_json::to_vec(&body).map_err(|_| Code::Internal)?),
            location: None,
            ..Answer::default()
        };
        let expect = old.map_or(Expect::Absent, Expect::Is);
        let mut change = Change { entries: vec![entry], ..Change::default() };
        // The subject's own row must still be there: an erasure in between wins.
        amend(core, &person, &mut change, |subject| {
            let contracts = &mut subject.standing.contracts;
            contracts.retain(|known| known.reference != standing.reference);
            // Ended ones make room first: what a person says later must always find some.
            if contracts.len() >= MOST {
                contracts.retain(|known| known.active);
            }
            if contracts.len() >= MOST {
                return Err(Code::StateConflict.into());
            }
            contracts.push(standing);
            Ok(())
        })?;
        change.rows.push(RowChange { key, expect, value: Some(sealed) });
        opened.committer.commit(change).await?;
        Ok(answer)
    }
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}
