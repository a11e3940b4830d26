//! Shipping: every batch goes into the target's log right before it is committed.
//!
//! A batch stands in the log first, with the operating system; then the store commits it; the log's file is synced every second.
//! A batch that closes an epoch is different: its frame is synced and read back before the store commits it, because a moment
//! later the keyring forgets what opens the tree rows of before. If the target does not take it, `immediate` goes on and the
//! certificate says so, `after-backup` refuses the batch, and with it the erasure.
//!
//! A target that fails breaks the log: nothing more is shipped, and the next backup begins with a new base. So does one that
//! was away for a batch. What a process that was killed left is looked at when the next one attaches: a frame that the store
//! never got is taken back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use keys::Id;
use parking_lot::{Mutex, MutexGuard};

use crate::audit::{Trail, codec};
use crate::model::time::Clock;
use crate::store::layout::{CommitMark, RowKey};
use crate::store::{Batch, Row, Store, StoreError};

use super::frame::{Check, FrameReader, FrameWriter, Kind, decode_rows, encode_rows, push_entry};
use super::manifest::{self, FileOf, Manifest};
use super::{BackupError, SealPolicy, Settings};

/// A file of the trail that is longer is followed by a new one; a log that has grown so far beyond its base makes a new base.
pub(super) const LARGE: u64 = 64 << 20;

/// Entries in a frame of the trail at the most.
const ENTRIES: usize = 500;

/// The way to the target while the vault is unsealed.
pub struct Backups {
    pub(super) settings: Settings,
    pub(super) vault: Id,
    public: [u8; 32],
    /// The vault's own folder, for what is public in it.
    home: PathBuf,
    /// The line of vault.pub.
    key_line: String,
    pub(super) inner: Arc<dyn Store>,
    clock: Clock,
    trail: Arc<Trail>,
    pub(super) state: Mutex<State>,
    tail: Mutex<Option<Tail>>,
    turn: Mutex<()>,
    pub(super) stopping: AtomicBool,
}

/// The log and what it continues.
#[derive(Default)]
pub(super) struct State {
    /// Held for its lock from attaching on.
    lock: Option<File>,
    pub(super) log: Option<Log>,
    /// Complete log files of the same unbroken chain, oldest first.
    pub(super) segments: Vec<FileOf>,
    /// The base from which the chain is unbroken, once a manifest names it.
    pub(super) base: Option<Base>,
    /// The epoch whose tree rows the target holds for sure, and since when.
    held: Option<(u64, Timestamp)>,
    trouble: Option<String>,
    made: Option<Made>,
}

/// The log's file that is written to.
pub(super) struct Log {
    pub(super) writer: FrameWriter,
    pub(super) first: u64,
    pub(super) last: u64,
    dirty: bool,
}

/// A complete base.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) files: Vec<FileOf>,
}

/// The trail's file that is written to.
struct Tail {
    writer: FrameWriter,
    next: u64,
    whole: Vec<FileOf>,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// Its number.
    pub number: u64,
    /// `full` or `incremental`.
    pub kind: String,
    /// When.
    pub made_at: Timestamp,
    /// The epoch of its tree rows.
    pub epoch: u64,
}

/// The store as the vault sees it: every commit is shipped.
struct Shipped(Arc<Backups>);

impl Backups {
    /// The way to the target for a vault that is being unsealed and is in `epoch`. A target that cannot be used is said in the log
    /// and tried again; it does not keep the vault from opening.
    pub fn attach(
        settings: Settings,
        (vault, public, key_line): (Id, [u8; 32], String),
        home: &Path,
        inner: Arc<dyn Store>,
        (trail, clock): (Arc<Trail>, Clock),
        epoch: u64,
    ) -> Arc<Self> {
        let backups = Self {
            settings,
            vault,
            public,
            home: home.to_owned(),
            key_line,
            inner,
            clock,
            trail,
            state: Mutex::default(),
            tail: Mutex::default(),
            turn: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        if let Err(error) = backups.ready(epoch) {
            tracing::error!(%error, "the backup target cannot be used");
        }
        Arc::new(backups)
    }

    /// The store whose commits are shipped.
    pub fn store(self: &Arc<Self>) -> Arc<dyn Store> {
        Arc::new(Shipped(self.clone()))
    }

    /// Makes a base that is under way stop after its page.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The target, and since when it holds tree rows that the destruction of `epoch_closed` does not make useless.
    pub fn covers(&self, epoch_closed: u64) -> Option<(String, Timestamp)> {
        let state = self.state.lock();
        let (epoch, at) = state.held.filter(|_| state.log.is_some() && state.base.is_some())?;
        (epoch > epoch_closed).then(|| (self.settings.target.display().to_string(), at))
    }

    /// The last backup that was made by this process, and what is wrong with the target now.
    pub fn last(&self) -> (Option<Made>, Option<String>) {
        let state = self.state.lock();
        (state.made.clone(), state.trouble.clone())
    }

    /// Whether the log goes on from a base, so that the target can bring the vault back as it is.
    pub fn is_whole(&self) -> bool {
        let state = self.state.lock();
        state.log.is_some() && state.base.is_some()
    }

    /// Whether a backup is being made.
    pub fn is_busy(&self) -> bool {
        self.turn.is_locked()
    }

    /// What is due every second: attaching where that failed, the trail's new entries, syncing.
    pub fn tick(&self, epoch: u64) -> Result<(), BackupError> {
        self.ready(epoch)?;
        self.ship_trail(true)?;
        let mut state = self.state.lock();
        match &mut state.log {
            Some(log) if log.dirty => match log.writer.sync() {
                Ok(()) => log.dirty = false,
                Err(error) => self.broken(&mut state, &error.to_string()),
            },
            _ => {}
        }
        Ok(())
    }

    /// Makes a backup: a new base with `full`, where there is none that the log goes on from, or where the log has outgrown it;
    /// else what came since. Only one is made at a time.
    pub fn create(&self, full: bool, epoch: &dyn Fn() -> u64, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Result<Made, BackupError> {
        let _turn = self.turn.lock();
        let made = self.make(full, epoch, sign);
        if let Err(error) = &made {
            self.state.lock().trouble = Some(error.to_string());
        }
        made
    }

    fn make(&self, full: bool, epoch: &dyn Fn() -> u64, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Result<Made, BackupError> {
        self.ready(epoch())?;
        self.ship_trail(true)?;
        let grown = |base: &Base, state: &State| {
            let log = state.log.as_ref().map_or(0, |log| log.writer.place().0);
            log + state.segments.iter().filter(|one| one.last >= base.number).map(|one| one.bytes).sum::<u64>()
        };
        let fits = {
            let state = self.state.lock();
            let base = state.base.as_ref().filter(|_| state.log.is_some());
            base.is_some_and(|base| grown(base, &state) <= base.bytes + LARGE)
        };
        let base = if full || !fits { Some(self.make_base()?) } else { None };
        self.ship_trail(true)?;
        let made = self.declare(base, epoch, sign)?;
        if let Err(error) = self.prune() {
            tracing::warn!(%error, "old backups could not be removed");
        }
        Ok(made)
    }

    /// Writes the manifest of what the target holds now.
    fn declare(
        &self,
        fresh: Option<Base>,
        epoch: &dyn Fn() -> u64,
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> Result<Made, BackupError> {
        let trail = self.trail_files();
        // While the state is locked no batch is committed: the last frame of the log is the store's last batch.
        let mut state = self.state.lock();
        let kind = if fresh.is_some() { "full" } else { "incremental" };
        let Some(base) = fresh.or_else(|| state.base.clone()) else { return Err(BackupError::None) };
        let Some(log) = state.log.as_mut() else { return Err(BackupError::Gap(base.number)) };
        log.writer.sync().map_err(BackupError::at("log"))?;
        log.dirty = false;
        let current = FileOf::of(log_name(log.first), log.writer.place(), log.last);
        let number = log.last;
        let mut manifest = Manifest::new(&self.vault, number, self.clock.now());
        (manifest.kind, manifest.base, manifest.base_bytes, manifest.epoch) = (kind.into(), base.number, base.bytes, epoch());
        manifest.trail_size = trail.last().map_or(0, |file| file.last);
        manifest.files = base.files.clone();
        manifest.files.extend(state.segments.iter().filter(|one| one.last >= base.number).cloned());
        manifest.files.extend([current]);
        manifest.files.extend(trail);
        manifest.keep(&self.settings.target, sign)?;
        let made = Made { number, kind: kind.into(), made_at: manifest.made_at, epoch: manifest.epoch };
        state.segments.retain(|one| one.last >= base.number);
        state.base = Some(base);
        state.held = state.held.filter(|(held, _)| *held == manifest.epoch).or(Some((manifest.epoch, manifest.made_at)));
        (state.trouble, state.made) = (None, Some(made.clone()));
        Ok(made)
    }

    fn ready(&self, epoch: u64) -> Result<(), BackupError> {
        let mut state = self.state.lock();
        if state.lock.is_some() {
            return Ok(());
        }
        let done = self.look(&mut state, epoch);
        state.trouble = done.as_ref().err().map(ToString::to_string);
        done
    }

    /// Looks at what the target holds, and goes on with its log where that is whole.
    fn look(&self, state: &mut State, epoch: u64) -> Result<(), BackupError> {
        let target = &self.settings.target;
        match DirBuilder::new().mode(0o700).create(target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(BackupError::File("folder".into(), error)),
            _ => {}
        }
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(target.join("lock"));
        let lock = lock.map_err(BackupError::at("lock"))?;
        lock.try_lock().map_err(|_| BackupError::InUse)?;
        match manifest::public_key_of(target) {
            Ok(key) if key.public == self.public => {}
            Ok(_) => return Err(BackupError::Foreign("vault.pub".into())),
            Err(BackupError::None) => self.move_in()?,
            Err(error) => return Err(error),
        }
        for folder in ["log", "trail"] {
            make_folder(&target.join(folder)).map_err(BackupError::at(folder))?;
        }
        let mark = mark_of(self.inner.as_ref())?;
        let newest = manifest::list(target, &self.public)?.into_iter().filter_map(Result::ok).next_back();
        if let Some(newest) = newest.as_ref().filter(|newest| newest.number > mark) {
            return Err(BackupError::Ahead(newest.number));
        }
        match self.log_of(newest.as_ref(), mark) {
            Ok(Some((segments, log))) => {
                (state.segments, state.log) = (segments, Some(log));
                state.base = newest.map(|newest| Base {
                    number: newest.base,
                    bytes: newest.base_bytes,
                    files: newest.files_of(Kind::Rows).cloned().collect(),
                });
                state.held = Some((epoch, self.clock.now()));
            }
            Ok(None) => {}
            Err(error @ BackupError::Ahead(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the backup's log cannot be gone on with: the next backup begins with a new base")
            }
        }
        *self.tail.lock() = self.tail_of()?;
        state.lock = Some(lock);
        Ok(())
    }

    /// A new target: it has to be empty, and gets what is public.
    fn move_in(&self) -> Result<(), BackupError> {
        let target = &self.settings.target;
        let strange = fs::read_dir(target)
            .map_err(BackupError::at("folder"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| !["lock", "lost+found", "public", "vault.pub.new"].contains(&name.as_str()));
        if let Some(name) = strange {
            return Err(BackupError::Foreign(name));
        }
        make_folder(&target.join("public")).map_err(BackupError::at("public"))?;
        for (from, name) in [("config.toml", "config.toml"), ("tls/ca.pem", "ca.pem"), ("tls/cert.pem", "cert.pem")] {
            if let Ok(bytes) = fs::read(self.home.join(from)) {
                write_whole(&target.join("public"), name, &bytes)?;
            }
        }
        write_whole(target, "vault.pub", format!("{}\n", self.key_line).as_bytes())
    }

    /// The log behind the newest manifest up to the store's last batch, or `None` where there is none.
    fn log_of(&self, newest: Option<&Manifest>, mark: u64) -> Result<Option<(Vec<FileOf>, Log)>, BackupError> {
        let firsts = numbered(&self.settings.target.join("log"), "log-")?;
        let mut segments: Vec<FileOf> = newest.into_iter().flat_map(|newest| newest.files_of(Kind::Log)).cloned().collect();
        let known = segments.pop();
        let from = known.as_ref().and_then(|file| number_in(&file.name)).or(firsts.last().copied());
        let Some(from) = from else { return Ok(None) };
        let mut last = from.saturating_sub(1);
        let mut open: Option<Log> = None;
        for first in firsts.into_iter().filter(|first| *first >= from) {
            if let Some(done) = open.take() {
                segments.push(FileOf::of(log_name(done.first), done.writer.place(), done.last));
            }
            if first != last + 1 && first != from {
                return Err(BackupError::Gap(last + 1));
            }
            let path = self.settings.target.join(log_name(first));
            let mut reader = FrameReader::open(&path, Kind::Log, &self.vault)?;
            if let Some((file, place)) = known.as_ref().filter(|_| first == from).and_then(|file| Some((file, file.place()?))) {
                reader.skip_to(place)?;
                last = file.last;
            }
            let mut before = reader.place();
            let mut newest: Option<Vec<u8>> = None;
            loop {
                let place = reader.place();
                match reader.next() {
                    Ok(Some(frame)) if frame.number == last + 1 => {
                        (last, before, newest) = (frame.number, place, Some(frame.payload));
                    }
                    Ok(Some(frame)) => return Err(BackupError::Gap(frame.number.min(last + 1))),
                    // What a kill left half written.
                    Ok(None) | Err(BackupError::CutOff(_)) => break,
                    Err(error) => return Err(error),
                }
            }
            let mut place = reader.place();
            if last == mark + 1 && newest.take().is_some() {
                // Written to the log, never committed.
                (place, last) = (before, mark);
            }
            if last > mark {
                return Err(BackupError::Ahead(last));
            }
            if let Some(payload) = newest.filter(|_| last == mark) {
                self.matches(&payload)?;
            }
            let writer = FrameWriter::resume(&path, place.0, place.1).map_err(BackupError::at("log"))?;
            open = Some(Log { writer, first, last, dirty: true });
        }
        match open {
            Some(log) if log.last == mark => Ok(Some((segments, log))),
            _ => Err(BackupError::Gap(last + 1)),
        }
    }

    /// Whether the store holds what the last batch of the log says.
    fn matches(&self, payload: &[u8]) -> Result<(), BackupError> {
        let damaged = || BackupError::Damaged("log".into());
        for (key, value) in decode_rows(payload).ok_or_else(damaged)? {
            // A restore writes the mark once more: the batch is the same, the trail went on.
            if key != RowKey::Mark.bytes() && self.inner.row(&key)? != value {
                return Err(damaged());
            }
        }
        Ok(())
    }

    /// The end of the trail's copy.
    fn tail_of(&self) -> Result<Option<Tail>, BackupError> {
        let folder = self.settings.target.join("trail");
        let mut whole = Vec::new();
        let firsts = numbered(&folder, "trail-")?;
        for (at, first) in firsts.iter().enumerate() {
            let path = self.settings.target.join(trail_name(*first));
            let is_last = at + 1 == firsts.len();
            if !is_last {
                let place = end_of(&path).map_err(BackupError::at("trail"))?;
                whole.push(FileOf::of(trail_name(*first), place, firsts[at + 1]));
                continue;
            }
            let mut reader = FrameReader::open(&path, Kind::Trail, &self.vault)?;
            let mut next = *first;
            loop {
                match reader.next() {
                    Ok(Some(frame)) => {
                        let entries = super::frame::decode_entries(&frame.payload);
                        next = frame.number + entries.ok_or_else(|| BackupError::Damaged(reader.name().into()))?.len() as u64;
                    }
                    Ok(None) | Err(BackupError::CutOff(_)) => break,
                    Err(error) => return Err(error),
                }
            }
            let (length, check) = reader.place();
            let writer = FrameWriter::resume(&path, length, check).map_err(BackupError::at("trail"))?;
            return Ok(Some(Tail { writer, next, whole }));
        }
        Ok(None)
    }

    /// Copies what the trail made durable since, and makes the copy durable where that is wished.
    fn ship_trail(&self, sync: bool) -> Result<(), BackupError> {
        let trail = &self.trail;
        let (size, _) = trail.durable_head();
        let mut tail = self.tail.lock();
        let failed = BackupError::at("trail");
        loop {
            let next = tail.as_ref().map_or(0, |tail| tail.next);
            if next > size {
                return Err(BackupError::Ahead(next));
            }
            if next == size && tail.is_some() {
                break;
            }
            if tail.as_ref().is_none_or(|tail| tail.writer.place().0 > LARGE) {
                let path = self.settings.target.join(trail_name(next));
                let writer = FrameWriter::create(&path, Kind::Trail, &self.vault, next).map_err(&failed)?;
                sync_folder(&self.settings.target.join("trail")).map_err(&failed)?;
                let mut whole = Vec::new();
                if let Some(done) = tail.take() {
                    done.writer.sync().map_err(&failed)?;
                    whole = done.whole;
                    whole.push(FileOf::of(relative(done.writer.path()), done.writer.place(), done.next));
                }
                *tail = Some(Tail { writer, next, whole });
                continue;
            }
            let wanted = usize::try_from(size - next).unwrap_or(ENTRIES).min(ENTRIES);
            let mut payload = Vec::new();
            let entries = trail.entries(next, wanted)?;
            for (_, entry) in &entries {
                let mut bytes = Vec::new();
                codec::encode(entry, &mut bytes).map_err(|_| BackupError::Damaged("trail".into()))?;
                push_entry(&mut payload, &bytes);
            }
            if let Some(tail) = tail.as_mut() {
                let before = tail.writer.place();
                if let Err(error) = tail.writer.append(next, &payload) {
                    // A tail that cannot be taken back is cut when the next process attaches.
                    let _ = tail.writer.roll_back(before);
                    return Err(failed(error));
                }
                tail.next += entries.len() as u64;
            }
        }
        match tail.as_ref() {
            Some(tail) if sync => tail.writer.sync().map_err(failed),
            _ => Ok(()),
        }
    }

    fn trail_files(&self) -> Vec<FileOf> {
        let tail = self.tail.lock();
        let Some(tail) = tail.as_ref() else { return Vec::new() };
        let current = FileOf::of(relative(tail.writer.path()), tail.writer.place(), tail.next);
        tail.whole.iter().cloned().chain([current]).collect()
    }

    /// Begins a new file of the log for a base, or finds the one that an unfinished base began; with the base's number.
    pub(super) fn begin_base(&self) -> Result<u64, BackupError> {
        let mut state = self.state.lock();
        let named = state.base.as_ref().map(|base| base.number);
        if let Some(log) = state.log.as_ref().filter(|log| named != Some(log.first))
            && self.settings.target.join(base_name(log.first)).is_dir()
        {
            return Ok(log.first);
        }
        let start = mark_of(self.inner.as_ref())? + 1;
        let path = self.settings.target.join(log_name(start));
        let failed = BackupError::at("log");
        if let Some(log) = state.log.as_ref().filter(|log| log.first == start) {
            // An empty file that goes on from an older base: this base begins with it as well.
            return Ok(log.first);
        }
        let writer = FrameWriter::create(&path, Kind::Log, &self.vault, start).map_err(&failed)?;
        writer.sync().and_then(|()| sync_folder(&self.settings.target.join("log"))).map_err(&failed)?;
        match state.log.take() {
            Some(done) => {
                done.writer.sync().map_err(&failed)?;
                let file = FileOf::of(log_name(done.first), done.writer.place(), done.last);
                state.segments.push(file);
            }
            None => {
                state.segments.clear();
                state.base = None;
            }
        }
        state.log = Some(Log { writer, first: start, last: start - 1, dirty: false });
        Ok(start)
    }

    /// Puts a batch into the log. `closes` names the epoch that it opens in place of another.
    fn ship(&self, state: &mut State, batch: &Batch, closes: Option<u64>) -> Result<(u64, Check), String> {
        let Some(log) = state.log.as_mut() else { return Err("the log is broken; the next backup mends it".into()) };
        let mark =
            batch.writes.iter().rev().find(|(key, _)| *key == RowKey::Mark.bytes()).and_then(|(_, value)| value.as_deref());
        let number = mark.and_then(|mark| CommitMark::parse(mark).ok()).map(|mark| mark.number);
        if number != Some(log.last + 1) {
            return Err(format!("a batch came that is not number {}", log.last + 1));
        }
        let before = log.writer.place();
        let rows = batch.writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        let written = log.writer.append(log.last + 1, &encode_rows(rows)).and_then(|()| match closes {
            None => Ok(()),
            Some(_) => log.writer.sync().and_then(|()| match log.writer.holds_its_end()? {
                true => Ok(()),
                false => Err(io::Error::from(io::ErrorKind::InvalidData)),
            }),
        });
        match written {
            Ok(()) => {
                log.last += 1;
                log.dirty = closes.is_none();
                Ok(before)
            }
            Err(error) => {
                let _ = log.writer.roll_back(before);
                Err(error.to_string())
            }
        }
    }

    fn broken(&self, state: &mut State, why: &str) {
        if state.log.take().is_some() {
            tracing::error!(why, "the backup target does not take what changes: the next backup begins with a new base");
        }
        state.trouble = Some(why.to_owned());
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check()?;
        let closes = batch.writes.iter().rev().find(|(key, _)| key.starts_with(b"n\xff")).and_then(|(_, value)| epoch_in(value));
        let mut state = self.state.lock();
        let must = closes.is_some() && self.settings.seal == SealPolicy::AfterBackup;
        const STEP: &str = "putting the new tree rows into the backup target";
        if must && (state.base.is_none() || state.log.is_none()) {
            tracing::error!("nothing is erased: the seal policy is after-backup, and the target holds no whole backup");
            return Err(StoreError::Unavailable(STEP));
        }
        // The entries that announce the batch go first, so that the target never holds a row that its trail does not know.
        let told =
            if state.log.is_some() { self.ship_trail(closes.is_some()).map_err(|error| error.to_string()) } else { Ok(()) };
        let shipped = told.and_then(|()| self.ship(&mut state, batch, closes));
        if let Err(why) = &shipped {
            self.broken(&mut state, why);
            if must {
                return Err(StoreError::Unavailable(STEP));
            }
        }
        if let Err(error) = self.inner.commit(batch) {
            if let (Ok(before), Some(log)) = (&shipped, state.log.as_mut()) {
                log.last -= 1;
                if let Err(error) = log.writer.roll_back(*before) {
                    self.broken(&mut state, &error.to_string());
                }
            }
            return Err(error);
        }
        if let (Ok(_), Some(epoch)) = (shipped, closes) {
            state.held = Some((epoch, self.clock.now()));
        }
        Ok(())
    }

    /// Removes what no kept backup needs.
    fn prune(&self) -> Result<(), BackupError> {
        let target = &self.settings.target;
        let manifests: Vec<Manifest> = manifest::list(target, &self.public)?.into_iter().filter_map(Result::ok).collect();
        let mut bases: Vec<u64> = manifests.iter().map(|manifest| manifest.base).collect();
        bases.dedup();
        let Some(oldest) = bases.iter().rev().nth(self.settings.keep.max(1) - 1).or(bases.first()).copied() else {
            return Ok(());
        };
        let current = self.state.lock().log.as_ref().map(|log| log.first);
        for manifest in manifests.iter().filter(|manifest| manifest.base < oldest) {
            fs::remove_file(target.join(Manifest::file_name(manifest.number))).map_err(BackupError::at("manifest"))?;
        }
        sync_folder(target).map_err(BackupError::at("folder"))?;
        for number in numbered(target, "base-")? {
            if number < oldest || (!bases.contains(&number) && current != Some(number)) {
                fs::remove_dir_all(target.join(base_name(number))).map_err(BackupError::at("base"))?;
            }
        }
        for first in numbered(&target.join("log"), "log-")?.into_iter().filter(|first| *first < oldest) {
            fs::remove_file(target.join(log_name(first))).map_err(BackupError::at("log"))?;
        }
        Ok(())
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Store for Shipped {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.inner.row(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.inner.scan(prefix, after, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }

    fn room(&self) -> Result<u64, StoreError> {
        self.0.inner.room()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.0.inner.size_on_disk()
    }
}

/// The epoch in the header of a root row.
fn epoch_in(row: &Option<Vec<u8>>) -> Option<u64> {
    Some(u64::from_be_bytes(row.as_ref()?.get(12..20)?.try_into().ok()?))
}

pub(super) fn mark_of(store: &dyn Store) -> Result<u64, BackupError> {
    let mark = store.row(&RowKey::Mark.bytes())?.map_or(Ok(CommitMark::default()), |bytes| CommitMark::parse(&bytes))?;
    Ok(mark.number)
}

pub(super) fn base_name(number: u64) -> String {
    format!("base-{number:016x}")
}

pub(super) fn log_name(first: u64) -> String {
    format!("log/log-{first:016x}")
}

pub(super) fn trail_name(first: u64) -> String {
    format!("trail/trail-{first:016x}")
}

/// The number that a file's name ends in.
pub(super) fn number_in(name: &str) -> Option<u64> {
    u64::from_str_radix(name.rsplit('-').next()?, 16).ok()
}

/// The last two parts of a path: the name below the target.
fn relative(path: &Path) -> String {
    let name =
        |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}/{}", name(path.parent()), name(Some(path)))
}

/// The numbers in the names of a folder that begin so, in order.
pub(super) fn numbered(folder: &Path, prefix: &str) -> Result<Vec<u64>, BackupError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::File(prefix.trim_end_matches('-').into(), error)),
    };
    let mut numbers: Vec<u64> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where a complete file and its chain end.
pub(super) fn end_of(path: &Path) -> io::Result<(u64, Check)> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut check = Check::default();
    let place = length.saturating_sub(check.len() as u64);
    file.read_exact_at(&mut check, place)?;
    Ok((length, check))
}

pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.and_then(|()| path.parent().map_or(Ok(()), sync_folder)),
    }
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a small file beside, syncs it, and gives it its name.
pub(super) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
    let beside = folder.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, folder.join(name))?;
        sync_folder(folder)
    };
    write().map_err(BackupError::at(name))
}
