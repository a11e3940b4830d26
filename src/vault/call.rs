//! What every operation takes beside its body, and what it answers.

use std::sync::Arc;

use bytes::Bytes;

use keys::KeysError;

use crate::audit::TrailError;
use crate::model::caller::Caller;
use crate::model::code::Code;
use crate::model::ids::DecisionId;
use crate::store::StoreError;

/// The circumstances of one call.
pub struct Call {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// `Vault-Purpose`.
    pub purpose: Option<String>,
    /// `Idempotency-Key` and the body that came with it.
    pub idempotency: Option<Idempotency>,
    /// `If-Match`, as it came.
    pub if_match: Option<String>,
}

/// A repeatable call.
pub struct Idempotency {
    /// The caller's key: 1 to 255 visible ASCII characters.
    pub key: String,
    /// Method, path and body, so that the same key with another body is noticed.
    pub request: Bytes,
}

/// A call that was carried out.
#[derive(Default)]
pub struct Answer {
    /// The id of its entry in the trail.
    pub decision: Option<DecisionId>,
    /// Whether something new was made (201) rather than answered (200) or done (204).
    pub made: bool,
    /// The version of what was answered, opaque.
    pub etag: Option<String>,
    /// JSON; `None` where there is nothing to say (204).
    pub body: Option<Vec<u8>>,
    /// The path of what was made.
    pub location: Option<String>,
}

/// A call that was refused or failed. It holds names and ids, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: Code,
    /// The id of its entry in the trail, where there is one.
    pub decision: Option<DecisionId>,
    /// The guard that refused.
    pub guard: Option<&'static str>,
    /// The purpose that was asked for.
    pub purpose: Option<String>,
    /// Where in the body, as a JSON pointer (RFC 6901) of names.
    pub pointer: Option<String>,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, decision: None, guard: None, purpose: None, pointer: None, retry_after: None }
    }
}

impl Refused {
    /// The same, pointing into the body.
    pub fn at(code: Code, pointer: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..code.into() }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store refused");
        match error {
            StoreError::Full => Code::DiskFull.into(),
            StoreError::TooLarge => Code::TooLarge.into(),
            _ => Code::StoreUnavailable.into(),
        }
    }
}

impl From<TrailError> for Refused {
    fn from(error: TrailError) -> Self {
        tracing::error!(error = %error, "the trail cannot be written");
        Code::AuditUnavailable.into()
    }
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Destroyed => Code::KeyDestroyed.into(),
            KeysError::WrongPassphrase => Code::WrongPassphrase.into(),
            other => {
                tracing::error!(error = %other, "a key or a row did not open");
                Code::Internal.into()
            }
        }
    }
}
