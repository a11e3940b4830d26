//! The keys that signed for the trail: what the vault publishes of them, and where.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use parking_lot::RwLock;

use crate::audit::PublicKeys;
use crate::audit::note::VerifyingKey;
use crate::audit::signers;
use crate::store::layout::prefix;
use crate::store::{Store, StoreError};

use super::core::Core;
use super::lifecycle::origin;

/// Successions that are read at the most.
const MOST: usize = 1_000;

/// The successions of the signing keys, oldest first, as one text; empty where the first key still signs.
#[derive(Default)]
pub(crate) struct Successions(RwLock<String>);

impl Successions {
    /// Reads them from the store.
    pub(crate) fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        *self.0.write() = read(store)?;
        Ok(())
    }

    /// The text as it goes beside a proof, where there is more than one key.
    pub(crate) fn shown(&self) -> Option<String> {
        Some(self.text()).filter(|text| !text.is_empty())
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        self.0.read().clone()
    }
}

/// The successions that a store holds.
pub(crate) fn read(store: &dyn Store) -> Result<String, StoreError> {
    let rows = store.scan(prefix::SUCCESSIONS, None, MOST)?;
    Ok(rows.iter().map(|(_, note)| String::from_utf8_lossy(note)).collect())
}

/// Every key that signed or signs, the newest first.
pub(crate) fn public_keys(hierarchy: &keys::Hierarchy) -> PublicKeys {
    let former = hierarchy.former_public_keys();
    PublicKeys::with(hierarchy.public_key(), former.into_iter().rev().map(|(_, key)| key))
}

/// The newest key under the trail's name.
pub(crate) fn newest(core: &Core) -> VerifyingKey {
    VerifyingKey { name: origin(core.vault), public: core.hierarchy.public_key() }
}

/// Makes the files that others verify with say what is so: `vault.pub`, the newest key, and `vault.keys`, the published list; and the same
/// in the backup target. A folder that cannot be written is said in the log: nothing depends on these files.
pub(crate) fn publish(core: &Core) {
    let key = newest(core);
    let successions = core.successions.text();
    for (name, text) in [("vault.pub", format!("{key}\n")), ("vault.keys", signers::list(&key, &successions))] {
        if let Err(error) = put(&core.home, name, &text) {
            tracing::warn!(%error, name, "a file of public keys could not be written");
        }
    }
    if let Some(backups) = &core.backups {
        backups.publish(public_keys(&core.hierarchy), &key, &successions);
    }
}

/// Writes a file whole and durably, unless it says that already.
pub(crate) fn put(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let (path, beside) = (folder.join(name), folder.join(format!("{name}.new")));
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(folder)?.sync_all()
}
