//! operateKeys and listKeys.

use ::keys::SystemKey;
use ::keys::root::RootFile;
use serde_json::{Value, json};

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::wire::{OperateKeys, Page};

use super::backups;
use super::call::{Answer, Call, Refused};
use super::core::Core;
use super::erasure::sealing::{Shredding, Target};
use super::lifecycle::Vault;
use super::rotations::ages::{self, Aged};
use super::rotations::kind::Kind;
use super::rotations::operate::{self, Wish};

impl Vault {
    /// operateKeys: a new epoch, a backup, or sealing. Unsealing needs no token, since a sealed vault knows none: the edge asks for
    /// it with the passphrase alone.
    pub async fn operate_keys(&self, call: &Call, body: OperateKeys) -> Result<Answer, Refused> {
        let operation = Operation::OperateKeys;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        match body {
            OperateKeys::RotateEpoch {} => {
                let (shredding, sealed) = Shredding::new(entry, Target::Epoch, None);
                opened.committer.shred(shredding)?;
                sealed.await.map_err(|_| Refused::from(Code::Sealed))??;
                let body = format!("{{\"operation\":\"rotate-epoch\",\"epoch\":{}}}", core.hierarchy.epoch());
                Ok(Answer { decision: Some(decision), body: Some(body.into_bytes()), ..Answer::default() })
            }
            OperateKeys::RotateRoot { passphrase, new_passphrase } => {
                self.rotate_root(call, &opened, entry, (passphrase, new_passphrase)).await
            }
            OperateKeys::Seal {} => {
                let ticket = core.trail.append(&[entry])?;
                let _receipt = core.trail.durable(ticket).await?;
                drop(opened);
                self.seal().await;
                Ok(Answer {
                    decision: Some(decision),
                    body: Some(b"{\"operation\":\"seal\",\"state\":\"sealed\"}".to_vec()),
                    ..Answer::default()
                })
            }
            OperateKeys::Backup { full } => {
                let ticket = core.trail.append(&[entry])?;
                let _receipt = core.trail.durable(ticket).await?;
                let body = serde_json::to_vec(&backups::asked(core, full).await?).map_err(|_| Code::Internal)?;
                Ok(Answer { decision: Some(decision), body: Some(body), ..Answer::default() })
            }
            OperateKeys::RotateTree {} => operate::start(&opened, call, &tenant, entry, (Kind::Tree, None)).await,
            OperateKeys::RotateSubject { subject } => {
                operate::start(&opened, call, &tenant, entry, (Kind::Subject, Some(subject))).await
            }
            OperateKeys::RotateSubjects {} => operate::start(&opened, call, &tenant, entry, (Kind::Subjects, None)).await,
            OperateKeys::RotateIndex {} => operate::start(&opened, call, &tenant, entry, (Kind::Index, None)).await,
            OperateKeys::RotateTenant {} => operate::start(&opened, call, &tenant, entry, (Kind::Tenant, None)).await,
            OperateKeys::RotateSigning {} => operate::start(&opened, call, &tenant, entry, (Kind::Signing, None)).await,
            OperateKeys::PauseJob { job } => operate::change(&opened, call, entry, job, Wish::Pause).await,
            OperateKeys::ResumeJob { job } => operate::change(&opened, call, entry, job, Wish::Resume).await,
            OperateKeys::CancelJob { job } => operate::change(&opened, call, entry, job, Wish::Cancel).await,
            // It is open already: there is nothing to do, and the passphrase is not tried.
            OperateKeys::Unseal { .. } => Err(core.refuse(call, operation, Code::StateConflict, None)),
        }
    }

    /// listKeys: ids, epochs, states, ages, and the rotations of late; never key bytes.
    pub async fn keys(&self, call: &Call, page: Page) -> Result<Answer, Refused> {
        let operation = Operation::ListKeys;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let facts = core.facts(&tenant);
        let allowed = core.decide(call, operation, &facts, None)?;
        let from: usize = match &page.cursor {
            Some(cursor) => cursor.parse().map_err(|_| core.refuse(call, operation, Code::BadCursor, None))?,
            None => 0,
        };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        let mut all = listed(core, &self.root_file()?);
        if let (Some(root), Some(seen)) = (all.first_mut(), self.holder_seen()) {
            root["holder"] = seen;
        }
        let to = from.saturating_add(page.limit.unwrap_or(PAGE)).min(all.len());
        let list = json!({
            "keys": all.get(from..to).unwrap_or_default(),
            "next_cursor": (to < all.len()).then(|| to.to_string()),
            "jobs": core.jobs.all().iter().map(|(id, job)| job.view(id)).collect::<Vec<_>>(),
        });
        let body = serde_json::to_vec(&list).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// Keys on a page unless told.
const PAGE: usize = 50;

/// Every key, or what stands for many: the root first, then down the hierarchy, then the vault's own.
fn listed(core: &Core, root: &RootFile) -> Vec<Value> {
    let mut top = json!({"id": "root", "kind": "root", "provider": root.provider().word(), "algorithm": "AES-256-GCM"});
    if let Some((threshold, shares)) = root.shares() {
        (top["threshold"], top["shares"]) = (threshold.into(), shares.into());
    }
    let epoch = core.hierarchy.epoch();
    let public = ::keys::digest::sha256(&[&core.hierarchy.public_key()]);
    let hex: String = public[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let assurance = core.hierarchy.assurance().word();
    let mut list = vec![
        ages::show(core, Aged::Root, top),
        ages::show(
            core,
            Aged::Epoch,
            json!({"id": format!("epoch-{epoch}"), "kind": "epoch", "epoch": epoch, "destroy_assurance": assurance,
                "places": places(&core.hierarchy.places())}),
        ),
        ages::show(core, Aged::Tree, json!({"id": "tree", "kind": "tree", "algorithm": "AES-256-GCM"})),
        ages::show(core, Aged::Subjects, json!({"id": "subjects", "kind": "subjects", "algorithm": "AES-256-GCM"})),
    ];
    for generation in core.hierarchy.generations() {
        let (aged, id, algorithm) = match generation.key {
            SystemKey::Index => (Aged::Index, "index", "HMAC-SHA-256"),
            SystemKey::Token => (Aged::Tenant, "token", "HMAC-SHA-256"),
            SystemKey::Row => (Aged::Tenant, "row", "AES-256-GCM"),
            SystemKey::Statistics => (Aged::Tenant, "statistics", "AES-256-GCM"),
            SystemKey::Signing => (Aged::Signing, "trail-signing", "Ed25519"),
        };
        let key = json!({
            "id": match generation.key {
                SystemKey::Signing if generation.is_newest => format!("trail-{hex}"),
                _ => format!("{id}-{}", generation.number),
            },
            "kind": id, "algorithm": algorithm, "generation": generation.number, "made_in_epoch": generation.made,
        });
        let mut shown = ages::show(core, aged, key);
        if !generation.is_newest {
            // It opens and finds until the rotation that is under way destroys it.
            shown["state"] = "retiring".into();
        }
        list.push(shown);
    }
    list
}

/// The places of the keyring: how each stands, and what destruction there is worth.
fn places(places: &[::keys::PlaceState]) -> Value {
    let one = |place: &::keys::PlaceState| {
        let mut one = json!({"name": place.name, "kind": place.kind, "state": place.standing.word(),
            "destroy_assurance": place.assurance.word(), "since_epoch": place.since});
        if let Some(why) = &place.why {
            one["why"] = why.as_str().into();
        }
        if let Some(until) = place.until {
            one["until_epoch"] = until.into();
        }
        one
    };
    places.iter().map(one).collect()
}
