//! New keys for every place of the key trees: for when somebody may have seen keys of nodes or buckets.
//!
//! Each step gives new keys to some leaves and to everything above them, in one epoch transition. A place is done when its key is younger than
//! the rotation, so what an erasure re-keyed meanwhile is not done again. The keys *in* the leaves stay: a subject's are turned over by
//! [`super::subjects`]. Nobody's rows are touched, so reading never waits.

use keys::{Leaf, Shred};

use crate::audit::{Note, Outcome};
use crate::model::code::Code;

use super::super::call::Refused;
use super::super::core::Core;
use super::Stepped;
use super::job::Job;
use super::turn::turn_over;

/// Leaves that are looked at for one row of the budget: most of them are empty.
const LEAVES: usize = 2;

pub(super) fn step(core: &Core, job: &Job, cursor: Option<&[u8]>, budget: usize) -> Result<Stepped, Refused> {
    let after = cursor.map(|cursor| Leaf::parse(cursor).ok_or(Code::Internal)).transpose()?;
    let walked = core.hierarchy.walk(&core.rows(), job.epoch(), after, budget * LEAVES)?;
    if !walked.stale.is_empty() {
        let shreds: Vec<Shred> = walked.stale.iter().copied().map(Shred::Leaf).collect();
        let event = core.event("rotationStep", Outcome::Done, Note::None)?;
        turn_over(core, |core| core.hierarchy.begin(&core.rows(), &shreds), event, |_, _, _| Ok(()))?;
    }
    Ok(Stepped {
        cursor: walked.next.map(|leaf| leaf.bytes().to_vec()),
        done: walked.stale.len() as u64,
        permille: walked.next.map_or(1_000, |leaf| leaf.permille()),
        failed: 0,
    })
}
