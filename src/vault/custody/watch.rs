//! Looking after whoever holds the root key, while the vault is open: are they there, and do they still say yes?
//!
//! An open vault needs them for nothing but a new root key: its keys are in memory. So an outage stops no call, and by default nothing happens
//! but a line in the log, one in the trail, and a word in listKeys. Where `[custody] on_outage` is `seal`, the vault seals itself:
//!
//! | what is seen | when it seals | when it opens again |
//! |---|---|---|
//! | nobody answers; the credentials are not taken; the settings make no sense | after `grace_seconds` of nothing else | at the first look that finds the key |
//! | the key is disabled, is to be deleted, or is gone | at once: somebody decided so | the same, where the key was brought back |
//!
//! So whoever may disable the key can close every vault under it within `probe_seconds`. What somebody sealed by hand is never opened from here.

use ::keys::root::Provider;
use ::keys::{KeysError, Obstacle};
use jiff::Timestamp;

use crate::audit::{Note, Outcome};
use crate::vault::call::Refused;
use crate::vault::lifecycle::{OpenError, Opened, UnsealError, Vault};

/// What was seen last of whoever holds the root key.
#[derive(Default)]
pub(crate) struct Watched {
    /// Since when they do not help, and why.
    outage: Option<(Timestamp, Obstacle)>,
    /// Whether the vault is sealed for that reason alone, so that it opens when they help again.
    opens_again: bool,
}

impl Vault {
    /// Opens the vault when it can do so by itself. Where nobody answers now, it stays sealed and [the watch](Self::watch_custody) tries again.
    pub async fn unseal_at_start(&self) -> Result<(), UnsealError> {
        match self.unseal_by_itself().await {
            Err(UnsealError::Open(OpenError::Keys(error @ KeysError::Holder(_, Obstacle::Away, _))))
                if self.0.config.custody.probe.is_some() =>
            {
                tracing::warn!(%error, "the vault stays sealed until whoever holds its root key answers");
                *self.0.watched.lock() = Watched { outage: Some((self.0.clock.now(), Obstacle::Away)), opens_again: true };
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Looks at whoever holds the root key every so often, for as long as it is polled. Nobody is looked at who needs a person's word.
    pub async fn watch_custody(self) {
        let Some(every) = self.0.config.custody.probe else { return };
        loop {
            tokio::time::sleep(every).await;
            self.look_at_holder().await;
        }
    }

    /// In which state the holder was seen last, and since when, where they are looked at.
    pub(crate) fn holder_seen(&self) -> Option<serde_json::Value> {
        self.0.config.custody.probe?;
        self.holder_by_itself().ok()??;
        Some(match self.0.watched.lock().outage {
            Some((since, obstacle)) => serde_json::json!({"state": obstacle.word(), "since": since.to_string()}),
            None => serde_json::json!({"state": "reachable"}),
        })
    }

    /// One look.
    pub(crate) async fn look_at_holder(&self) {
        let Ok(opened) = self.opened() else { return self.try_again().await };
        let seen = match self.would_cost_a_try() {
            Some(obstacle) => Err(obstacle),
            None => match self.ask_holder().await {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => {
                    tracing::warn!(%error, "whoever holds the root key does not help");
                    Err(error.obstacle().unwrap_or(Obstacle::Unusable))
                }
                None => return,
            },
        };
        if let Err(refused) = self.seen(opened, seen).await {
            tracing::error!(code = refused.code.text(), "what was seen of the root key's holder could not be noted");
        }
    }

    /// A token that refused its PIN is not asked again before the vault is opened anew: it locks itself after some tries.
    fn would_cost_a_try(&self) -> Option<Obstacle> {
        let (_, obstacle) = self.0.watched.lock().outage?;
        let is_token = self.root_file().is_ok_and(|file| file.provider() == Provider::Pkcs11);
        (is_token && obstacle == Obstacle::Refused).then_some(obstacle)
    }

    /// Whether they open the root key; none when they are not asked, or it was changing hands meanwhile.
    async fn ask_holder(&self) -> Option<Result<(), KeysError>> {
        let vault = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let ask = || {
                let Some(holder) = vault.holder_by_itself()? else { return Ok(None) };
                let file = vault.root_file()?;
                // What is given is dropped, and wiped, at once.
                Ok(Some((holder.unlock(&file).map(drop), file)))
            };
            match ask() {
                Ok(None) => None,
                Ok(Some((Ok(()), _))) => Some(Ok(())),
                // A key that was replaced meanwhile is not one that is gone.
                Ok(Some((Err(error), file))) => vault.root_file().is_ok_and(|now| now.is(&file)).then_some(Err(error)),
                Err(error) => Some(Err(error)),
            }
        });
        asked.await.ok()?
    }

    async fn seen(&self, opened: std::sync::Arc<Opened>, seen: Result<(), Obstacle>) -> Result<(), Refused> {
        let (now, custody) = (self.0.clock.now(), &self.0.config.custody);
        let (before, since) = {
            let mut watched = self.0.watched.lock();
            let before = watched.outage;
            let since = before.map_or(now, |(since, _)| since);
            *watched = Watched { outage: seen.err().map(|obstacle| (since, obstacle)), opens_again: false };
            (before.map(|(_, obstacle)| obstacle), since)
        };
        if before != seen.err() {
            note(&opened, if seen.is_ok() { "holderBack" } else { "holderAway" }).await?;
        }
        let Err(obstacle) = seen else {
            if before.is_some() {
                tracing::info!("whoever holds the root key helps again");
            }
            return Ok(());
        };
        let over =
            now.duration_since(since) >= jiff::SignedDuration::try_from(custody.grace).unwrap_or(jiff::SignedDuration::MAX);
        if !custody.seals || !(obstacle.is_decided() || over) {
            return Ok(());
        }
        // Fails closed: sealed even where the trail can no more be written.
        let noted = note(&opened, "sealWithoutHolder").await;
        drop(opened);
        if self.seal().await {
            self.0.watched.lock().opens_again = true;
            tracing::warn!(reason = obstacle.word(), "sealed: whoever holds the root key does not help any more");
        }
        noted
    }

    /// Opens what is sealed for want of its holder alone.
    async fn try_again(&self) {
        if !self.0.watched.lock().opens_again {
            return;
        }
        match self.unseal_by_itself().await {
            Ok(_) => {
                *self.0.watched.lock() = Watched::default();
                tracing::info!("whoever holds the root key helps again: the vault is open");
                if let Ok(opened) = self.opened()
                    && let Err(refused) = note(&opened, "holderBack").await
                {
                    tracing::error!(code = refused.code.text(), "that the vault is open again could not be noted");
                }
            }
            Err(error @ UnsealError::WrongPin) => {
                self.0.watched.lock().opens_again = false;
                tracing::warn!(%error, "the vault stays sealed until somebody gives the right PIN: a token locks itself after some wrong ones");
            }
            Err(error) => tracing::warn!(%error, "the vault stays sealed until whoever holds its root key helps"),
        }
    }
}

/// An entry of the vault's own, durable when this returns.
async fn note(opened: &Opened, name: &'static str) -> Result<(), Refused> {
    let event = opened.core.event(name, Outcome::Done, Note::None)?;
    let ticket = opened.core.trail.append(&[event])?;
    let _receipt = opened.core.trail.durable(ticket).await?;
    Ok(())
}
