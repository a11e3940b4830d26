//! From credentials to a [`Caller`]: bearer tokens of 256 random bits, kept as keyed digests, gone the moment they are
//! revoked; and access tokens of the one issuer that is trusted. Every token of the vault is held in memory (a digest and a pointer), so a request costs one HMAC.

pub mod jwt;
pub mod oidc;
pub mod rows;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use keys::{Hierarchy, Id};
use parking_lot::RwLock;

use crate::model::caller::{Caller, Operation, Role};
use crate::model::ids::{CallerId, SubjectId, TokenId};
use crate::store::layout::RowKey;
use crate::store::{Store, StoreError};

use rows::{CallerRow, TokenRow};

/// What a bearer token begins with, so that a leaked one is recognised by a scanner.
pub const TOKEN_PREFIX: &str = "oub_";

/// Characters of a token behind its prefix: 256 bits in Crockford's base32.
const TOKEN_LENGTH: usize = 52;

/// Why the callers could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A caller's or token's row does not open.
    #[error("a caller's or token's row is damaged")]
    Damaged,
}

/// The callers and tokens of an unsealed vault.
#[derive(Default)]
pub struct Registry {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    callers: HashMap<Id, CallerRow>,
    /// Every token that was issued and not revoked.
    tokens: HashMap<[u8; 32], TokenRow>,
    /// Those whose caller is not suspended, with what they may do now.
    live: HashMap<[u8; 32], Arc<Caller>>,
    /// Whom the issuer's tokens stand for, by `issuer|sub`; none where two callers claim the same.
    external: HashMap<String, Option<Id>>,
    /// When tokens of persons that ended are let go of next, microseconds since 1970.
    prune_at: i64,
}

/// Microseconds between two looks for tokens of persons that ended.
const PRUNE: i64 = 60_000_000;

impl Inner {
    /// Works out anew what a token may do.
    fn refresh(&mut self, digest: [u8; 32]) {
        self.live.remove(&digest);
        let Some(row) = self.tokens.get(&digest) else { return };
        let Some(owner) = self.callers.get(&row.caller).filter(|owner| !owner.rights.suspended) else { return };
        let rights = &owner.rights;
        let mut caller = Caller {
            token: TokenId::from_bytes(row.id),
            purposes: row.purposes.iter().filter(|purpose| rights.purposes.contains(purpose)).cloned().collect(),
            fields: row.fields.clone().map(|fields| fields.into_iter().collect()),
            actions: row.actions.as_ref().map(|actions| actions.iter().filter_map(|id| Operation::named(id)).collect()),
            expires_at: Timestamp::from_microsecond(row.expires_at).unwrap_or(Timestamp::UNIX_EPOCH),
            subject: row.subject.map(SubjectId::from_bytes),
            ..owner.caller(CallerId::from_bytes(row.caller))
        };
        caller.region = caller.region.or_else(|| row.region.clone());
        if caller.subject.is_some() {
            // A person's own token is the person's, whatever else its portal may do.
            if !caller.roles.contains(&Role::Subject) {
                return;
            }
            caller.roles = BTreeSet::from([Role::Subject]);
        }
        self.live.insert(digest, Arc::new(caller));
    }

    /// Works out anew whom the issuer's tokens stand for.
    fn refresh_external(&mut self) {
        self.external.clear();
        for (id, row) in &self.callers {
            if let Some(external) = &row.rights.external {
                self.external.entry(external.clone()).and_modify(|claimed| *claimed = None).or_insert(Some(*id));
            }
        }
    }

    fn revoke_where(&mut self, ends: impl Fn(&TokenRow) -> bool) {
        let Self { tokens, live, .. } = self;
        tokens.retain(|digest, row| {
            let ends = ends(row);
            if ends {
                live.remove(digest);
            }
            !ends
        });
    }

    /// Lets go of tokens that their caller outlived.
    fn forget_revoked(&mut self) {
        let callers = std::mem::take(&mut self.callers);
        self.revoke_where(|row| callers.get(&row.caller).is_some_and(|owner| row.since < owner.revoked_below));
        self.callers = callers;
    }

    fn rename(&mut self, hierarchy: &Hierarchy) {
        let named = |(digest, row): (&[u8; 32], &TokenRow)| {
            let name = hierarchy.token_digest_of_inner(row.inner.as_ref()?)?;
            (name != *digest).then_some((*digest, name))
        };
        let moves: Vec<([u8; 32], [u8; 32])> = self.tokens.iter().filter_map(named).collect();
        for (old, new) in moves {
            self.tokens.remove(&old).map(|row| self.tokens.insert(new, row));
            self.live.remove(&old).map(|caller| self.live.insert(new, caller));
        }
    }

    fn tokens_of(&self, id: &CallerId) -> Vec<[u8; 32]> {
        self.tokens.iter().filter(|(_, row)| row.caller == *id.bytes()).map(|(digest, _)| *digest).collect()
    }
}

impl Registry {
    /// Reads every caller and token.
    pub fn load(&self, store: &dyn Store, hierarchy: &Hierarchy) -> Result<(), AuthError> {
        let mut inner = Inner::default();
        each(store, b"k", |key, value| {
            let plain = hierarchy.open_row(key, value).map_err(|_| AuthError::Damaged)?;
            let row: CallerRow = minicbor::decode(plain.bytes()).map_err(|_| AuthError::Damaged)?;
            let Some(RowKey::Caller(id)) = RowKey::parse(key) else { return Err(AuthError::Damaged) };
            inner.callers.insert(*id.bytes(), row);
            Ok(())
        })?;
        each(store, b"t", |key, value| {
            let plain = hierarchy.open_row(key, value).map_err(|_| AuthError::Damaged)?;
            let row: TokenRow = minicbor::decode(plain.bytes()).map_err(|_| AuthError::Damaged)?;
            let Some(RowKey::Token(digest)) = RowKey::parse(key) else { return Err(AuthError::Damaged) };
            inner.tokens.insert(digest, row);
            Ok(())
        })?;
        inner.forget_revoked();
        inner.rename(hierarchy);
        inner.refresh_external();
        let digests: Vec<[u8; 32]> = inner.tokens.keys().copied().collect();
        digests.into_iter().for_each(|digest| inner.refresh(digest));
        *self.inner.write() = inner;
        Ok(())
    }

    /// The caller behind a bearer token, while the token lives.
    pub fn authenticate(&self, hierarchy: &Hierarchy, bearer: &str, now: Timestamp) -> Option<Arc<Caller>> {
        if !is_token(bearer) {
            return None;
        }
        // The map is keyed by an HMAC under a key that no caller knows: its timing says nothing about a secret.
        let digests = hierarchy.token_digests(bearer);
        let inner = self.inner.read();
        digests.iter().find_map(|digest| inner.live.get(digest)).filter(|caller| caller.expires_at > now).cloned()
    }

    /// Looks tokens up under the newest token key from now on, where their inner digest is known.
    pub fn rename(&self, hierarchy: &Hierarchy) {
        self.inner.write().rename(hierarchy);
    }

    /// The caller's row.
    pub fn caller(&self, id: &CallerId) -> Option<CallerRow> {
        self.inner.read().callers.get(id.bytes()).cloned()
    }

    /// The callers of a controller whose credentials work with that certificate alone.
    pub fn bound_to(&self, certificate: &str, tenant: &Id) -> BTreeSet<CallerId> {
        let inner = self.inner.read();
        let bound = |row: &CallerRow| row.tenant == *tenant && row.rights.certificate.as_deref() == Some(certificate);
        inner.callers.iter().filter(|(_, row)| bound(row)).map(|(id, _)| CallerId::from_bytes(*id)).collect()
    }

    /// The one caller that the issuer's `issuer|sub` stands for.
    pub fn external(&self, external: &str) -> Option<(CallerId, CallerRow)> {
        let inner = self.inner.read();
        let id = (*inner.external.get(external)?)?;
        Some((CallerId::from_bytes(id), inner.callers.get(&id)?.clone()))
    }

    /// Keeps a caller; its tokens may do what it may do from now on, and no more.
    pub fn put_caller(&self, id: &CallerId, row: CallerRow) {
        let mut inner = self.inner.write();
        // Two changes may come here in another order than they were committed in: the later one stays.
        if inner.callers.get(id.bytes()).is_some_and(|known| known.version >= row.version) {
            return;
        }
        inner.callers.insert(*id.bytes(), row);
        inner.forget_revoked();
        inner.refresh_external();
        inner.tokens_of(id).into_iter().for_each(|digest| inner.refresh(digest));
    }

    /// Lets a token in.
    pub fn put_token(&self, digest: [u8; 32], row: TokenRow, now: Timestamp) {
        let mut inner = self.inner.write();
        let now = now.as_microsecond();
        if now >= inner.prune_at {
            inner.prune_at = now.saturating_add(PRUNE);
            inner.revoke_where(|row| row.subject.is_some() && row.expires_at <= now);
        }
        inner.tokens.insert(digest, row);
        inner.forget_revoked();
        inner.refresh(digest);
    }

    /// Stops the own tokens of a person who is gone.
    pub fn forget_subject(&self, subject: &Id) {
        self.inner.write().revoke_where(|row| row.subject.as_ref() == Some(subject));
    }

    /// The digests of a caller's tokens.
    pub fn tokens_of(&self, id: &CallerId) -> Vec<[u8; 32]> {
        self.inner.read().tokens_of(id)
    }

    /// Lets the person behind this token be known more surely until then. A change of the caller's rights ends it.
    pub fn step_up(&self, token: &TokenId, until: Timestamp) -> bool {
        let mut inner = self.inner.write();
        let Some(caller) = inner.live.values_mut().find(|caller| caller.token == *token) else { return false };
        *caller = Arc::new(Caller { stepped_up_until: Some(until), ..Caller::clone(caller) });
        true
    }

    /// Stops tokens: the next request with one of them is refused.
    pub fn revoke(&self, digests: &[[u8; 32]]) {
        let mut inner = self.inner.write();
        for digest in digests {
            inner.tokens.remove(digest);
            inner.live.remove(digest);
        }
    }
}

/// Whether a text has the form of a bearer token of this vault.
pub fn is_token(text: &str) -> bool {
    text.strip_prefix(TOKEN_PREFIX)
        .is_some_and(|rest| rest.len() == TOKEN_LENGTH && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// The text form of 256 random bits.
pub fn token_text(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(TOKEN_PREFIX.len() + TOKEN_LENGTH);
    text.push_str(TOKEN_PREFIX);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
    }
    text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    text
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn each(store: &dyn Store, prefix: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<(), AuthError>) -> Result<(), AuthError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(prefix, after.as_deref(), 1_000)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in &page {
            take(key, value)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_text_has_the_form_of_a_token() {
        for bytes in [[0; 32], [0xff; 32], [0x5a; 32]] {
            assert!(is_token(&token_text(&bytes)), "{}", token_text(&bytes).len());
        }
        assert_ne!(token_text(&[1; 32]), token_text(&[2; 32]));
        assert!(!is_token("oub_short") && !is_token(&token_text(&[1; 32]).to_uppercase()) && !is_token(""));
    }

    #[test]
    fn an_older_change_of_a_caller_that_arrives_late_changes_nothing() {
        let registry = Registry::default();
        let id = CallerId::from_bytes([1; 16]);
        let row = |version, suspended| CallerRow {
            tenant: [2; 16],
            rights: rows::Rights {
                name: "desk".into(),
                person: false,
                roles: vec![1],
                purposes: Vec::new(),
                suspended,
                trained_at: None,
                region: None,
                source: None,
                partner: None,
                external: None,
                certificate: None,
            },
            proposal: None,
            version,
            revoked_at: None,
            revoked_below: 0,
        };
        registry.put_caller(&id, row(3, true));
        registry.put_caller(&id, row(2, false));
        assert!(registry.caller(&id).unwrap().rights.suspended);
        registry.put_caller(&id, row(4, false));
        assert!(!registry.caller(&id).unwrap().rights.suspended);
    }
}
