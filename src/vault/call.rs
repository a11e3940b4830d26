//! What every operation takes beside its body, and what it answers.

use std::sync::Arc;

use bytes::Bytes;

use keys::KeysError;

use crate::audit::TrailError;
use crate::model::caller::{Caller, Grounds};
use crate::model::code::Code;
use crate::model::ids::{DecisionId, SubjectId};
use crate::model::wire::{AuthorityView, Whom};
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
    /// `Sec-GPC: 1` came with it: the person's browser objects to being sold, shared or profiled for advertising.
    pub gpc: bool,
    /// `Vault-Contract`, `Vault-Rule` and `Vault-Case`.
    pub grounds: Grounds,
}

impl Call {
    /// The subject that a path or body names. `me` is nobody to a caller whose token is no person's own.
    pub fn subject(&self, whom: Whom) -> Result<SubjectId, Refused> {
        match whom {
            Whom::Subject(id) => Ok(id),
            Whom::Me => self.caller.subject.ok_or(Code::NotFound.into()),
        }
    }
}

/// A repeatable call.
pub struct Idempotency {
    /// The caller's key: 1 to 255 visible ASCII characters.
    pub key: String,
    /// Method, path and body, so that the same key with another body is noticed.
    pub request: Bytes,
}

/// A call that was carried out.
#[derive(Default, Clone)]
pub struct Answer {
    /// The id of its entry in the trail.
    pub decision: Option<DecisionId>,
    /// Whether something new was made (201) rather than answered (200) or done (204).
    pub made: bool,
    /// The version of what was answered, opaque.
    pub etag: Option<String>,
    /// JSON, JSON-LD (it begins with its context) or HTML; `None` where there is nothing to say (204).
    pub body: Option<Vec<u8>>,
    /// What follows the body, a piece at a time, for answers that are too long to be held. They are kept for no repetition.
    pub rest: Option<Pieces>,
    /// What the body is, where it is neither JSON, JSON-LD nor HTML.
    pub media: Option<&'static str>,
    /// The path of what was made; where nothing was, of what the call led to instead (202).
    pub location: Option<String>,
}

/// Makes the next piece of a long answer; none is the end. It runs while the answer is sent, at the pace of the peer.
pub type NextPiece = Box<dyn FnMut() -> Option<Result<Bytes, Refused>> + Send>;

/// A long answer in pieces. Whoever takes it first has it; the copies of an answer share it.
#[derive(Clone)]
pub struct Pieces {
    next: Arc<parking_lot::Mutex<Option<NextPiece>>>,
    length: Option<u64>,
}

impl Pieces {
    /// Pieces, made one by one.
    pub fn new(next: NextPiece) -> Self {
        Self { next: Arc::new(parking_lot::Mutex::new(Some(next))), length: None }
    }

    /// The same, of so many bytes together with the body before them: who gets fewer knows that the answer broke off.
    pub fn of_length(next: NextPiece, length: u64) -> Self {
        Self { length: Some(length), ..Self::new(next) }
    }

    /// The bytes of the whole answer, where they are known.
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// What makes them; none where somebody took it before.
    pub fn take(&self) -> Option<NextPiece> {
        self.next.lock().take()
    }
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
    pub purpose: Option<Box<str>>,
    /// Where in the body, as a JSON pointer (RFC 6901) of names.
    pub pointer: Option<String>,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
    /// What is wrong with a policy, in words and in the names that its author gave.
    pub reason: Option<Box<str>>,
    /// Where the person that it is about can complain.
    pub authority: Option<Box<AuthorityView>>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, decision: None, guard: None, purpose: None, pointer: None, retry_after: None, reason: None, authority: None }
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
        match error {
            TrailError::Full => Code::DiskFull.into(),
            _ => Code::AuditUnavailable.into(),
        }
    }
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Destroyed => Code::KeyDestroyed.into(),
            KeysError::WrongPassphrase => Code::WrongPassphrase.into(),
            KeysError::WrongPin => Self { reason: Some("the token refuses the PIN".into()), ..Code::WrongPassphrase.into() },
            KeysError::Share(fault) => Self { reason: Some(fault.word().into()), ..Code::ShareRefused.into() },
            KeysError::OtherCustody(provider) => Self { reason: Some(provider.word().into()), ..Code::OtherCustody.into() },
            KeysError::Holder(..) => Self { reason: Some(error.to_string().into()), ..Code::CustodyUnavailable.into() },
            KeysError::Away { place, why } => super::places::away(&place, &why),
            KeysError::Token(step) => Self { reason: Some(step.into()), ..Code::CustodyUnavailable.into() },
            other => {
                tracing::error!(error = %other, "a key or a row did not open");
                Code::Internal.into()
            }
        }
    }
}
