//! What a subject can be found by, without its text.

use std::fmt;

use crate::context::Id;
use crate::system::IndexKeys;

/// An alias of some subject: enough to make its tag under each generation of the index keys that it can be found under.
///
/// It comes from a text ([`crate::Hierarchy::alias_of`]), or from what a subject's own sealed row keeps of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alias {
    tenant: Id,
    kind: u8,
    digest: Option<[u8; 32]>,
    first: Option<[u8; 24]>,
}

/// Nothing of what it was made from: its digest confirms a guess.
impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alias(kind {})", self.kind)
    }
}

impl Alias {
    /// The alias that was kept as these: the digest of its text, and its tag in generation 0 where it was made while that lived.
    pub const fn kept(tenant: Id, kind: u8, digest: Option<[u8; 32]>, first: Option<[u8; 24]>) -> Self {
        Self { tenant, kind, digest, first }
    }

    /// Whose subject's.
    pub const fn tenant(&self) -> &Id {
        &self.tenant
    }

    /// The kind.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// The digest of its text, to be kept in the subject's own sealed row and nowhere else.
    pub const fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    /// Its tag in generation 0, where that lives or lived.
    pub const fn first(&self) -> Option<[u8; 24]> {
        self.first
    }

    /// The tag under index keys of some generation; `None` where it cannot be there.
    pub(crate) fn tag(&self, keys: &IndexKeys) -> Option<[u8; 24]> {
        match keys.generation {
            0 => self.first,
            _ => self.digest.map(|digest| keys.tag(&self.tenant, self.kind, &digest)),
        }
    }
}
