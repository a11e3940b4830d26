//! `/v1/keys`

use keys::KeysError;

use super::{Asked, Outcome};
use crate::model::code::Code;
use crate::model::wire::OperateKeys;
use crate::server::body::{self, Media};
use crate::vault::call::{Answer, Refused};
use crate::vault::{OpenError, Progress, UnsealError, Vault};

/// operateKeys
pub(crate) async fn operate(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.operate_keys(&asked.call, body).await
}

/// operateKeys `unseal` while the vault is sealed: it cannot know any caller then, so the passphrase, or the
/// share, is the credential.
/// Every other operation is refused as sealed.
pub(crate) async fn unseal(vault: &Vault, media: Media, bytes: &[u8]) -> Outcome {
    let OperateKeys::Unseal { passphrase, share } = (match media {
        Media::Json => body::parse(bytes)?,
        _ => return Err(Code::UnsupportedMediaType.into()),
    }) else {
        return Err(Code::Sealed.into());
    };
    let progress = match (passphrase, share) {
        (Some(passphrase), None) => vault.unseal(&passphrase.0).await.map(|()| Progress::Open),
        (None, Some(share)) => vault.unseal_share(&share.0).await,
        _ => return Err(Refused::at(Code::InvalidBody, "/passphrase")),
    };
    match progress {
        Ok(Progress::Open) => Ok(Answer::default()),
        Ok(Progress::Waiting(given, needed)) => {
            let body = format!("{{\"operation\":\"unseal\",\"state\":\"sealed\",\"given\":{given},\"needed\":{needed}}}");
            Ok(Answer { body: Some(body.into_bytes()), ..Answer::default() })
        }
        Err(UnsealError::Open(OpenError::Keys(
            error @ (KeysError::Share(_)
            | KeysError::OtherCustody(_)
            | KeysError::Token(_)
            | KeysError::Holder(..)
            | KeysError::Away { .. }),
        ))) => {
            tracing::warn!(%error, "the vault did not unseal");
            Err(error.into())
        }
        Err(UnsealError::WrongPassphrase | UnsealError::WrongPin) => Err(Code::WrongPassphrase.into()),
        Err(UnsealError::TooSoon(seconds)) => Err(Refused { retry_after: Some(seconds), ..Code::RateLimited.into() }),
        Err(error @ UnsealError::Open(_)) => {
            tracing::error!(%error, "the vault did not unseal");
            Err(Code::StoreUnavailable.into())
        }
    }
}

/// listKeys
pub(crate) async fn list(mut asked: Asked) -> Outcome {
    let page = asked.query.page()?;
    asked.vault.keys(&asked.call, page).await
}
