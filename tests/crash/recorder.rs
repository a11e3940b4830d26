//! Cuts the power: runs a process under tests/crash/shim.c and rebuilds what the medium held at any moment.
//!
//! Rules of the medium, in the order in which they were chosen for being strict and possible on ext4, XFS and btrfs:
//!
//! - A write is kept when a sync of its file began after it and came back before the cut, or when it was O_DSYNC.
//!   `sync_file_range` keeps nothing: it promises neither the file's size nor the drive's cache.
//! - Of the other writes, [`Loss`] says what is kept; whole, or page by page as the kernel writes back.
//! - A name (made, renamed, removed) is kept when its directory was synced after it. Of the other changes of names, a
//!   random number of the first is kept, because journals keep their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// What happens to that which no sync covers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// All of it is lost.
    Everything,
    /// Each write is kept or lost as a whole, by this seed.
    SomeWrites(u64),
    /// Each page of 4 KiB of each write is kept or lost, by this seed.
    SomePages(u64),
    /// Nothing is lost: the process was killed, and the machine went on.
    Nothing,
}

/// One line of the log; see the head of shim.c.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// Number of the file, unique in the whole recording; 0 where there is none.
    pub(crate) file: u32,
    /// As the shim wrote it, but for syncs the index of the first event that they do not cover.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Write,
    Fsync,
    Fdatasync,
    SyncFileRange,
    Truncate,
    Unlink,
    Rename,
    Mkdir,
    Rmdir,
    Link,
    Allocate,
    SyncAll,
    Mapped,
}

const KINDS: [Kind; 14] = [
    Kind::File,
    Kind::Write,
    Kind::Fsync,
    Kind::Fdatasync,
    Kind::SyncFileRange,
    Kind::Truncate,
    Kind::Unlink,
    Kind::Rename,
    Kind::Mkdir,
    Kind::Rmdir,
    Kind::Link,
    Kind::Allocate,
    Kind::SyncAll,
    Kind::Mapped,
];

const SYNCED: u8 = 1;
const DIRECTORY: u8 = 2;
const MADE: u8 = 4;
const EXCHANGED: u8 = 8;
const PAGE: u64 = 4096;

/// Lets the process that `command` starts be recorded. The directory must be there; the log must be elsewhere.
pub(crate) fn record(command: &mut Command, directory: &Path, log: &Path) {
    command.env("LD_PRELOAD", shim()).env("OUBLIETTE_SHIM_DIR", directory).env("OUBLIETTE_SHIM_LOG", log);
}

/// The shim, compiled once by the C compiler (`cc`, or what `CC` names).
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("liboubliette_shim.so");
        let fresh = library.with_extension(format!("{}.so", std::process::id()));
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
        let mut cc = Command::new(&compiler);
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&fresh).arg(source).arg("-lpthread");
        let done = cc.status().unwrap_or_else(|error| panic!("{compiler}, a C compiler, is needed for this test: {error}"));
        assert!(done.success(), "{compiler} did not compile the shim");
        fs::rename(&fresh, &library).unwrap();
        library
    })
}

/// Everything that the recorded processes asked the disk to keep, in order.
pub(crate) struct Recording {
    pub(crate) events: Vec<Event>,
    /// Index of each process's first event.
    pub(crate) starts: Vec<usize>,
    /// What was in the directory before.
    before: Image,
}

impl Recording {
    /// Reads a log. `before` is a copy of the directory from before the recording, `None` when it was empty.
    pub(crate) fn load(log: &Path, before: Option<&Path>) -> Self {
        let bytes = fs::read(log).unwrap();
        let mut rest = bytes.strip_prefix(b"OBSHIM1\n").expect("the log's magic");
        let mut recording =
            Self { events: Vec::new(), starts: Vec::new(), before: before.map_or_else(Image::default, Image::read) };
        let mut files = 0;
        let mut first_file = 0;
        while let Some((head, after)) = rest.split_first_chunk::<28>() {
            let number =
                |at: usize, length: usize| head[at..at + length].iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
            let length = number(24, 4) as usize;
            // The process may have been killed in the middle of its last line.
            let Some((bytes, after)) = after.split_at_checked(length) else { break };
            rest = after;
            if number(8, 8) == 0 {
                recording.starts.push(recording.events.len());
                first_file = files;
            }
            let start = *recording.starts.last().expect("the first sequence is 0");
            assert_eq!(number(8, 8) as usize, recording.events.len() - start, "two processes wrote to the log at once");
            let kind = KINDS[usize::from(head[0]) - 1];
            let file = if number(4, 4) == 0 { 0 } else { first_file + number(4, 4) as u32 };
            files = files.max(file);
            let sync = matches!(kind, Kind::Fsync | Kind::Fdatasync | Kind::SyncAll);
            let offset = number(16, 8) + if sync { start as u64 } else { 0 };
            recording.events.push(Event { kind, flags: head[1], file, offset, bytes: bytes.to_vec() });
        }
        assert!(!recording.events.iter().any(|event| event.kind == Kind::Mapped), "a mapped file was written unseen");
        recording
    }

    /// A recording that is made up.
    pub(crate) fn of(events: Vec<Event>) -> Self {
        Self { events, starts: vec![0], before: Image::default() }
    }

    /// The recording of a first process that was killed after `cut` events, and of what came after it on the same files,
    /// which the page cache still had.
    pub(crate) fn then(&self, cut: usize, after: &Recording) -> Self {
        let mut events = self.events[..cut].to_vec();
        let files = events.iter().map(|event| event.file).max().unwrap_or(0);
        events.extend(after.events.iter().cloned().map(|mut event| {
            event.file += if event.file == 0 { 0 } else { files };
            if matches!(event.kind, Kind::Fsync | Kind::Fdatasync | Kind::SyncAll) {
                event.offset += cut as u64;
            }
            event
        }));
        let starts = self.starts.iter().copied().filter(|&start| start < cut).chain(after.starts.iter().map(|start| start + cut));
        Self { events, starts: starts.collect(), before: self.before.clone() }
    }

    /// Every byte that was ever written, with the number of its file and its offset, in order.
    pub(crate) fn every_byte(&self) -> impl Iterator<Item = (u32, u64, &[u8])> {
        let writes = self.events.iter().filter(|event| event.kind == Kind::Write);
        writes.map(|event| (event.file, event.offset, event.bytes.as_slice()))
    }

    /// The bytes that were written last to the file of this path before event `cut`. A process tells the test in this
    /// way how far it came.
    pub(crate) fn last_written(&self, path: &str, cut: usize) -> Option<&[u8]> {
        let is_it = |event: &&Event| event.kind == Kind::File && event.bytes == path.as_bytes();
        let numbers: BTreeSet<u32> = self.events[..cut].iter().filter(is_it).map(|event| event.file).collect();
        let written = |event: &&Event| event.kind == Kind::Write && numbers.contains(&event.file);
        self.events[..cut].iter().rfind(written).map(|event| event.bytes.as_slice())
    }

    /// What the medium holds when the power goes after the first `cut` events.
    pub(crate) fn image(&self, cut: usize, loss: Loss) -> Image {
        Replay::new(&self.events[..cut], loss).run(&self.before)
    }
}

/// The files of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) directories: BTreeSet<String>,
}

impl Image {
    /// Reads a directory with everything below it.
    pub(crate) fn read(directory: &Path) -> Self {
        let mut image = Self::default();
        image.read_below(directory, "");
        image
    }

    fn read_below(&mut self, directory: &Path, prefix: &str) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                self.read_below(&entry.path(), &format!("{path}/"));
                self.directories.insert(path);
            } else {
                self.files.insert(path, fs::read(entry.path()).unwrap());
            }
        }
    }

    /// Writes the files below `directory`, which is made.
    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        self.directories.iter().for_each(|path| fs::create_dir_all(directory.join(path)).unwrap());
        self.files.iter().for_each(|(path, bytes)| fs::write(directory.join(path), bytes).unwrap());
    }
}

/// One replay of a log up to a cut.
struct Replay<'a> {
    events: &'a [Event],
    loss: Loss,
    random: Random,
    /// For each file: everything before this index is kept.
    covered: BTreeMap<u32, usize>,
    /// The same for the names in a directory.
    covered_names: BTreeMap<String, usize>,
    /// The same for everything.
    covered_all: usize,
    /// Changes of names before this index are kept in any case.
    names_until: usize,
}

impl<'a> Replay<'a> {
    fn new(events: &'a [Event], loss: Loss) -> Self {
        let mut random = Random(match loss {
            Loss::SomeWrites(seed) | Loss::SomePages(seed) => seed,
            Loss::Everything | Loss::Nothing => 0,
        });
        let names_until = match loss {
            Loss::Everything => 0,
            Loss::Nothing => events.len(),
            Loss::SomeWrites(_) | Loss::SomePages(_) => random.below(events.len() as u64 + 1) as usize,
        };
        let mut replay =
            Self { events, loss, random, covered: BTreeMap::new(), covered_names: BTreeMap::new(), covered_all: 0, names_until };
        let mut directories = BTreeMap::new();
        for event in events {
            let until = event.offset as usize;
            match event.kind {
                Kind::File if event.flags & DIRECTORY != 0 => drop(directories.insert(event.file, text(&event.bytes))),
                Kind::Fsync | Kind::Fdatasync => {
                    raise(replay.covered.entry(event.file).or_default(), until);
                    if let Some(path) = directories.get(&event.file) {
                        raise(replay.covered_names.entry(path.clone()).or_default(), until);
                    }
                }
                Kind::SyncAll => raise(&mut replay.covered_all, until),
                _ => {}
            }
        }
        replay
    }

    fn run(mut self, before: &Image) -> Image {
        let mut disk = Disk::new(before);
        // What of each number's file is read and written: the number of its content on the disk.
        let mut contents: BTreeMap<u32, usize> = BTreeMap::new();
        // Two passes over one log: names as the process saw them decide which file an event means.
        let mut seen = Disk::new(before);
        // A later process numbers the files anew, and may sync what an earlier one wrote.
        let numbers = self.aliases(before);
        for (at, event) in self.events.iter().enumerate() {
            let number = numbers.get(&event.file).copied().unwrap_or(event.file);
            match event.kind {
                Kind::File if event.flags & DIRECTORY == 0 => {
                    let path = text(&event.bytes);
                    if event.flags & MADE != 0 {
                        let content = disk.new_content();
                        seen.new_content();
                        seen.names.insert(path.clone(), content);
                        contents.insert(number, content);
                        if self.keeps_name(at, &[&path]) && disk.has_parent(&path) {
                            disk.names.insert(path, content);
                        }
                    } else {
                        contents.entry(number).or_insert_with(|| {
                            seen.names.get(&path).copied().unwrap_or_else(|| {
                                seen.new_content();
                                disk.new_content()
                            })
                        });
                    }
                }
                Kind::Write | Kind::Truncate | Kind::Allocate => {
                    if let Some(&content) = contents.get(&number) {
                        let kept = event.flags & SYNCED != 0 || self.is_covered(at, number, &numbers);
                        self.write(&mut disk.contents[content], event, kept);
                    }
                }
                Kind::Unlink | Kind::Rename | Kind::Mkdir | Kind::Rmdir | Kind::Link => {
                    seen.change(event);
                    let text = text(&event.bytes);
                    let paths: Vec<&str> = text.split('\0').collect();
                    if self.keeps_name(at, &paths) {
                        disk.change(event);
                    }
                }
                _ => {}
            }
        }
        disk.image()
    }

    /// For each number of a file, the number under which the recording met it first.
    fn aliases(&self, before: &Image) -> BTreeMap<u32, u32> {
        let mut seen = Disk::new(before);
        let mut first: BTreeMap<usize, u32> = BTreeMap::new();
        let mut aliases = BTreeMap::new();
        for event in self.events {
            match event.kind {
                Kind::File if event.flags & DIRECTORY == 0 => {
                    let path = text(&event.bytes);
                    let known = if event.flags & MADE != 0 { None } else { seen.names.get(&path).copied() };
                    let content = known.unwrap_or_else(|| seen.new_content());
                    if !path.ends_with(" (deleted)") {
                        seen.names.insert(path, content);
                    }
                    aliases.insert(event.file, *first.entry(content).or_insert(event.file));
                }
                Kind::Unlink | Kind::Rename | Kind::Mkdir | Kind::Rmdir | Kind::Link => seen.change(event),
                _ => {}
            }
        }
        aliases
    }

    fn is_covered(&self, at: usize, number: u32, aliases: &BTreeMap<u32, u32>) -> bool {
        let same = aliases.iter().filter(|(_, first)| **first == number).map(|(file, _)| file);
        let covered = same.filter_map(|file| self.covered.get(file)).max().copied().unwrap_or(0);
        at < covered.max(self.covered_all)
    }

    fn keeps_name(&self, at: usize, paths: &[&str]) -> bool {
        let synced = |path: &&str| self.covered_names.get(parent(path)).is_some_and(|&until| at < until);
        at < self.names_until.max(self.covered_all) || paths.iter().any(synced)
    }

    fn write(&mut self, content: &mut Vec<u8>, event: &Event, kept: bool) {
        let chosen = |random: &mut Random| random.below(2) == 0;
        match (event.kind, self.loss) {
            (Kind::Write, Loss::SomePages(_)) if !kept => {
                let mut at = event.offset;
                let mut rest = event.bytes.as_slice();
                while !rest.is_empty() {
                    let (page, after) = rest.split_at(rest.len().min((PAGE - at % PAGE) as usize));
                    if chosen(&mut self.random) {
                        place(content, at, page);
                    }
                    at += page.len() as u64;
                    rest = after;
                }
            }
            (_, Loss::SomeWrites(_) | Loss::SomePages(_)) if !kept && !chosen(&mut self.random) => {}
            (_, Loss::Everything) if !kept => {}
            (Kind::Write, _) => place(content, event.offset, &event.bytes),
            (Kind::Truncate, _) => content.resize(event.offset as usize, 0),
            (_, _) => allocate(content, event),
        }
    }
}

/// Contents, and names for them.
#[derive(Default)]
struct Disk {
    contents: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    directories: BTreeSet<String>,
}

impl Disk {
    fn new(image: &Image) -> Self {
        let mut disk = Self { directories: image.directories.clone(), ..Self::default() };
        for (path, bytes) in &image.files {
            let content = disk.new_content();
            disk.contents[content] = bytes.clone();
            disk.names.insert(path.clone(), content);
        }
        disk
    }

    fn new_content(&mut self) -> usize {
        self.contents.push(Vec::new());
        self.contents.len() - 1
    }

    fn has_parent(&self, path: &str) -> bool {
        let parent = parent(path);
        parent.is_empty() || self.directories.contains(parent)
    }

    fn change(&mut self, event: &Event) {
        let text = text(&event.bytes);
        let (from, to) = text.split_once('\0').unwrap_or((&text, ""));
        match event.kind {
            Kind::Mkdir if self.has_parent(from) => drop(self.directories.insert(from.to_owned())),
            Kind::Rmdir => drop(self.directories.remove(from)),
            Kind::Unlink => drop(self.names.remove(from)),
            Kind::Link if self.has_parent(to) => {
                if let Some(&content) = self.names.get(from) {
                    self.names.insert(to.to_owned(), content);
                }
            }
            Kind::Rename if to.is_empty() || self.has_parent(to) => self.rename(from, to, event.flags & EXCHANGED != 0),
            _ => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str, exchanged: bool) {
        if self.directories.remove(from) {
            let below = format!("{from}/");
            let moved = |path: &String| path.strip_prefix(&below).map(|rest| format!("{to}/{rest}"));
            self.names = std::mem::take(&mut self.names).into_iter().map(|(path, n)| (moved(&path).unwrap_or(path), n)).collect();
            self.directories = self.directories.iter().map(|path| moved(path).unwrap_or_else(|| path.clone())).collect();
            self.directories.insert(to.to_owned());
            return;
        }
        // A name from elsewhere or to elsewhere is empty.
        let Some(content) = self.names.remove(from) else { return };
        let other = if to.is_empty() { None } else { self.names.insert(to.to_owned(), content) };
        if let (true, Some(other)) = (exchanged, other) {
            self.names.insert(from.to_owned(), other);
        }
    }

    fn image(self) -> Image {
        let whole = |path: &String| {
            let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            parents.all(|parent| self.directories.contains(parent))
        };
        let files = self.names.iter().filter(|(path, _)| whole(path)).map(|(path, &n)| (path.clone(), self.contents[n].clone()));
        Image { files: files.collect(), directories: self.directories.iter().filter(|path| whole(path)).cloned().collect() }
    }
}

fn place(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (from, to) = (at as usize, at as usize + bytes.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

/// `fallocate`: mode 0 makes the file longer, 1 keeps its size, 2 and 3 (punch) and 16 (zero) write zeros.
fn allocate(content: &mut Vec<u8>, event: &Event) {
    let length = event.bytes[..8].iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    let end = (event.offset + length) as usize;
    let (keeps_size, zeroes) = (event.bytes[8] & 1 != 0, event.bytes[8] & !1 != 0);
    if !keeps_size && content.len() < end {
        content.resize(end, 0);
    }
    let end = end.min(content.len());
    if zeroes && (event.offset as usize) < end {
        content[event.offset as usize..end].fill(0);
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("our paths are UTF-8")
}

fn raise(place: &mut usize, to: usize) {
    *place = (*place).max(to);
}

/// Knuth's generator; tests are the same every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
