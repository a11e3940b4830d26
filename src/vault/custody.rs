//! Who holds the root key, and handing it on: operateKeys `rotate-root`, and `oubliette keys migrate` on a stopped vault.
//!
//! Every change is the same: a fresh root key in a file beside the old one, a second slot of the keyring under it, a rename, and the
//! slot under the old root key overwritten. A process that ends in between leaves a vault that opens in the old way or in the new one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::keys::root::{
    self, Custody, Kms, KmsSettings, Pkcs11, Pkcs11Settings, Provider, Retired, Share, Shares, Transit, TransitSettings,
};
use ::keys::secret::{ExposeSecret, SecretString};
use ::keys::{KeysError, Obstacle, ShareFault};
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::audit::{Entry, Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::wire::Passphrase;

use super::call::{Answer, Call, Refused};
use super::committer::{Draft, settle};
use super::core::Core;
use super::lifecycle::{OpenError, Opened, UnsealError, Vault, WrongTries};
use super::rotations::ages::{self, Aged};

/// Seconds after which shares that were given are forgotten, unless another one comes.
const PATIENCE: i64 = 900;
/// Fewest characters of a new passphrase.
const SHORTEST_PASSPHRASE: usize = 12;

/// How the holders of the root key are reached; what the command line and `config.toml` say beside the root key's file.
#[derive(Debug, Clone, Default)]
pub struct CustodySettings {
    /// The key of AWS KMS.
    pub kms: KmsSettings,
    /// The key of a transit engine, where one is configured.
    pub transit: Option<TransitSettings>,
    /// Whether the vault seals itself when its holder is away for longer than `grace`, or says no.
    pub seals: bool,
    /// How often it looks; never unless told.
    pub probe: Option<Duration>,
    /// How long an outage may last.
    pub grace: Duration,
    /// The token, where one is configured.
    pub pkcs11: Option<Pkcs11Settings>,
    /// A file with the token's PIN: with it the vault unseals itself when it starts.
    pub pin: Option<PathBuf>,
}

mod watch;

pub(super) use watch::Watched;

impl CustodySettings {
    /// A holder over the network that is asked without anybody's help.
    ///
    /// # Errors
    /// [`KeysError::Holder`] when it is not configured, [`KeysError::OtherCustody`] when it is none of these.
    pub fn remote(&self, provider: Provider) -> Result<Arc<dyn Custody>, KeysError> {
        match provider {
            Provider::Kms => Ok(Arc::new(Kms::new(self.kms.clone()))),
            Provider::Transit => {
                const NONE: &str = "[custody] of config.toml names no transit_address and transit_key";
                let settings = self.transit.clone().ok_or(KeysError::Holder(provider, Obstacle::Unusable, NONE))?;
                Ok(Arc::new(Transit::new(settings)))
            }
            other => Err(KeysError::OtherCustody(other)),
        }
    }
}

/// What came of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The vault is open.
    Open,
    /// So many shares are here, of so many that it takes.
    Waiting(u8, u8),
}

/// Shares that were given to a sealed vault.
#[derive(Default)]
pub(super) struct Given {
    shares: Vec<Share>,
    until: Option<Timestamp>,
}

/// Who holds the root key, and who is to hold the next one.
type Parties = (Arc<dyn Custody>, Arc<dyn Custody>);

impl Vault {
    /// The root key's file as it lies there: which provider, how many shares.
    pub fn root_file(&self) -> Result<root::RootFile, KeysError> {
        root::look(&self.0.config.root())
    }

    /// Whoever holds the root key, asked with this passphrase or PIN.
    ///
    /// A PIN is compared with the configured file first, so that no peer uses up the tries of a token.
    pub fn holder(&self, secret: &SecretString) -> Result<Arc<dyn Custody>, KeysError> {
        match self.root_file()?.provider() {
            Provider::Passphrase => Ok(Arc::new(secret.clone())),
            Provider::Pkcs11 => {
                let known = self.pin()?;
                if known
                    .is_some_and(|pin| !::keys::digest::same(pin.expose_secret().as_bytes(), secret.expose_secret().as_bytes()))
                {
                    return Err(KeysError::WrongPin);
                }
                self.token(secret.clone())
            }
            // Nothing that comes over the network opens what somebody sealed: the provider does, when the vault starts.
            other @ (Provider::Shares | Provider::Kms | Provider::Transit) => Err(KeysError::OtherCustody(other)),
        }
    }

    /// Whoever holds the root key, where nobody has to say anything: KMS, transit, a token with its configured PIN. None when somebody has to.
    pub fn holder_by_itself(&self) -> Result<Option<Arc<dyn Custody>>, KeysError> {
        match self.root_file()?.provider() {
            Provider::Pkcs11 => self.pin()?.map(|pin| self.token(pin)).transpose(),
            remote @ (Provider::Kms | Provider::Transit) => self.0.config.custody.remote(remote).map(Some),
            Provider::Passphrase | Provider::Shares => Ok(None),
        }
    }

    fn token(&self, pin: SecretString) -> Result<Arc<dyn Custody>, KeysError> {
        let settings = self.0.config.custody.pkcs11.clone();
        let settings = settings.ok_or(KeysError::Token("[custody] of config.toml names no module and token"))?;
        Ok(Arc::new(Pkcs11::new(settings, pin)))
    }

    fn pin(&self) -> Result<Option<SecretString>, KeysError> {
        let Some(path) = &self.0.config.custody.pin else { return Ok(None) };
        let text = root::read_owned(path, 4096).map_err(|error| match error {
            KeysError::TooOpen(_) => error,
            _ => KeysError::Token("the file of its PIN cannot be read"),
        })?;
        match text.expose_secret().lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(line.to_owned().into())),
            _ => Err(KeysError::Token("the file of its PIN is empty")),
        }
    }

    /// Opens the vault when it can do so by itself: its root key is with KMS or transit, or a token's whose PIN is in the configured file.
    pub async fn unseal_by_itself(&self) -> Result<bool, UnsealError> {
        let Some(holder) = self.holder_by_itself().map_err(OpenError::from)? else { return Ok(false) };
        // No peer's wrong tries stand in the way of this.
        let mut tries = self.0.turn.lock().await;
        if self.is_sealed() {
            self.unseal_in_turn(&mut tries, holder).await?;
        }
        Ok(true)
    }

    /// Takes one share. The one that completes them opens the vault.
    pub async fn unseal_share(&self, text: &SecretString) -> Result<Progress, UnsealError> {
        let shares = {
            let mut tries = self.0.turn.lock().await;
            if !self.is_sealed() {
                return Ok(Progress::Open);
            }
            let file = self.root_file().map_err(OpenError::from)?;
            let share = file.share(text).map_err(OpenError::from)?;
            let Some((needed, _)) = file.shares() else { return Ok(Progress::Open) };
            let (now, given) = (self.0.clock.now(), &mut tries.given);
            if given.until.is_some_and(|until| until < now) {
                *given = Given::default();
            }
            // New shares may have been dealt since these were given.
            given.shares.retain(|other| other.deal() == share.deal());
            if given.shares.iter().any(|other| other.number() == share.number()) {
                return Err(OpenError::from(KeysError::Share(ShareFault::Repeated)).into());
            }
            given.shares.push(share);
            given.until = now.checked_add(jiff::SignedDuration::from_secs(PATIENCE)).ok();
            if given.shares.len() < usize::from(needed) {
                return Ok(Progress::Waiting(given.shares.len() as u8, needed));
            }
            let given = std::mem::take(given);
            Shares::combine(&file, &given.shares).map_err(OpenError::from)?
        };
        self.unseal_with(Arc::new(shares)).await?;
        Ok(Progress::Open)
    }

    /// Gives the root key into other hands, or the same under a new credential: `new` is who opens the vault from then on, and whatever
    /// opened it before does not. `old` shows that whoever asks could open it. The vault is open and stays so.
    ///
    /// # Errors
    /// What `old` or `new` say; then the old way in is the only one, as before.
    pub async fn change_root(&self, old: Arc<dyn Custody>, new: Arc<dyn Custody>) -> Result<Retired, Refused> {
        let opened = self.opened()?;
        self.change(&opened, old, new, None).await
    }

    async fn change(
        &self,
        opened: &Opened,
        old: Arc<dyn Custody>,
        new: Arc<dyn Custody>,
        entry: Option<Entry>,
    ) -> Result<Retired, Refused> {
        // One change, sealing or unsealing at a time.
        let mut tries = self.0.turn.lock().await;
        self.may_try(&tries)?;
        let (path, vault) = (self.0.config.root(), *self.0.id.bytes());
        let staged = tokio::task::spawn_blocking({
            let (path, old, new) = (path.clone(), old.clone(), new.clone());
            move || {
                let file = root::look(&path)?;
                root::open(&path, old.as_ref())?;
                Ok::<_, KeysError>((file, root::stage(&path, new.as_ref(), vault)?))
            }
        });
        let staged = staged.await.map_err(|_| Refused::from(Code::Internal))?;
        let (file, key) = staged.inspect_err(|error| self.count_wrong(&mut tries, error))?;
        tries.forgive();
        if let Some(entry) = entry {
            let ticket = opened.core.trail.append(&[entry])?;
            let _receipt = opened.core.trail.durable(ticket).await?;
        }
        let (reply, answer) = oneshot::channel();
        opened.committer.run(Box::new(move |core: &Core| {
            let _ = reply.send(core.hierarchy.rotate_root(key, || root::install(&path)));
        }))?;
        answer.await.map_err(|_| Refused::from(Code::Sealed))??;
        let (reply, answer) = oneshot::channel();
        opened.committer.run(Box::new(move |core: &Core| drop(reply.send(root_rotated(core)))))?;
        answer.await.map_err(|_| Refused::from(Code::Sealed))??;
        let retired = tokio::task::spawn_blocking(move || old.retire(&file)).await;
        Ok(match retired {
            Ok(Ok(retired)) => retired,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the old key stays where it was; it opens nothing any more");
                Retired::Kept
            }
            Err(_) => Retired::Kept,
        })
    }

    /// operateKeys `rotate-root`: a fresh root key with the same provider. A passphrase has to be given, since the vault keeps none.
    pub(super) async fn rotate_root(
        &self,
        call: &Call,
        opened: &Opened,
        entry: Entry,
        (passphrase, new): (Option<Passphrase>, Option<Passphrase>),
    ) -> Result<Answer, Refused> {
        let decision = entry.decision;
        let refuse = |refused: Refused| Refused {
            reason: refused.reason,
            retry_after: refused.retry_after,
            ..opened.core.refuse(call, Operation::OperateKeys, refused.code, None)
        };
        let parts = {
            // A wrong PIN is found out here, a wrong passphrase by the change.
            let mut tries = self.0.turn.lock().await;
            self.may_try(&tries).map_err(refuse)?;
            self.parties(passphrase, new, &mut tries).map_err(refuse)?
        };
        let provider = parts.1.provider();
        let retired = self.change(opened, parts.0, parts.1, Some(entry)).await.map_err(refuse)?.word();
        let body = format!("{{\"operation\":\"rotate-root\",\"provider\":\"{provider}\",\"old_key\":\"{retired}\"}}");
        Ok(Answer { decision: Some(decision), body: Some(body.into_bytes()), ..Answer::default() })
    }

    fn parties(
        &self,
        passphrase: Option<Passphrase>,
        new: Option<Passphrase>,
        tries: &mut WrongTries,
    ) -> Result<Parties, Refused> {
        let provider = self.root_file()?.provider();
        match (provider, passphrase, new) {
            (Provider::Passphrase, Some(old), new) => {
                let new = new.map_or_else(|| old.0.clone(), |new| new.0);
                if new.expose_secret().chars().count() < SHORTEST_PASSPHRASE {
                    return Err(Refused::at(Code::InvalidBody, "/new_passphrase"));
                }
                Ok((Arc::new(old.0), Arc::new(new)))
            }
            (Provider::Passphrase, None, _) => Err(Refused::at(Code::InvalidBody, "/passphrase")),
            (Provider::Pkcs11, None, None) => {
                let holder = self.holder_by_itself()?.ok_or(KeysError::Token("no file with its PIN is configured"))?;
                Ok((holder.clone(), holder))
            }
            (Provider::Pkcs11, Some(pin), None) => {
                let holder = self.holder(&pin.0).inspect_err(|error| self.count_wrong(tries, error))?;
                Ok((holder.clone(), holder))
            }
            (Provider::Kms | Provider::Transit, None, None) => {
                let holder = self.0.config.custody.remote(provider)?;
                Ok((holder.clone(), holder))
            }
            (Provider::Kms | Provider::Transit, Some(_), None) => Err(Refused::at(Code::InvalidBody, "/passphrase")),
            (Provider::Pkcs11 | Provider::Kms | Provider::Transit, _, Some(_)) => {
                Err(Refused::at(Code::InvalidBody, "/new_passphrase"))
            }
            // New shares have to be in their holders' hands before the old ones die: that is for the command line of a stopped vault.
            (Provider::Shares, ..) => Err(KeysError::OtherCustody(Provider::Shares).into()),
        }
    }
}

/// The line in the trail, and the age of the root key.
fn root_rotated(core: &Core) -> Result<(), Refused> {
    let mut done = core.event("rotateRoot", Outcome::Done, Note::None)?;
    let mut draft = Draft::new(core);
    let noted = ages::turned_over(core, Aged::Root, core.clock.now(), &mut draft, &mut done)?;
    settle(core, &mut draft, vec![done])?;
    noted.kept(core);
    Ok(())
}
