//! A PKCS#11 token that keeps one AES key for each epoch, which it never gives out and destroys when the epoch is over.
//!
//! ```text
//!   0  2  version = 1    2  16  CKA_ID of the token's key    18 12  nonce
//!  30 48  the secret, encrypted by the token with AES-256-GCM                                          78 bytes in all
//!         associated data = bytes 0..30 ‖ vault ‖ epoch, 8 bytes ‖ place
//! ```
//!
//! The key's label names the vault and the place, so what a stopped process left behind is found and destroyed with the rest. A key
//! encrypts one message ever.

use std::path::PathBuf;

use super::{About, Destroyed, Enclosure, EpochSecret};
use crate::assurance::Assurance;
use crate::error::KeysError;
use crate::root::Pkcs11Settings;
use crate::secret::Plaintext;

/// A token, and the file with the PIN of its user, which is read anew for each conversation.
pub struct TokenEnclosure {
    #[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only the feature speaks to tokens"))]
    settings: Pkcs11Settings,
    #[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only the feature speaks to tokens"))]
    pin_file: PathBuf,
}

impl TokenEnclosure {
    /// The token, not yet spoken to.
    pub fn new(settings: Pkcs11Settings, pin_file: PathBuf) -> Self {
        Self { settings, pin_file }
    }
}

impl Enclosure for TokenEnclosure {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn assurance(&self) -> Assurance {
        Assurance::Hardware
    }

    fn enclose(&self, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        #[cfg(feature = "pkcs11")]
        return speech::enclose(self, about, secret);
        #[cfg(not(feature = "pkcs11"))]
        return Err(without((about, secret)));
    }

    fn disclose(&self, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        #[cfg(feature = "pkcs11")]
        return speech::disclose(self, about, enclosed);
        #[cfg(not(feature = "pkcs11"))]
        return Err(without((about, enclosed)));
    }

    fn destroy_but(&self, about: &About<'_>, living: &[u8]) -> Result<Destroyed, KeysError> {
        #[cfg(feature = "pkcs11")]
        return speech::destroy(self, about, Some(living));
        #[cfg(not(feature = "pkcs11"))]
        return Err(without((about, living)));
    }

    fn destroy_all(&self, about: &About<'_>) -> Result<Destroyed, KeysError> {
        #[cfg(feature = "pkcs11")]
        return speech::destroy(self, about, None);
        #[cfg(not(feature = "pkcs11"))]
        return Err(without(about));
    }
}

#[cfg(not(feature = "pkcs11"))]
fn without<T>(_nothing_to_do_with: T) -> KeysError {
    KeysError::Token("this program was built without the feature pkcs11")
}

#[cfg(feature = "pkcs11")]
mod speech {
    use cryptoki::mechanism::Mechanism;
    use cryptoki::mechanism::aead::GcmParams;
    use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
    use cryptoki::session::Session;
    use zeroize::Zeroizing;

    use super::super::{About, Destroyed, EpochSecret};
    use super::TokenEnclosure;
    use crate::context::Id;
    use crate::error::KeysError;
    use crate::random;
    use crate::root::token::{said, speak};
    use crate::root::{Pkcs11, read_owned};
    use crate::secret::{ExposeSecret, Plaintext, SecretString};

    const VERSION: u16 = 1;
    const BOUND: usize = 30;
    const ENCLOSED: usize = BOUND + 32 + 16;
    const GONE: &str = "it holds no key for this epoch: the key was destroyed, or this is another token";

    /// Most bytes of a file with a PIN.
    const LONGEST_PIN: u64 = 4096;

    pub(super) fn enclose(token: &TokenEnclosure, about: &About<'_>, secret: &EpochSecret) -> Result<Vec<u8>, KeysError> {
        let (id, mut nonce) = (random::bytes::<16>()?, random::bytes::<12>()?);
        let mut bytes = Vec::with_capacity(ENCLOSED);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&nonce);
        let bound = bound(&bytes, about);
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
            Attribute::Label(label(about)),
            Attribute::Id(id.to_vec()),
        ];
        let encrypted = speak(&open(token)?, |session| {
            let made = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(said("the token makes no AES-256 key"))?;
            let gcm = GcmParams::new(&mut nonce, &bound, 128.into()).map_err(said("the parameters of AES-GCM"))?;
            let encrypted = session.encrypt(&Mechanism::AesGcm(gcm), made, secret.bytes());
            encrypted.map_err(said("the token does not encrypt with AES-GCM"))
        })?;
        bytes.extend_from_slice(&encrypted);
        if bytes.len() != ENCLOSED {
            return Err(KeysError::Token("the token's AES-GCM gives another length than SP 800-38D"));
        }
        Ok(bytes)
    }

    pub(super) fn disclose(token: &TokenEnclosure, about: &About<'_>, enclosed: &[u8]) -> Result<Plaintext, KeysError> {
        let (id, mut nonce, encrypted) = parse(enclosed)?;
        let bound = bound(&enclosed[..BOUND], about);
        let plain = speak(&open(token)?, |session| {
            let key = objects(session, about, Some(&id))?.into_iter().next().ok_or(KeysError::Token(GONE))?;
            let gcm = GcmParams::new(&mut nonce, &bound, 128.into()).map_err(said("the parameters of AES-GCM"))?;
            let plain = session.decrypt(&Mechanism::AesGcm(gcm), key, encrypted);
            plain.map(Zeroizing::new).map_err(said("its key does not open the secret of the epoch"))
        })?;
        Ok(Plaintext::new(plain))
    }

    pub(super) fn destroy(token: &TokenEnclosure, about: &About<'_>, living: Option<&[u8]>) -> Result<Destroyed, KeysError> {
        let living = living.map(parse).transpose()?.map(|(id, ..)| id);
        speak(&open(token)?, |session| {
            for object in objects(session, about, None)? {
                if living.is_some() && id_of(session, object)? == living {
                    continue;
                }
                session.destroy_object(object).map_err(said("it does not destroy the key of an epoch that is over"))?;
            }
            // A token that says yes and keeps the key would make a liar of the certificate.
            match objects(session, about, None)?.len() == usize::from(living.is_some()) {
                true => Ok(Destroyed::default()),
                false => Err(KeysError::Token("it lists the key of an epoch that is over, or not the one of the living epoch")),
            }
        })
    }

    fn open(token: &TokenEnclosure) -> Result<Pkcs11, KeysError> {
        let text = read_owned(&token.pin_file, LONGEST_PIN).map_err(|error| match error {
            KeysError::TooOpen(_) => error,
            _ => KeysError::Token("the file of its PIN cannot be read"),
        })?;
        let pin: SecretString = match text.expose_secret().lines().next() {
            Some(line) if !line.is_empty() => line.to_owned().into(),
            _ => return Err(KeysError::Token("the file of its PIN is empty")),
        };
        Ok(Pkcs11::new(token.settings.clone(), pin))
    }

    fn label(about: &About<'_>) -> Vec<u8> {
        let vault: String = about.vault.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("oubliette epoch {vault} {}", about.place).into_bytes()
    }

    fn bound(head: &[u8], about: &About<'_>) -> Vec<u8> {
        [head, &about.vault, &about.epoch.to_be_bytes(), about.place.as_bytes()].concat()
    }

    fn parse(enclosed: &[u8]) -> Result<(Id, [u8; 12], &[u8]), KeysError> {
        if enclosed.len() != ENCLOSED || enclosed[..2] != VERSION.to_be_bytes() {
            return Err(KeysError::Damaged);
        }
        let (mut id, mut nonce) = ([0; 16], [0; 12]);
        id.copy_from_slice(&enclosed[2..18]);
        nonce.copy_from_slice(&enclosed[18..BOUND]);
        Ok((id, nonce, &enclosed[BOUND..]))
    }

    fn objects(session: &Session, about: &About<'_>, id: Option<&Id>) -> Result<Vec<ObjectHandle>, KeysError> {
        let mut wanted = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label(about))];
        wanted.extend(id.map(|id| Attribute::Id(id.to_vec())));
        session.find_objects(&wanted).map_err(said("its objects cannot be listed"))
    }

    fn id_of(session: &Session, object: ObjectHandle) -> Result<Option<Id>, KeysError> {
        let found = session.get_attributes(object, &[AttributeType::Id]).map_err(said("its objects cannot be looked at"))?;
        Ok(found.into_iter().find_map(|attribute| match attribute {
            Attribute::Id(id) => id.try_into().ok(),
            _ => None,
        }))
    }
}
