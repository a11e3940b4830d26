//! The root key under a key that a PKCS#11 token holds and never gives out: an HSM, a smart card, SoftHSM.
//!
//! ```text
//!   0  8  "PVROOTP1"    8  2  version = 1    10  2  method = 1 (AES-256-GCM in the token)
//!  12 16  vault        28 16  CKA_ID of the token's key    44 12  nonce
//!  56 48  the key that W1 wraps under, encrypted by the token; associated data = bytes 0..56           104 bytes in all
//! ```
//!
//! Every such file has a key of its own in the token. It encrypts one message ever, and is destroyed in the token once another file has taken
//! the place of this one. Wrapping as data (C_Encrypt), because tokens refuse C_WrapKey with AES-GCM.

use std::path::PathBuf;

use super::{Custody, Provider, Retired, RootFile, Way};
use crate::context::Id;
use crate::error::KeysError;
use crate::secret::{Secret32, SecretString};

pub(super) const MAGIC: &[u8; 8] = b"PVROOTP1";
const VERSION: u16 = 1;
const AES_GCM: u16 = 1;
const BOUND: usize = 56;
const ENCRYPTED: usize = 32 + 16;
const DESCRIPTION: usize = BOUND + ENCRYPTED;

/// What is said of a token without the key.
pub(crate) const GONE: &str = "it holds no key for this root key: the key was deleted, or this is another token";

/// Which token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Settings {
    /// The vendor's module, such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
}

/// A token and the PIN of its user.
pub struct Pkcs11 {
    #[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only the feature speaks to tokens"))]
    settings: Pkcs11Settings,
    #[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only the feature speaks to tokens"))]
    pin: SecretString,
}

/// What the description of a file says: the key's CKA_ID, the nonce, what the token encrypted.
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only the feature reads them"))]
pub(super) struct Kept {
    id: Id,
    nonce: [u8; 12],
    encrypted: [u8; ENCRYPTED],
}

impl Pkcs11 {
    /// The token, not yet spoken to.
    pub fn new(settings: Pkcs11Settings, pin: SecretString) -> Self {
        Self { settings, pin }
    }
}

/// Reads the description of such a file.
pub(super) fn parse(bytes: &[u8]) -> Result<(Id, Way), KeysError> {
    let bytes: &[u8; DESCRIPTION] = bytes.try_into().map_err(|_| KeysError::Damaged)?;
    if bytes[8..12] != [VERSION.to_be_bytes(), AES_GCM.to_be_bytes()].concat() {
        return Err(KeysError::Damaged);
    }
    let (mut vault, mut id, mut nonce, mut encrypted) = ([0; 16], [0; 16], [0; 12], [0; ENCRYPTED]);
    vault.copy_from_slice(&bytes[12..28]);
    id.copy_from_slice(&bytes[28..44]);
    nonce.copy_from_slice(&bytes[44..BOUND]);
    encrypted.copy_from_slice(&bytes[BOUND..]);
    Ok((vault, Way::Pkcs11(Kept { id, nonce, encrypted })))
}

impl Custody for Pkcs11 {
    fn provider(&self) -> Provider {
        Provider::Pkcs11
    }

    fn lock(&self, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError> {
        #[cfg(feature = "pkcs11")]
        return token::lock(self, vault);
        #[cfg(not(feature = "pkcs11"))]
        return Err(without(vault));
    }

    fn unlock(&self, file: &RootFile) -> Result<Secret32, KeysError> {
        let Way::Pkcs11(kept) = &file.way else { return Err(KeysError::OtherCustody(file.provider())) };
        #[cfg(feature = "pkcs11")]
        return token::unlock(self, &file.description()[..BOUND], kept);
        #[cfg(not(feature = "pkcs11"))]
        return Err(without(kept));
    }

    fn retire(&self, file: &RootFile) -> Result<Retired, KeysError> {
        let Way::Pkcs11(kept) = &file.way else { return Err(KeysError::OtherCustody(file.provider())) };
        #[cfg(feature = "pkcs11")]
        return token::retire(self, kept).map(|()| Retired::Destroyed);
        #[cfg(not(feature = "pkcs11"))]
        return Err(without(kept));
    }
}

#[cfg(not(feature = "pkcs11"))]
fn without<T>(_nothing_to_do_with: T) -> KeysError {
    KeysError::Token("this program was built without the feature pkcs11")
}

#[cfg(feature = "pkcs11")]
pub(crate) mod token {
    use std::sync::{Mutex, PoisonError};

    use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
    use cryptoki::error::{Error, RvError};
    use cryptoki::mechanism::Mechanism;
    use cryptoki::mechanism::aead::GcmParams;
    use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
    use cryptoki::session::{Session, UserType};
    use zeroize::Zeroizing;

    use super::{AES_GCM, BOUND, DESCRIPTION, GONE, Kept, MAGIC, Pkcs11, Pkcs11Settings, VERSION};
    use crate::context::Id;
    use crate::error::KeysError;
    use crate::random;
    use crate::secret::Secret32;

    const LABEL: &[u8] = b"oubliette root key";

    /// The module that is loaded. It is never unloaded, because modules leave exit handlers behind. One conversation at a time: a
    /// second login beside an open one would not be asked for its PIN.
    static LOADED: Mutex<Option<(Pkcs11Settings, Module)>> = Mutex::new(None);

    pub(super) fn lock(token: &Pkcs11, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError> {
        let (id, key) = (random::bytes::<16>()?, Secret32::random()?);
        let mut nonce = random::bytes::<12>()?;
        let mut bytes = Vec::with_capacity(DESCRIPTION);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&AES_GCM.to_be_bytes());
        bytes.extend_from_slice(&vault);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&nonce);
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Label(LABEL.to_vec()),
            Attribute::Id(id.to_vec()),
        ];
        let encrypted = speak(token, |session| {
            let made = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(said("the token makes no AES-256 key"))?;
            let gcm = GcmParams::new(&mut nonce, &bytes, 128.into()).map_err(said("the parameters of AES-GCM"))?;
            session.encrypt(&Mechanism::AesGcm(gcm), made, key.bytes()).map_err(said("the token does not encrypt with AES-GCM"))
        })?;
        bytes.extend_from_slice(&encrypted);
        if bytes.len() != DESCRIPTION {
            return Err(KeysError::Token("the token's AES-GCM gives another length than SP 800-38D"));
        }
        Ok((bytes, key))
    }

    pub(super) fn unlock(token: &Pkcs11, bound: &[u8], kept: &Kept) -> Result<Secret32, KeysError> {
        debug_assert_eq!(bound.len(), BOUND);
        let mut nonce = kept.nonce;
        let plain = speak(token, |session| {
            let key = find(session, &kept.id)?.ok_or(KeysError::Token(GONE))?;
            let gcm = GcmParams::new(&mut nonce, bound, 128.into()).map_err(said("the parameters of AES-GCM"))?;
            let plain = session.decrypt(&Mechanism::AesGcm(gcm), key, &kept.encrypted);
            plain.map(Zeroizing::new).map_err(said("its key does not open the root key"))
        })?;
        Secret32::from_slice(&plain)
    }

    pub(super) fn retire(token: &Pkcs11, kept: &Kept) -> Result<(), KeysError> {
        speak(token, |session| match find(session, &kept.id)? {
            Some(key) => session.destroy_object(key).map_err(said("the token does not destroy the old key")),
            None => Ok(()),
        })
    }

    fn find(session: &Session, id: &Id) -> Result<Option<ObjectHandle>, KeysError> {
        let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(id.to_vec())];
        let found = session.find_objects(&wanted).map_err(said("its objects cannot be listed"))?;
        Ok(found.first().copied())
    }

    /// Loads the module, logs in, does the work, and leaves nothing logged in.
    pub(crate) fn speak<T>(token: &Pkcs11, work: impl FnOnce(&Session) -> Result<T, KeysError>) -> Result<T, KeysError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match &*loaded {
            Some((settings, module)) if settings.module == token.settings.module => module.clone(),
            _ => {
                let module = Module::new(&token.settings.module).map_err(said("the module cannot be loaded"))?;
                *loaded = Some((token.settings.clone(), module.clone()));
                module
            }
        };
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        module.initialize(arguments).map_err(said("the module does not start"))?;
        let done = converse(&module, token, work);
        // Begun anew each time, so that a token that was away is seen when it is back.
        let _ = module.finalize();
        done
    }

    fn converse<T>(module: &Module, token: &Pkcs11, work: impl FnOnce(&Session) -> Result<T, KeysError>) -> Result<T, KeysError> {
        let slots = module.get_slots_with_token().map_err(said("its slots cannot be listed"))?;
        let named = slots.into_iter().find_map(|slot| {
            let about = module.get_token_info(slot).ok()?;
            (about.label().trim_end() == token.settings.token).then_some((slot, about))
        });
        let (slot, about) = named.ok_or(KeysError::Token("no token with the configured label is present"))?;
        if about.user_pin_locked() {
            return Err(KeysError::Token("its PIN is locked: the security officer of the token has to set a new one"));
        }
        if about.user_pin_final_try() {
            return Err(KeysError::Token(
                "one try of the PIN is left, and the vault does not use it up: log in with another program first",
            ));
        }
        let session = module.open_rw_session(slot).map_err(said("no session can be opened"))?;
        session.login(UserType::User, Some(&token.pin)).map_err(|error| match error {
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => KeysError::WrongPin,
            Error::Pkcs11(RvError::PinLocked, _) => {
                KeysError::Token("its PIN is locked: the security officer of the token has to set a new one")
            }
            _ => KeysError::Token("it does not let the user log in"),
        })?;
        let done = work(&session);
        let _ = session.logout();
        done
    }

    pub(crate) fn said(step: &'static str) -> impl Fn(Error) -> KeysError {
        move |_| KeysError::Token(step)
    }
}
