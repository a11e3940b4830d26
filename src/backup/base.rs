//! A base: every row of the store, read page after page while the vault serves.
//!
//! One thread reads pages and puts them into frames, another one chains the frames, writes them and waits for the disk. So the
//! slower of the two sets the pace, not their sum.

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::BackupError;
use super::frame::{FrameReader, FrameWriter, Kind, encode_rows, rows_in};
use super::manifest::FileOf;
use super::ship::{Base, LARGE, Target, base_name, end_of, make_folder, numbered, sync_folder};

/// Rows in a frame at the most.
const PAGE: usize = 500;

/// Frames that may wait to be written; as many are in memory.
const WAITING: usize = 4;

impl Target {
    /// Reads every row into a new base. One that was begun in the same log goes on after its last complete part.
    pub(super) fn make_base(&self) -> Result<Base, BackupError> {
        let number = self.begin_base()?;
        let folder = self.folder.join(base_name(number));
        let failed = BackupError::at("base");
        make_folder(&folder).map_err(&failed)?;
        let mut base = Base { number, bytes: 0, files: Vec::new() };
        let mut after: Option<Vec<u8>> = None;
        for part in numbered(&folder, "rows-")? {
            let path = folder.join(part_name(part));
            after = self.last_key(&path)?.or(after);
            add(&mut base, part, end_of(&path).map_err(&failed)?);
        }
        self.written.store(base.bytes, Ordering::Relaxed);
        let begun = Instant::now();
        let mut written = 0_u64;
        let (sender, frames) = sync_channel(WAITING);
        std::thread::scope(|threads| {
            let reader = std::thread::Builder::new().name("backup-read".into());
            reader.spawn_scoped(threads, move || self.read_rows(number, after, &sender)).map_err(&failed)?;
            // An end without a word is a reader that died.
            let mut frames = frames.into_iter().chain([Err(BackupError::Stopped)]);
            loop {
                let part = base.files.len() as u64;
                let beside = folder.join("part.new");
                let mut writer = FrameWriter::create(&beside, Kind::Rows, &self.vault, part).map_err(&failed)?;
                let mut frame = 0;
                let mut ended = false;
                while !ended && writer.place().0 <= LARGE {
                    let Some(payload) = frames.next().transpose()?.flatten() else {
                        ended = true;
                        continue;
                    };
                    let before = writer.place().0;
                    writer.append(frame, &payload).map_err(&failed)?;
                    frame += 1;
                    written += writer.place().0 - before;
                    self.written.fetch_add(writer.place().0 - before, Ordering::Relaxed);
                    self.rest(begun, written)?;
                }
                writer.sync().map_err(&failed)?;
                fs::rename(&beside, folder.join(part_name(part))).and_then(|()| sync_folder(&folder)).map_err(&failed)?;
                add(&mut base, part, writer.place());
                if ended {
                    return Ok(base);
                }
            }
        })
    }

    /// Reads the rows after a key, page by page: frames, then `None`; or why no further.
    fn read_rows(&self, number: u64, mut after: Option<Vec<u8>>, frames: &SyncSender<Result<Option<Vec<u8>>, BackupError>>) {
        let mut next = || {
            if self.stopping.load(Ordering::Acquire) {
                return Err(BackupError::Stopped);
            }
            if self.locked().log.as_ref().is_none_or(|log| log.first != number) {
                return Err(BackupError::Gap(number));
            }
            let page = self.inner.scan(b"", after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            after = Some(last.clone());
            Ok(Some(encode_rows(page.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))))))
        };
        loop {
            let frame = next();
            let ends = !matches!(frame, Ok(Some(_)));
            // A writer that went away has an error of its own.
            if frames.send(frame).is_err() || ends {
                return;
            }
        }
    }

    /// The last key of a complete part.
    fn last_key(&self, path: &std::path::Path) -> Result<Option<Vec<u8>>, BackupError> {
        let mut reader = FrameReader::open(path, Kind::Rows, &self.vault)?;
        let mut last = None;
        while let Some(frame) = reader.next()? {
            let rows = rows_in(&frame.payload).ok_or_else(|| BackupError::Damaged(reader.name().into()))?;
            last = rows.last().map(|(key, _)| key.to_vec()).or(last);
        }
        Ok(last)
    }

    /// Waits as long as the configured speed asks for.
    fn rest(&self, begun: Instant, written: u64) -> Result<(), BackupError> {
        if self.settings.bytes_per_second == 0 {
            return Ok(());
        }
        let due = Duration::from_secs_f64(written as f64 / self.settings.bytes_per_second as f64);
        while begun.elapsed() < due {
            if self.stopping.load(Ordering::Acquire) {
                return Err(BackupError::Stopped);
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()).min(Duration::from_millis(50)));
        }
        Ok(())
    }
}

fn add(base: &mut Base, part: u64, place: (u64, super::frame::Check)) {
    base.bytes += place.0;
    base.files.push(FileOf::of(format!("{}/{}", base_name(base.number), part_name(part)), place, 0));
}

fn part_name(part: u64) -> String {
    format!("rows-{part:08x}")
}
