//! Callers and tokens as they are kept: minicbor maps, sealed under the vault's row key.

use std::collections::BTreeSet;

use jiff::Span;
use jiff::civil::Date;
use minicbor::{Decode, Encode};

use crate::model::caller::{Caller, CallerKind, Role};
use crate::model::ids::{CallerId, TenantId};
use crate::model::wire::CallerState;

/// A caller. Sealed under the vault's row key.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub struct CallerRow {
    /// Whose it is.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    /// What it may do now.
    #[n(1)]
    pub rights: Rights,
    /// What it is to be able to do, once a second person agrees.
    #[n(2)]
    pub proposal: Option<Proposal>,
    /// Counts its changes, from 1.
    #[n(3)]
    pub version: u64,
    /// Access tokens of the trusted issuer count only when they were issued later than this: microseconds since 1970.
    #[n(4)]
    pub revoked_at: Option<i64>,
    /// Tokens that were issued when it had a smaller version are worth nothing, whatever row there still is of them.
    #[cbor(n(5), default)]
    pub revoked_below: u64,
}

impl CallerRow {
    /// Who it is and what it may do at the most, with credentials that ended long ago.
    pub fn caller(&self, id: CallerId) -> Caller {
        let rights = &self.rights;
        Caller {
            name: rights.name.clone(),
            kind: rights.kind(),
            roles: rights.roles(),
            purposes: rights.purposes.iter().cloned().collect(),
            region: rights.region.clone(),
            source: rights.source.clone(),
            partner: rights.partner.clone(),
            certificate: rights.certificate.clone(),
            trained_until: rights.trained_until(),
            ..Caller::nobody(id, TenantId::from_bytes(self.tenant))
        }
    }
}

/// Rights that one security officer proposed and no other has confirmed.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub struct Proposal {
    /// Who proposed it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub by: [u8; 16],
    /// What.
    #[n(1)]
    pub rights: Rights,
}

/// What a caller is and may do.
#[derive(Encode, Decode, Clone, PartialEq, Eq)]
#[cbor(map)]
pub struct Rights {
    /// Display name.
    #[n(0)]
    pub name: String,
    /// A person rather than a service.
    #[n(1)]
    pub person: bool,
    /// Numbers of its roles, in order.
    #[n(2)]
    pub roles: Vec<u8>,
    /// Purposes that it may name, in order.
    #[n(3)]
    pub purposes: Vec<String>,
    /// Its tokens do not work.
    #[n(4)]
    pub suspended: bool,
    /// When a person was last trained.
    #[n(5)]
    pub trained_at: Option<String>,
    /// Where it works.
    #[n(6)]
    pub region: Option<String>,
    /// The source system that it collects for.
    #[n(7)]
    pub source: Option<String>,
    /// The registered partner that it works for.
    #[n(8)]
    pub partner: Option<String>,
    /// Whose access tokens of the trusted issuer stand for it: `issuer|sub`.
    #[n(9)]
    pub external: Option<String>,
    /// The client certificate that it must come with: `x5t#S256`.
    #[n(10)]
    pub certificate: Option<String>,
}

/// A token: its keyed digest is its row key, its secret is nowhere. Sealed under the vault's row key. A person's own token
/// has no row: it is held in memory alone, and ends with the process.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
pub struct TokenRow {
    /// The token's id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// Whose token.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub caller: [u8; 16],
    /// Purposes that it may name.
    #[n(2)]
    pub purposes: Vec<String>,
    /// Field names that it is narrowed to.
    #[n(3)]
    pub fields: Option<Vec<String>>,
    /// Microseconds since 1970.
    #[n(4)]
    pub expires_at: i64,
    /// The person whose own token it is; never stored.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub subject: Option<[u8; 16]>,
    /// Ids of the operations that it is narrowed to.
    #[n(6)]
    pub actions: Option<Vec<String>>,
    /// Where its bearer works, if the caller does not say.
    #[n(7)]
    pub region: Option<String>,
    /// The inner digest of its secret, by which its row can be named anew. An earlier version did not keep it.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub inner: Option<[u8; 32]>,
    /// The version of its caller when it was issued.
    #[cbor(n(9), default)]
    pub since: u64,
}

/// Years that a training counts.
const TRAINING: i32 = 1;

const ROLES: [Role; 10] = [
    Role::Writer,
    Role::Reader,
    Role::Partner,
    Role::Subject,
    Role::PrivacyOfficer,
    Role::KeyAdmin,
    Role::PolicyAuthor,
    Role::SecurityOfficer,
    Role::Auditor,
    Role::Scheduler,
];

impl Rights {
    /// Whether `wanted` gives a role, a purpose or back its activity to who has less.
    pub fn is_widened_by(&self, wanted: &Self) -> bool {
        wanted.roles.iter().any(|role| !self.roles.contains(role))
            || wanted.purposes.iter().any(|purpose| !self.purposes.contains(purpose))
            || (self.suspended && !wanted.suspended)
            || (self.person != wanted.person)
            || (self.region != wanted.region)
            || (self.source != wanted.source)
            || (self.partner != wanted.partner)
            || (wanted.external.is_some() && self.external != wanted.external)
            || (self.certificate.is_some() && self.certificate != wanted.certificate)
    }

    /// The last day that the person's training counts: a year after it.
    pub fn trained_until(&self) -> Option<Date> {
        let trained: Date = self.trained_at.as_deref()?.parse().ok()?;
        trained.checked_add(Span::new().years(TRAINING)).ok()
    }

    /// Its roles.
    pub fn roles(&self) -> BTreeSet<Role> {
        self.roles.iter().filter_map(|&n| ROLES.get(usize::from(n)).copied()).collect()
    }

    /// The numbers that keep these roles, in order.
    pub fn role_numbers(roles: &[Role]) -> Vec<u8> {
        let mut numbers: Vec<u8> = roles.iter().map(place).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Person or service.
    pub fn kind(&self) -> CallerKind {
        if self.person { CallerKind::Person } else { CallerKind::Service }
    }

    /// Whether its tokens work.
    pub fn state(&self) -> CallerState {
        if self.suspended { CallerState::Suspended } else { CallerState::Active }
    }
}

fn place(role: &Role) -> u8 {
    ROLES.iter().position(|known| known == role).unwrap_or(0) as u8
}
