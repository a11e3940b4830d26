//! Shipping: every batch goes into the target's log right before it is committed.
//!
//! A batch stands in the log first, with the operating system; then the store commits it; the log's file is synced every second.
//! A batch that closes an epoch is different: its frame is synced and read back before the store commits it, because a moment
//! later the keyring forgets what opens the tree rows of before. What a target that does not take it means is decided over all
//! targets, in `targets.rs`.
//!
//! A target that fails breaks the log: nothing more is shipped, and the next backup begins with a new base. So does one that
//! was away for a batch. What a process that was killed left is looked at when the next one attaches: a frame that the store
//! never got is taken back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use keys::Id;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::audit::note::VerifyingKey;
use crate::audit::{PublicKeys, Trail, codec, signers};
use crate::model::time::Clock;
use crate::store::layout::{CommitMark, RowKey};
use crate::store::{Batch, Store};

use super::frame::{Check, FrameReader, FrameWriter, Kind, decode_rows, encode_rows, push_entry};
use super::manifest::{self, FileOf, Manifest};
use super::{BackupError, Settings};

/// A file of the trail that is longer is followed by a new one; a log that has grown so far beyond its base makes a new base.
pub(super) const LARGE: u64 = 64 << 20;

/// Entries in a frame of the trail at the most.
const ENTRIES: usize = 500;

/// The way to one target while the vault is unsealed.
pub(super) struct Target {
    pub(super) folder: PathBuf,
    pub(super) settings: Settings,
    pub(super) vault: Id,
    public: RwLock<Public>,
    /// The vault's own folder, for what is public in it.
    home: PathBuf,
    pub(super) inner: Arc<dyn Store>,
    clock: Clock,
    trail: Arc<Trail>,
    pub(super) state: Mutex<State>,
    tail: Mutex<Option<Tail>>,
    turn: Mutex<()>,
    pub(super) stopping: AtomicBool,
    /// Bytes of the base that is being read, or was read last.
    pub(super) written: AtomicU64,
}

/// The public keys of the vault, as a target has them.
#[derive(Clone)]
pub struct Public {
    keys: PublicKeys,
    /// `vault.pub`.
    line: String,
    /// `vault.keys`.
    list: String,
}

impl Public {
    /// All of them, the newest by name, and how they followed each other.
    pub fn of(keys: PublicKeys, newest: &VerifyingKey, successions: &str) -> Self {
        Self { keys, line: format!("{newest}\n"), list: signers::list(newest, successions) }
    }
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

impl State {
    /// Whether the log goes on from a base, so that the target can bring the vault back as it is.
    pub(super) fn is_whole(&self) -> bool {
        self.log.is_some() && self.base.is_some()
    }
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

impl From<&Manifest> for Made {
    fn from(manifest: &Manifest) -> Self {
        let Manifest { number, kind, made_at, epoch, .. } = manifest;
        Self { number: *number, kind: kind.clone(), made_at: *made_at, epoch: *epoch }
    }
}

/// How it stands with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its folder.
    pub target: PathBuf,
    /// Its newest backup.
    pub made: Option<Made>,
    /// Whether its log goes on from a base, so that it can bring the vault back as it is.
    pub whole: bool,
    /// What is wrong with it now.
    pub trouble: Option<String>,
    /// Bytes of the base that were written so far, while a backup is being made.
    pub busy: Option<u64>,
}

/// Whose backups they are, and what they are made from.
#[derive(Clone)]
pub struct Origin {
    /// The vault.
    pub vault: Id,
    /// Its public keys.
    pub public: Public,
    /// Its folder.
    pub home: PathBuf,
    /// Its trail.
    pub trail: Arc<Trail>,
    /// Its clock.
    pub clock: Clock,
}

impl Target {
    /// The way to this folder for a vault that is being unsealed and is in `epoch`. A target that cannot be used is said in the log
    /// and tried again; it does not keep the vault from opening.
    pub(super) fn attach(folder: PathBuf, settings: &Settings, origin: &Origin, inner: Arc<dyn Store>, epoch: u64) -> Self {
        let Origin { vault, public, home, trail, clock } = origin.clone();
        let target = Self {
            folder,
            settings: settings.clone(),
            vault,
            public: RwLock::new(public),
            home,
            inner,
            clock,
            trail,
            state: Mutex::default(),
            tail: Mutex::default(),
            turn: Mutex::default(),
            stopping: AtomicBool::new(false),
            written: AtomicU64::new(0),
        };
        if let Err(error) = target.ready(epoch) {
            tracing::error!(%error, target = %target.folder.display(), "the backup target cannot be used");
        }
        target
    }

    /// Since when it holds tree rows that the destruction of `epoch_closed` does not make useless.
    pub(super) fn covers(&self, epoch_closed: u64) -> Option<Timestamp> {
        let state = self.state.lock();
        let (epoch, at) = state.held.filter(|_| state.is_whole())?;
        (epoch > epoch_closed).then_some(at)
    }

    /// How it stands with this target.
    pub(super) fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing {
            target: self.folder.clone(),
            made: state.made.clone(),
            whole: state.is_whole(),
            trouble: state.trouble.clone(),
            busy: self.turn.is_locked().then(|| self.written.load(Ordering::Relaxed)),
        }
    }

    /// What is due every second: attaching where that failed, the trail's new entries, syncing.
    pub(super) fn tick(&self, epoch: u64) -> Result<(), BackupError> {
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
    pub(super) fn create(
        &self,
        full: bool,
        epoch: &dyn Fn() -> u64,
        sign: &dyn Fn(&[u8]) -> [u8; 64],
    ) -> Result<Made, BackupError> {
        let _turn = self.turn.lock();
        let made = self.make(full, epoch, sign);
        if let Err(error) = &made {
            self.state.lock().trouble = Some(error.to_string());
        }
        made
    }

    fn make(&self, full: bool, epoch: &dyn Fn() -> u64, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Result<Made, BackupError> {
        self.ready(epoch())?;
        // Where the vault has another signing key by now and the target could not be told.
        self.put_keys()?;
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
        manifest.keep(&self.folder, sign)?;
        let made = Made::from(&manifest);
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
        let target = &self.folder;
        match DirBuilder::new().mode(0o700).create(target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(BackupError::File("folder".into(), error)),
            _ => {}
        }
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(target.join("lock"));
        let lock = lock.map_err(BackupError::at("lock"))?;
        lock.try_lock().map_err(|_| BackupError::InUse)?;
        match manifest::public_key_of(target) {
            Ok(key) if self.public.read().keys.contains(&key.public) => self.put_keys()?,
            Ok(_) => return Err(BackupError::Foreign("vault.pub".into())),
            Err(BackupError::None) => self.move_in()?,
            Err(error) => return Err(error),
        }
        for folder in ["log", "trail"] {
            make_folder(&target.join(folder)).map_err(BackupError::at(folder))?;
        }
        let mark = mark_of(self.inner.as_ref())?;
        let newest = manifest::list(target, &self.public.read().keys)?.into_iter().filter_map(Result::ok).next_back();
        if let Some(newest) = newest.as_ref().filter(|newest| newest.number > mark) {
            return Err(BackupError::Ahead(newest.number));
        }
        state.made = newest.as_ref().map(Made::from);
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
        let target = &self.folder;
        let strange = fs::read_dir(target)
            .map_err(BackupError::at("folder"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| {
                !["lock", "lost+found", "public", "vault.pub.new", "vault.keys", "vault.keys.new"].contains(&name.as_str())
            });
        if let Some(name) = strange {
            return Err(BackupError::Foreign(name));
        }
        make_folder(&target.join("public")).map_err(BackupError::at("public"))?;
        for (from, name) in [("config.toml", "config.toml"), ("tls/ca.pem", "ca.pem"), ("tls/cert.pem", "cert.pem")] {
            if let Ok(bytes) = fs::read(self.home.join(from)) {
                write_whole(&target.join("public"), name, &bytes)?;
            }
        }
        self.put_keys()
    }

    /// The public keys as they are now, where the target says otherwise. The list is first: whoever meets the newer key finds the way to it.
    fn put_keys(&self) -> Result<(), BackupError> {
        let public = self.public.read().clone();
        for (name, text) in [("vault.keys", public.list), ("vault.pub", public.line)] {
            if fs::read_to_string(self.folder.join(name)).map_or(true, |there| there != text) {
                write_whole(&self.folder, name, text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Takes other public keys from now on, and tells the target, unless it is not there: then it is told when it is.
    pub(super) fn publish(&self, public: Public) {
        *self.public.write() = public;
        let is_ready = self.state.lock().lock.is_some();
        if let Some(error) = is_ready.then(|| self.put_keys().err()).flatten() {
            tracing::warn!(%error, target = %self.folder.display(), "the backup target did not get the public keys");
        }
    }

    /// The log behind the newest manifest up to the store's last batch, or `None` where there is none.
    fn log_of(&self, newest: Option<&Manifest>, mark: u64) -> Result<Option<(Vec<FileOf>, Log)>, BackupError> {
        let firsts = numbered(&self.folder.join("log"), "log-")?;
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
            let path = self.folder.join(log_name(first));
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
        let folder = self.folder.join("trail");
        let mut whole = Vec::new();
        let firsts = numbered(&folder, "trail-")?;
        for (at, first) in firsts.iter().enumerate() {
            let path = self.folder.join(trail_name(*first));
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
                let path = self.folder.join(trail_name(next));
                let writer = FrameWriter::create(&path, Kind::Trail, &self.vault, next).map_err(&failed)?;
                sync_folder(&self.folder.join("trail")).map_err(&failed)?;
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
            && self.folder.join(base_name(log.first)).is_dir()
        {
            return Ok(log.first);
        }
        let start = mark_of(self.inner.as_ref())? + 1;
        let path = self.folder.join(log_name(start));
        let failed = BackupError::at("log");
        if let Some(log) = state.log.as_ref().filter(|log| log.first == start) {
            // An empty file that goes on from an older base: this base begins with it as well.
            return Ok(log.first);
        }
        let writer = FrameWriter::create(&path, Kind::Log, &self.vault, start).map_err(&failed)?;
        writer.sync().and_then(|()| sync_folder(&self.folder.join("log"))).map_err(&failed)?;
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
            tracing::error!(why, target = %self.folder.display(), "the backup target does not take what changes: the next backup begins with a new base");
        }
        state.trouble = Some(why.to_owned());
    }

    /// Puts a batch into the log before the store commits it, and the entries that announce it before that, so that the target
    /// never holds a row that its trail does not know. A target that does not take it breaks its log; else where the log stood.
    pub(super) fn offer(&self, state: &mut State, batch: &Batch, closes: Option<u64>) -> Option<(u64, Check)> {
        let told =
            if state.log.is_some() { self.ship_trail(closes.is_some()).map_err(|error| error.to_string()) } else { Ok(()) };
        match told.and_then(|()| self.ship(state, batch, closes)) {
            Ok(before) => Some(before),
            Err(why) => {
                self.broken(state, &why);
                None
            }
        }
    }

    /// Takes back what was offered last: the store did not commit it.
    pub(super) fn take_back(&self, state: &mut State, before: (u64, Check)) {
        let Some(log) = state.log.as_mut() else { return };
        log.last -= 1;
        if let Err(error) = log.writer.roll_back(before) {
            self.broken(state, &error.to_string());
        }
    }

    /// The store committed what was offered last, and with it opened this epoch.
    pub(super) fn hold(&self, state: &mut State, epoch: u64) {
        state.held = Some((epoch, self.clock.now()));
    }

    /// Removes what no kept backup needs.
    fn prune(&self) -> Result<(), BackupError> {
        let target = &self.folder;
        let manifests: Vec<Manifest> =
            manifest::list(target, &self.public.read().keys)?.into_iter().filter_map(Result::ok).collect();
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

/// The epoch in the header of a root row.
pub(super) fn epoch_in(row: &Option<Vec<u8>>) -> Option<u64> {
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
