//! Reading a target: which backup, and every row and entry of it in order.

use std::path::Path;

use keys::Id;

use crate::audit::{Entry, Trusted, codec};

use super::frame::{FrameReader, Kind, decode_entries};
use super::manifest::{self, FileOf, Manifest};
use super::ship::{log_name, numbered, trail_name};
use super::{BackupError, Progress, Step};

/// A backup that is being read.
pub(crate) struct Source<'a> {
    target: &'a Path,
    vault: Id,
    pub(crate) manifest: Manifest,
}

/// How far the log could be played.
pub(crate) struct Played {
    /// The number of the last batch.
    pub(crate) last: u64,
    /// What stood in the way of more, where something did.
    pub(crate) ended: Option<BackupError>,
}

impl<'a> Source<'a> {
    /// The backup of this number, or the newest.
    pub(crate) fn open(target: &'a Path, trusted: &impl Trusted, number: Option<u64>) -> Result<Self, BackupError> {
        let mut trouble = None;
        let mut good = Vec::new();
        for kept in manifest::list(target, trusted)? {
            match kept {
                Ok(manifest) => good.push(manifest),
                Err(error) => trouble = Some(error),
            }
        }
        let chosen = match number {
            Some(number) => good.into_iter().find(|manifest| manifest.number == number).ok_or(BackupError::NoSuch(number)),
            None => good.pop().ok_or(BackupError::None),
        };
        // A manifest that is damaged is a better answer than that there is none.
        let manifest = chosen.map_err(|error| trouble.unwrap_or(error))?;
        Ok(Self { target, vault: *manifest.vault.bytes(), manifest })
    }

    /// Reads every file of the backup up to where it ends for this backup.
    pub(crate) fn check(&self, progress: &Progress) -> Result<(), BackupError> {
        progress.begin(Step::Files, self.manifest.files.iter().map(|file| file.bytes).sum());
        self.manifest.files.iter().try_for_each(|file| {
            file.check(self.target, &self.vault)?;
            progress.add(file.bytes);
            Ok(())
        })
    }

    /// Bytes of the base and of every file of the log behind it.
    pub(crate) fn row_bytes(&self) -> Result<u64, BackupError> {
        Ok(self.manifest.base_bytes + self.lengths("log", "log-", self.manifest.base)?)
    }

    /// Bytes of the trail's copy.
    pub(crate) fn trail_bytes(&self) -> Result<u64, BackupError> {
        self.lengths("trail", "trail-", 0)
    }

    fn lengths(&self, folder: &str, prefix: &str, from: u64) -> Result<u64, BackupError> {
        let path = self.target.join(folder);
        let firsts = numbered(&path, prefix)?.into_iter().filter(|first| *first >= from);
        let lengths =
            firsts.map(|first| std::fs::metadata(path.join(format!("{prefix}{first:016x}"))).map_or(0, |file| file.len()));
        Ok(lengths.sum())
    }

    /// Every frame of rows of the base.
    pub(crate) fn base(&self, mut take: impl FnMut(Vec<u8>) -> Result<(), BackupError>) -> Result<(), BackupError> {
        for file in self.manifest.files_of(Kind::Rows) {
            self.rows(file, &mut take)?;
        }
        Ok(())
    }

    fn rows(&self, file: &FileOf, take: &mut impl FnMut(Vec<u8>) -> Result<(), BackupError>) -> Result<(), BackupError> {
        let mut reader = FrameReader::open(&self.target.join(&file.name), Kind::Rows, &self.vault)?;
        while let Some(frame) = reader.next()? {
            take(frame.payload)?;
        }
        if file.place() == Some(reader.place()) { Ok(()) } else { Err(BackupError::Damaged(file.name.clone())) }
    }

    /// Every batch since the base was begun, up to the last one that the target holds: further than the backup itself, whose
    /// tree rows may be of an epoch that is gone. Damage within the backup is an error; behind it, the end.
    pub(crate) fn log(&self, mut take: impl FnMut(u64, Vec<u8>) -> Result<(), BackupError>) -> Result<Played, BackupError> {
        let mut last = self.manifest.base - 1;
        let needed = self.manifest.number;
        let firsts = numbered(&self.target.join("log"), "log-")?;
        for first in firsts.into_iter().filter(|first| *first >= self.manifest.base) {
            if first != last + 1 {
                break;
            }
            let name = log_name(first);
            let mut reader = match FrameReader::open(&self.target.join(&name), Kind::Log, &self.vault) {
                Ok(reader) => reader,
                Err(error) if last < needed => return Err(error),
                Err(error) => return Ok(Played { last, ended: Some(error) }),
            };
            loop {
                let frame = match reader.next() {
                    Ok(Some(frame)) if frame.number == last + 1 => frame,
                    Ok(None) => break,
                    Ok(Some(_)) if last >= needed => return Ok(Played { last, ended: Some(BackupError::Gap(last + 1)) }),
                    Ok(Some(_)) => return Err(BackupError::Gap(last + 1)),
                    Err(error) if last >= needed => return Ok(Played { last, ended: Some(error) }),
                    Err(error) => return Err(error),
                };
                last = frame.number;
                take(last, frame.payload)?;
            }
        }
        if last < needed {
            return Err(BackupError::Gap(last + 1));
        }
        let further = numbered(&self.target.join("log"), "log-")?.into_iter().any(|first| first > last + 1);
        Ok(Played { last, ended: further.then_some(BackupError::Gap(last + 1)) })
    }

    /// Every entry of the trail that the target holds, in order. Damage behind the backup's own part is the end.
    pub(crate) fn trail(
        &self,
        progress: &Progress,
        mut take: impl FnMut(Vec<Entry>) -> Result<(), BackupError>,
    ) -> Result<u64, BackupError> {
        progress.begin(Step::Trail, self.trail_bytes()?);
        let mut next = 0;
        let firsts = numbered(&self.target.join("trail"), "trail-")?;
        let needed = self.manifest.trail_size;
        'files: for (at, first) in firsts.iter().enumerate() {
            let name = trail_name(*first);
            let mut reader = match FrameReader::open(&self.target.join(&name), Kind::Trail, &self.vault) {
                Ok(reader) => reader,
                Err(_) if next >= needed => break,
                Err(error) => return Err(error),
            };
            // A file whose end was cut off by a kill is followed by one that begins where it was whole.
            let until = firsts.get(at + 1).copied().unwrap_or(u64::MAX);
            loop {
                let frame = match reader.next() {
                    Ok(Some(frame)) if frame.number == next => frame,
                    Ok(None) => break,
                    Ok(Some(_)) => return Err(BackupError::Damaged(name)),
                    Err(BackupError::CutOff(_)) if next == until => break,
                    Err(_) if next >= needed => break 'files,
                    Err(error) => return Err(error),
                };
                let damaged = || BackupError::Damaged(name.clone());
                let mut entries = Vec::new();
                for bytes in decode_entries(&frame.payload).ok_or_else(damaged)? {
                    entries.push(codec::decode(bytes).map_err(|_| damaged())?);
                }
                next += entries.len() as u64;
                progress.add(frame.payload.len() as u64);
                take(entries)?;
            }
        }
        if next < needed { Err(BackupError::Missing(format!("trail from entry {next} on"))) } else { Ok(next) }
    }
}
