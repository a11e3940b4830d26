//! A base: every row of the store, read page after page while the vault serves.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::BackupError;
use super::frame::{FrameReader, FrameWriter, Kind, decode_rows, encode_rows};
use super::manifest::FileOf;
use super::ship::{Backups, Base, LARGE, base_name, end_of, make_folder, numbered, sync_folder};

/// Rows in a frame at the most; as many are in memory.
const PAGE: usize = 500;

impl Backups {
    /// Reads every row into a new base. One that was begun in the same log goes on after its last complete part.
    pub(super) fn make_base(&self) -> Result<Base, BackupError> {
        let number = self.begin_base()?;
        let folder = self.settings.target.join(base_name(number));
        let failed = BackupError::at("base");
        make_folder(&folder).map_err(&failed)?;
        let mut base = Base { number, bytes: 0, files: Vec::new() };
        let mut after: Option<Vec<u8>> = None;
        for part in numbered(&folder, "rows-")? {
            let path = folder.join(part_name(part));
            after = self.last_key(&path)?.or(after);
            self.add(&mut base, part, end_of(&path).map_err(&failed)?);
        }
        let begun = Instant::now();
        let mut written = 0_u64;
        loop {
            let part = base.files.len() as u64;
            let beside = folder.join("part.new");
            let mut writer = FrameWriter::create(&beside, Kind::Rows, &self.vault, part).map_err(&failed)?;
            let mut frame = 0;
            let ended = loop {
                if self.stopping.load(Ordering::Acquire) {
                    return Err(BackupError::Stopped);
                }
                if self.locked().log.as_ref().is_none_or(|log| log.first != number) {
                    return Err(BackupError::Gap(number));
                }
                let page = self.inner.scan(b"", after.as_deref(), PAGE)?;
                let Some((last, _)) = page.last() else { break true };
                after = Some(last.clone());
                let before = writer.place().0;
                let rows = page.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
                writer.append(frame, &encode_rows(rows)).map_err(&failed)?;
                frame += 1;
                written += writer.place().0 - before;
                self.rest(begun, written);
                if writer.place().0 > LARGE {
                    break false;
                }
            };
            writer.sync().map_err(&failed)?;
            fs::rename(&beside, folder.join(part_name(part))).and_then(|()| sync_folder(&folder)).map_err(&failed)?;
            self.add(&mut base, part, writer.place());
            if ended {
                return Ok(base);
            }
        }
    }

    fn add(&self, base: &mut Base, part: u64, place: (u64, super::frame::Check)) {
        base.bytes += place.0;
        base.files.push(FileOf::of(format!("{}/{}", base_name(base.number), part_name(part)), place, 0));
    }

    /// The last key of a complete part.
    fn last_key(&self, path: &std::path::Path) -> Result<Option<Vec<u8>>, BackupError> {
        let mut reader = FrameReader::open(path, Kind::Rows, &self.vault)?;
        let mut last = None;
        while let Some(frame) = reader.next()? {
            let rows = decode_rows(&frame.payload).ok_or_else(|| BackupError::Damaged(reader.name().into()))?;
            last = rows.into_iter().next_back().map(|(key, _)| key).or(last);
        }
        Ok(last)
    }

    /// Waits as long as the configured speed asks for.
    fn rest(&self, begun: Instant, written: u64) {
        if self.settings.bytes_per_second == 0 {
            return;
        }
        let due = Duration::from_secs_f64(written as f64 / self.settings.bytes_per_second as f64);
        while begun.elapsed() < due && !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(due.saturating_sub(begun.elapsed()).min(Duration::from_millis(50)));
        }
    }
}

fn part_name(part: u64) -> String {
    format!("rows-{part:08x}")
}
