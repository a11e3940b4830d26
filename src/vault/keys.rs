//! operateKeys and listKeys.

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::wire::{OperateKeys, Page};

use super::backups;
use super::call::{Answer, Call, Refused};
use super::erasure::sealing::{Shredding, Target};
use super::lifecycle::Vault;

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
                let made = backups::asked(core, full).await?;
                let state = if made.is_some() { "done" } else { "running" };
                let body = serde_json::json!({"operation": "backup", "state": state, "backup": made});
                let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
                Ok(Answer { decision: Some(decision), body: Some(body), ..Answer::default() })
            }
            // It is open already: there is nothing to do, and the passphrase is not tried.
            OperateKeys::Unseal { .. } => Err(core.refuse(call, operation, Code::StateConflict, None)),
        }
    }

    /// listKeys: ids, epochs, states, ages; never key bytes.
    pub async fn keys(&self, call: &Call, _page: Page) -> Result<Answer, Refused> {
        let operation = Operation::ListKeys;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let facts = core.facts(&tenant);
        let allowed = core.decide(call, operation, &facts, None)?;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        let public = keys::digest::sha256(&[&core.hierarchy.public_key()]);
        let hex: String = public[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let now = core.clock.now();
        let since = *core.epoch_since.read();
        let root = self.root_file()?;
        let mut list = serde_json::json!({
            "keys": [
                {"id": "root", "kind": "root", "state": "active", "provider": root.provider().word(), "algorithm": "AES-256-GCM"},
                {"id": format!("epoch-{}", core.hierarchy.epoch()), "kind": "epoch", "state": "active", "epoch": core.hierarchy.epoch(),
                 "active_since": since.to_string(), "age_seconds": now.duration_since(since).as_secs(),
                 "destroy_assurance": core.hierarchy.assurance().word()},
                {"id": "index", "kind": "index", "state": "active", "algorithm": "HMAC-SHA-256"},
                {"id": "token", "kind": "token", "state": "active", "algorithm": "HMAC-SHA-256"},
                {"id": "row", "kind": "row", "state": "active", "algorithm": "AES-256-GCM"},
                {"id": format!("trail-{hex}"), "kind": "trail-signing", "state": "active", "algorithm": "Ed25519"},
            ],
            "next_cursor": null,
        });
        if let Some((threshold, shares)) = root.shares() {
            list["keys"][0]["threshold"] = threshold.into();
            list["keys"][0]["shares"] = shares.into();
        }
        let body = serde_json::to_vec(&list).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}
