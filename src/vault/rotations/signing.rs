//! A new key that signs for the trail.
//!
//! ```text
//! first step   an epoch transition makes the key that follows; it and the one that ends both sign that it does (audit/signers). The note
//!              is a row, its hash stands in the trail, and from the next checkpoint on the new key signs
//! second step  an epoch transition destroys the old key; its public half stays among the vault's own keys
//! ```
//!
//! What the old key signed goes on verifying: with the old public key as it was kept, and with the list that the vault publishes.

use keys::{Shred, SystemKey, Turn};

use crate::audit::note::VerifyingKey;
use crate::audit::signers::Succession;
use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::store::layout::RowKey;

use super::super::call::Refused;
use super::super::core::Core;
use super::super::lifecycle::origin;
use super::super::signers;
use super::Stepped;
use super::job::Job;
use super::turn::turn_over;

pub(super) fn step(core: &Core, job: &Job) -> Result<Stepped, Refused> {
    let living = core.hierarchy.generations().into_iter().filter(|one| one.key == SystemKey::Signing).collect::<Vec<_>>();
    match living.as_slice() {
        // Ended already: a process stopped in between.
        [newest] if newest.made > job.epoch() => Ok(Stepped { cursor: None, done: 0, permille: 1_000, failed: 0 }),
        [newest] => {
            begin(core, newest.number)?;
            Ok(Stepped { cursor: Some(vec![1]), done: 0, permille: 500, failed: 0 })
        }
        _ => {
            let event = core.event("signingKeyDestroyed", Outcome::Done, Note::None)?;
            let shreds = [Shred::Turn(SystemKey::Signing, Turn::End)];
            turn_over(core, |core| core.hierarchy.begin(&core.rows(), &shreds), event, |_, _, _| Ok(()))?;
            Ok(Stepped { cursor: None, done: 1, permille: 1_000, failed: 0 })
        }
    }
}

fn begin(core: &Core, ends: u32) -> Result<(), Refused> {
    let number = ends.checked_add(1).ok_or(Code::Internal)?;
    let event = core.event("signingKeyFollows", Outcome::Done, Note::None)?;
    let shreds = [Shred::Turn(SystemKey::Signing, Turn::Begin)];
    turn_over(
        core,
        |core| core.hierarchy.begin(&core.rows(), &shreds),
        event,
        |transition, draft, entry| {
            let successor = transition.successor().ok_or(Code::Internal)?;
            let name = origin(core.vault);
            let from = VerifyingKey { name: name.clone(), public: core.hierarchy.public_key() };
            let to = VerifyingKey { name, public: successor.public_key() };
            let succession = Succession { number, from, to, at: core.clock.now() };
            let text = succession.text();
            let note = succession.signed(&core.hierarchy.sign(text.as_bytes()), &successor.sign(text.as_bytes()));
            let sha256 = keys::digest::sha256(&[note.as_bytes()]);
            entry.note = Note::SigningKey { number: u64::from(number), public: successor.public_key(), sha256 };
            // Before the first checkpoint by it can be asked for.
            core.trail.trust(successor.public_key());
            draft.note(entry, RowKey::Succession(number).bytes(), true, Some(note.into_bytes()))
        },
    )?;
    core.successions.load(core.store.as_ref())?;
    signers::publish(core);
    Ok(())
}
