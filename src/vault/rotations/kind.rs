//! The kinds of rotation, and what each does: one place where they are listed.

use super::super::call::Refused;
use super::super::core::Core;
use super::Stepped;
use super::ages::Aged;
use super::job::Job;
use super::{index, signing, subjects, tenant, tree};

/// What is turned over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Every key of the key trees' places.
    Tree,
    /// The keys of one person's records.
    Subject,
    /// The keys of everybody's records.
    Subjects,
    /// The keys under which people are found.
    Index,
    /// The keys of the vault's own rows, its statistics and its tokens.
    Tenant,
    /// The key that signs for the trail.
    Signing,
}

impl Kind {
    /// Every kind, in the order of the numbers in rows, which never change: 1 and up.
    pub(crate) const ALL: [Self; 6] = [Self::Tree, Self::Subject, Self::Subjects, Self::Index, Self::Tenant, Self::Signing];

    /// The number in rows.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tree => 1,
            Self::Subject => 2,
            Self::Subjects => 3,
            Self::Index => 4,
            Self::Tenant => 5,
            Self::Signing => 6,
        }
    }

    /// The kind with this number.
    pub(crate) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The word for people and programs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Subject => "subject",
            Self::Subjects => "subjects",
            Self::Index => "index",
            Self::Tenant => "tenant",
            Self::Signing => "signing",
        }
    }

    /// What the trail calls its end.
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::Tree => "rotateTree",
            Self::Subject => "rotateSubject",
            Self::Subjects => "rotateSubjects",
            Self::Index => "rotateIndex",
            Self::Tenant => "rotateTenant",
            Self::Signing => "rotateSigning",
        }
    }

    /// Whose age begins anew when it is done.
    pub(crate) const fn ages(self) -> Option<Aged> {
        match self {
            Self::Tree => Some(Aged::Tree),
            Self::Subject => None,
            Self::Subjects => Some(Aged::Subjects),
            Self::Index => Some(Aged::Index),
            Self::Tenant => Some(Aged::Tenant),
            Self::Signing => Some(Aged::Signing),
        }
    }

    /// Whether it may end half-way: what was turned over stays so, the rest stays as it was.
    pub(crate) const fn may_cancel(self) -> bool {
        match self {
            Self::Tree | Self::Subject | Self::Subjects => true,
            // Both generations go on working, and the next rotation of the kind finishes this one.
            Self::Index | Self::Tenant | Self::Signing => true,
        }
    }
}

/// What has to be there before the first step.
pub(super) fn begin(_core: &Core, job: &Job) -> Result<(), Refused> {
    match job.kind() {
        Kind::Tree | Kind::Subject | Kind::Subjects => Ok(()),
        // Their first step sees by the generations whether they have begun.
        Kind::Index | Kind::Tenant | Kind::Signing => Ok(()),
    }
}

/// The next piece.
pub(super) fn step(core: &Core, job: &Job, cursor: Option<&[u8]>, budget: usize) -> Result<Stepped, Refused> {
    match job.kind() {
        Kind::Tree => tree::step(core, job, cursor, budget),
        Kind::Subject | Kind::Subjects => subjects::step(core, job, cursor, budget),
        Kind::Index => index::step(core, job, cursor, budget),
        Kind::Tenant => tenant::step(core, job, cursor, budget),
        Kind::Signing => signing::step(core, job),
    }
}

/// What destroys the last of the old.
pub(super) fn end(_core: &Core, job: &Job) -> Result<(), Refused> {
    match job.kind() {
        // Each of their steps destroyed what it replaced.
        Kind::Tree | Kind::Subject | Kind::Subjects => Ok(()),
        // So did their last one.
        Kind::Index | Kind::Tenant | Kind::Signing => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_number_a_word_and_an_event_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::numbered(kind.number()), Some(kind));
        }
        assert_eq!(Kind::ALL.map(Kind::word).into_iter().collect::<HashSet<_>>().len(), Kind::ALL.len());
        assert_eq!(Kind::ALL.map(Kind::event).into_iter().collect::<HashSet<_>>().len(), Kind::ALL.len());
        assert_eq!(Kind::numbered(0), None);
    }
}
