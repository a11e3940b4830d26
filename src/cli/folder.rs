//! The vault's folder on a command line: `DIR` or `--dir DIR`, whichever comes to mind.

use std::path::{Path, PathBuf};

use clap::Args;

/// A vault's folder, named once in either way.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Folder {
    /// Folder of the vault
    #[arg(value_name = "DIR")]
    place: Option<PathBuf>,
    /// The same, as the other commands have it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Folder {
    /// The folder. One of the two is there: the parser asks for it.
    pub(super) fn path(&self) -> &Path {
        self.place.as_deref().or(self.dir.as_deref()).unwrap_or(Path::new("."))
    }
}
