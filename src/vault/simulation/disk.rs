//! What a power cut leaves of the files.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rand::RngExt;
use rand::rngs::StdRng;
use tempfile::TempDir;

const PAGE: u64 = 4_096;

/// A place for a world's files: in memory where there is such a place, for thousands of worlds are made.
pub(super) fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Copies keys and trail as they are. `torn` says of each file of the trail (its inode) from where on nothing was synced: what stands there is
/// kept, lost, or kept page by page.
pub(super) fn copy(from: &Path, to: &Path, torn: &HashMap<u64, u64>, random: &mut StdRng) {
    for folder in ["keys", "data/trail"] {
        walk(&from.join(folder), &to.join(folder), torn, random);
    }
    for folder in ["keys", "data"] {
        super::super::lifecycle::private_dir(&to.join(folder)).unwrap();
    }
    fs::copy(from.join("vault.pub"), to.join("vault.pub")).unwrap();
}

fn walk(from: &Path, to: &Path, torn: &HashMap<u64, u64>, random: &mut StdRng) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), to.join(entry.file_name()));
        // A file of checkpoints may be renamed meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            walk(&path, &name, torn, random);
        } else if fs::copy(&path, &name).is_ok()
            && let Some(&from) = torn.get(&metadata.ino())
        {
            tear(&name, from, random);
        }
    }
}

fn tear(path: &Path, from: u64, random: &mut StdRng) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let end = file.metadata().unwrap().len();
    let how = random.random_range(0..4);
    let mut at = from;
    while at < end {
        let next = ((at / PAGE + 1) * PAGE).min(end);
        let lost = match how {
            0 => true,
            1 => false,
            _ => random.random_bool(0.5),
        };
        if lost {
            file.write_all_at(&vec![0; (next - at) as usize], at).unwrap();
        }
        at = next;
    }
}
