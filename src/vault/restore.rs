//! Bringing a vault back from a backup target, and trying whether that would work.
//!
//! The base is loaded, the whole log is played over it, the trail is written anew from its copy, and the keyring is asked whether
//! it opens the key trees that came of it. All of that happens in a folder beside, which gets the name `data/` when everything is
//! done. So there is no vault that serves before the last erasure was done again: until then no server starts here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use ::keys::root::Custody;
use ::keys::{Gate, Group, Hierarchy, Id, Keyring, KeysError, Places, RecordContext, Rows, RowsError};

use crate::audit::note::VerifyingKey;
use crate::audit::{self, Entry, Note, Outcome, Trail, TrailError, signers};
use crate::backup::frame::{RowWritten, decode_rows, rows_in};
use crate::backup::replay::{Played, Source};
use crate::backup::{BackupError, Progress, Step, public_key_of, public_keys_of};
use crate::model::ids::{DecisionId, RecordId, SubjectId, VaultId};
use crate::model::time::Clock;
use crate::store::layout::{self, CommitMark, Envelope, RecordHead, RowKey, prefix};
use crate::store::sled::{Settings, SledStore};
use crate::store::{Batch, Store, StoreError};

use super::check::Rows as AllRows;
use super::core::{OWN, TreeRows};
use super::lifecycle::{RESTORING, VaultConfig, private_dir, sync_dir};
use super::records::{label_context, wraps_of};
use super::restoring::UnderWay;
use super::rows::{LabelRow, SubjectRow, unpack};
use super::signers::public_keys;

/// Frames of the backup that wait to be loaded; as many are in memory.
const WAITING: usize = 8;

/// Appends to the trail after which its sync is waited for.
const APPENDS: u64 = 64;

/// Records of one person that a drill reads at most.
const RECORDS: usize = 50;

/// Why nothing was restored. What was written so far is removed by the next try.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// There is a vault's data already.
    #[error("there is data in this folder already: nothing is written over it")]
    Exists,
    /// Another process restores into this folder.
    #[error("another restore into this folder is under way")]
    UnderWay,
    /// The keys are not there.
    #[error(
        "{0} is missing: a backup never holds it. Put keys/root and keys/keyring of this vault into the folder first, mode 0600 in a folder of mode 0700"
    )]
    NoKeys(&'static str),
    /// The keys are another vault's.
    #[error("the keys in this folder are another vault's than the backup")]
    Foreign,
    /// The passphrase is not the one.
    #[error("the passphrase does not open the root key")]
    WrongPassphrase,
    /// The keyring does not open the tree rows of the backup.
    #[error(
        "the keyring does not open the backup's tree rows, which are of epoch {epoch}. Either the target does not hold the newest tree rows, those of the last epoch transition (then the keys of everybody in it died with that epoch), or the keyring is an older copy. {why}"
    )]
    Stale {
        /// Of the newest tree rows in the target.
        epoch: u64,
        /// What stood in the way of newer ones.
        why: String,
    },
    /// The backup has no key tree at all.
    #[error("the backup holds no key tree")]
    NoTree,
    /// The keys.
    #[error("the keys: {0}")]
    Keys(#[from] KeysError),
    /// The store that is being made.
    #[error("the new store: {0}")]
    Store(#[from] StoreError),
    /// The trail that is being made.
    #[error("the new trail: {0}")]
    Trail(#[from] TrailError),
    /// A file of the new vault.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// A row of the backup that the keys should open does not open.
    #[error("the drill could not read {0}")]
    Unreadable(String),
    /// The trail and the rows do not agree.
    #[error("the restored trail does not hold: {0}")]
    Broken(String),
}

/// What came back, and what did not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Whose backup.
    pub vault: VaultId,
    /// The backup's number.
    pub backup: u64,
    /// When it was made.
    pub made_at: jiff::Timestamp,
    /// The base's number.
    pub base: u64,
    /// The last batch that was played: later ones are lost.
    pub last_batch: u64,
    /// Why no further, where something stood in the way.
    pub ended: Option<String>,
    /// Whether a last batch was left out, because the vault never carried it out.
    pub left_out: bool,
    /// The epoch that the vault is in.
    pub epoch: u64,
    /// Erasures of whole people that were done again, since the backup was made.
    pub erased_again: u64,
    /// People with rows.
    pub people: u64,
    /// Entries of the trail that came back.
    pub entries: u64,
    /// Entries of the trail that are known to be lost: from the first up to the second.
    pub lost_entries: Option<(u64, u64)>,
    /// Operations in the trail whose rows are lost: each was voided.
    pub lost_writes: u64,
}

/// What a drill came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Drilled {
    /// What would come back.
    pub restored: Restored,
    /// Files whose every byte was read.
    pub files: usize,
    /// People of whom everything was read.
    pub people: u64,
    /// Records that were decrypted.
    pub records: u64,
    /// Fields that were decrypted.
    pub fields: u64,
    /// Rows that were compared with the trail.
    pub rows_checked: u64,
}

/// Where the keys lie.
pub struct KeyFiles {
    /// The file of the root key.
    pub root: PathBuf,
    /// The keyring, of which one place is enough.
    pub keyring: Places,
}

impl From<&Path> for KeyFiles {
    /// Of a folder with a root key and one plain place of a keyring.
    fn from(folder: &Path) -> Self {
        Self { root: folder.join("root"), keyring: Places::one(folder.join("keyring")) }
    }
}

impl From<&PathBuf> for KeyFiles {
    fn from(folder: &PathBuf) -> Self {
        Self::from(folder.as_path())
    }
}

impl KeyFiles {
    fn check(&self) -> Result<(), RestoreError> {
        if !self.root.exists() {
            return Err(RestoreError::NoKeys("keys/root"));
        }
        match self.keyring.spots.iter().any(|spot| spot.path.exists()) {
            true => Ok(()),
            false => Err(RestoreError::NoKeys("keys/keyring")),
        }
    }

    fn open(&self, vault: Id, holder: &dyn Custody, rows: &dyn Rows, looks: bool) -> Result<(Hierarchy, Gate), KeysError> {
        let root = ::keys::root::open(&self.root, holder)?;
        let places = self.keyring.clone();
        let keyring = if looks { Keyring::look_in(places) } else { Keyring::open_in(places) }?;
        Hierarchy::open(vault, root, keyring, rows)
    }
}

/// Makes `config.dir/data` from the newest backup in `from`, or the one of that number, with the keys in `config.dir/keys`.
///
/// What an earlier try left is removed first, so a restore that was killed is simply started again.
pub fn restore(
    config: &VaultConfig,
    clock: &Clock,
    from: &Path,
    number: Option<u64>,
    holder: &dyn Custody,
    progress: &Progress,
) -> Result<Restored, RestoreError> {
    let data = config.dir.join("data");
    if fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RestoreError::Exists);
    }
    let keys = KeyFiles { root: config.root(), keyring: config.keyring.clone() };
    keys.check()?;
    let under_way = UnderWay::begin(&config.dir).map_err(|error| RestoreError::File("restore.json".into(), error))?;
    let under_way = under_way.ok_or(RestoreError::UnderWay)?;
    under_way.during(progress, || restore_in(config, (&keys, clock), (from, number), holder, progress))
}

fn restore_in(
    config: &VaultConfig,
    (keys, clock): (&KeyFiles, &Clock),
    (from, number): (&Path, Option<u64>),
    holder: &dyn Custody,
    progress: &Progress,
) -> Result<Restored, RestoreError> {
    let data = config.dir.join("data");
    let failed = |name: &'static str| move |error| RestoreError::File(name.into(), error);
    let beside = config.dir.join(RESTORING);
    let _ = fs::remove_dir_all(&beside);
    private_dir(&beside).map_err(failed("the folder beside data/"))?;
    let source = open(from, number)?;
    let vault = *source.manifest.vault.bytes();
    if ::keys::root::vault(&keys.root)? != vault {
        return Err(RestoreError::Foreign);
    }
    let (store, played) = rows_of(&source, &beside, keys, (vault, holder), progress)?;
    let (hierarchy, _gate) = keys.open(vault, holder, &TreeRows(&store), false)?;
    let hierarchy = Arc::new(hierarchy);
    if !public_keys(&hierarchy).contains(&public_key_of(from)?.public) {
        return Err(RestoreError::Foreign);
    }
    let restored = trail_of(&source, (&beside, &store), &hierarchy, (clock, progress), played)?;
    // The trail that the keyring knew went on elsewhere; from here on this one does.
    let head = restored.head;
    hierarchy.checkpoint(head.0, head.1)?;
    let key = VerifyingKey { name: public_key_of(from)?.name, public: hierarchy.public_key() };
    let list = signers::list(&key, &super::signers::read(&store)?);
    drop(store);
    put_public(&config.dir, from, &format!("{key}\n"))?;
    super::signers::put(&config.dir, "vault.keys", &list).map_err(failed("vault.keys"))?;
    let _ = fs::remove_dir(&data);
    fs::rename(&beside, &data).map_err(failed("data/"))?;
    sync_dir(&config.dir).map_err(failed("the vault's folder"))?;
    progress.begin(Step::Done, 0);
    Ok(restored.restored)
}

/// What a drill takes, and how much it reads.
pub struct Drill<'a> {
    /// Root key and keyring, which are looked at and not written to: the vault may be running.
    pub keys: KeyFiles,
    /// Where the scratch copy goes; nothing is left behind there.
    pub scratch: &'a Path,
    /// The target.
    pub from: &'a Path,
    /// The backup; the newest unless told.
    pub number: Option<u64>,
    /// People of whom everything is read.
    pub sample: usize,
}

/// Restores into the scratch folder, reads everything of a sample of the people, and compares every row with the trail.
pub fn drill(drill: &Drill<'_>, clock: &Clock, holder: &dyn Custody, progress: &Progress) -> Result<Drilled, RestoreError> {
    drill.keys.check()?;
    let folder = drill.scratch.join(format!("oubliette-drill-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    private_dir(&folder).map_err(|error| RestoreError::File("the scratch folder".into(), error))?;
    let done = drill_in(drill, &folder, clock, holder, progress);
    // Ciphertext only; and the next drill removes what this one could not.
    let _ = fs::remove_dir_all(&folder);
    if done.is_ok() {
        progress.begin(Step::Done, 0);
    }
    done
}

fn drill_in(
    drill: &Drill<'_>,
    folder: &Path,
    clock: &Clock,
    holder: &dyn Custody,
    progress: &Progress,
) -> Result<Drilled, RestoreError> {
    let keys = &drill.keys;
    let source = open(drill.from, drill.number)?;
    source.check(progress)?;
    let files = source.manifest.files.len();
    let vault = *source.manifest.vault.bytes();
    if ::keys::root::vault(&keys.root)? != vault {
        return Err(RestoreError::Foreign);
    }
    let (store, played) = rows_of(&source, folder, keys, (vault, holder), progress)?;
    let (hierarchy, gate) = keys.open(vault, holder, &TreeRows(&store), true)?;
    let hierarchy = Arc::new(hierarchy);
    let restored = trail_of(&source, (folder, &store), &hierarchy, (clock, progress), played)?.restored;
    let wanted = (drill.sample as u64).min(restored.people);
    progress.begin(Step::Reading, wanted);
    let mut drilled = Drilled { restored, files, people: 0, records: 0, fields: 0, rows_checked: 0 };
    // Ids are random, so people after a random place are a random sample.
    let mut after = [b"s".as_slice(), &::keys::random::bytes::<16>()?].concat();
    let mut around = false;
    while drilled.people < wanted {
        let page = store.scan(b"s", Some(&after), 1)?;
        let Some((key, sealed)) = page.into_iter().next() else {
            if around {
                break;
            }
            (after, around) = (b"s".to_vec(), true);
            continue;
        };
        read_person(&store, &hierarchy, &gate, vault, (&key, &sealed), &mut drilled)?;
        progress.add(1);
        after = key;
    }
    let mut rows = AllRows::of(&store);
    let report = audit::verify(&folder.join("trail"), &hierarchy.public_key(), Some(&mut rows))?;
    if let Some(broken) = report.first_break {
        return Err(RestoreError::Broken(broken.to_string()));
    }
    drilled.rows_checked = report.rows_checked;
    Ok(drilled)
}

fn open(from: &Path, number: Option<u64>) -> Result<Source<'_>, RestoreError> {
    Ok(Source::open(from, &public_keys_of(from)?, number)?)
}

/// What playing the log came to.
struct Rebuilt {
    last: u64,
    ended: Option<String>,
    left_out: bool,
    erased_again: u64,
}

/// What the thread that reads the target hands to the one that loads.
enum Read {
    /// A frame of the base.
    Base(Vec<u8>),
    /// A batch of the log with its number.
    Batch(u64, Vec<u8>),
}

/// The last batch of a log, not loaded, and how far the rest went.
struct Loaded {
    last: Vec<RowWritten>,
    played: Played,
    erased_again: u64,
}

/// Loads the base and plays the log but for its last batch: one thread reads and checks, this one loads. Nothing is durable yet.
fn load(source: &Source<'_>, store: &SledStore, progress: &Progress) -> Result<Loaded, RestoreError> {
    progress.begin(Step::Rows, source.row_bytes()?);
    let (sender, frames) = sync_channel(WAITING);
    std::thread::scope(|threads| {
        let reader = std::thread::Builder::new().name("restore-read".into());
        let reader = reader.spawn_scoped(threads, move || {
            // Whoever loads and went away has an error of its own.
            let send = |read| sender.send(read).map_err(|_| BackupError::Stopped);
            source.base(|frame| send(Read::Base(frame)))?;
            source.log(|number, batch| send(Read::Batch(number, batch)))
        });
        let reader = reader.map_err(|error| RestoreError::File("the thread that reads the backup".into(), error))?;
        let (mut waiting, mut erased_again) = (None, 0);
        let take = |frame: &[u8]| -> Result<(), RestoreError> {
            let rows = rows_in(frame).ok_or_else(|| BackupError::Damaged("rows".into()))?;
            store.load(rows)?;
            progress.add(frame.len() as u64);
            Ok(())
        };
        for read in frames {
            match read {
                Read::Base(frame) => take(&frame)?,
                Read::Batch(number, batch) => {
                    if number > source.manifest.number {
                        let rows = rows_in(&batch).unwrap_or_default();
                        erased_again +=
                            rows.iter().filter(|(key, value)| key.starts_with(b"x") && value.is_some()).count() as u64;
                    }
                    if let Some(before) = waiting.replace(batch) {
                        take(&before)?;
                    }
                }
            }
        }
        let played = reader.join().unwrap_or(Err(BackupError::Stopped))?;
        let last = decode_rows(&waiting.unwrap_or_default()).ok_or_else(|| BackupError::Damaged("log".into()))?;
        Ok(Loaded { last, played, erased_again })
    })
}

/// Every row as the target has it last. They are durable with the mark that [`trail_of`] writes.
fn rows_of(
    source: &Source<'_>,
    folder: &Path,
    keys: &KeyFiles,
    (vault, holder): (Id, &dyn Custody),
    progress: &Progress,
) -> Result<(SledStore, Rebuilt), RestoreError> {
    let store = SledStore::open(&folder.join("db"), Settings::default(), Arc::new(|_| {}))?;
    let Loaded { last, played, erased_again } = load(source, &store, progress)?;
    let put = |rows: Vec<RowWritten>| store.load(rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())));
    let mut rebuilt =
        Rebuilt { last: played.last, ended: played.ended.map(|error| error.to_string()), left_out: false, erased_again };
    // The last batch may be one that the vault was killed before carrying out. Where it opens an epoch, the keyring knows.
    let marker = |rows: &[RowWritten]| rows.iter().any(|(key, _)| key.starts_with(b"n\xff"));
    let with = With { store: &store, last: &last };
    match keys.open(vault, holder, &with, true) {
        Ok(_) => put(last)?,
        Err(KeysError::WrongPassphrase) => return Err(RestoreError::WrongPassphrase),
        Err(KeysError::RolledBack | KeysError::Damaged) if marker(&last) => {
            rebuilt.left_out = true;
            rebuilt.last -= 1;
            match keys.open(vault, holder, &TreeRows(&store), true) {
                Ok(_) => {}
                Err(KeysError::RolledBack | KeysError::Damaged) => return Err(stale(&with, rebuilt)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(KeysError::RolledBack | KeysError::Damaged) => return Err(stale(&with, rebuilt)),
        Err(error) => return Err(error.into()),
    }
    Ok((store, rebuilt))
}

fn stale(rows: &With<'_>, rebuilt: Rebuilt) -> RestoreError {
    let root = RowKey::Tree { map: 255, level: 0, index: 0 }.bytes();
    let epoch = rows.row(&root).ok().flatten().and_then(|row| Some(u64::from_be_bytes(row.get(12..20)?.try_into().ok()?)));
    let Some(epoch) = epoch else { return RestoreError::NoTree };
    let why = rebuilt.ended.map_or_else(String::new, |why| format!("What stood in the way of later rows: {why}."));
    RestoreError::Stale { epoch, why }
}

/// The rows with one more batch that is not in the store yet.
struct With<'a> {
    store: &'a dyn Store,
    last: &'a [RowWritten],
}

impl Rows for With<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        match self.last.iter().rev().find(|(known, _)| known == key) {
            Some((_, value)) => Ok(value.clone()),
            None => TreeRows(self.store).row(key),
        }
    }

    fn tree_rows(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), RowsError> {
        TreeRows(self.store).tree_rows(each)
    }
}

struct WithTrail {
    restored: Restored,
    head: (u64, [u8; 32]),
}

/// Writes the trail anew, says in it what is lost, and voids what was announced and is not there.
fn trail_of(
    source: &Source<'_>,
    (folder, store): (&Path, &SledStore),
    hierarchy: &Arc<Hierarchy>,
    (clock, progress): (&Clock, &Progress),
    rebuilt: Rebuilt,
) -> Result<WithTrail, RestoreError> {
    let manifest = &source.manifest;
    let mark = store.row(&RowKey::Mark.bytes())?.map_or(Ok(CommitMark::default()), |bytes| CommitMark::parse(&bytes))?;
    let signer = Arc::downgrade(hierarchy);
    let sign = move |text: &[u8]| signer.upgrade().map(|hierarchy| hierarchy.sign_as(text));
    let origin = format!("oubliette.local/{}", manifest.vault);
    let (trail, _) = Trail::open(&folder.join("trail"), Arc::new(sign), hierarchy.public_key(), &origin, None)?;
    let (mut voided, mut announced) = (BTreeSet::new(), Vec::new());
    let (mut index, mut appends) = (0, 0_u64);
    let entries = source.trail(progress, |entries| {
        for entry in &entries {
            if let Note::Void { entries } = &entry.note {
                voided.extend(entries.iter().copied());
            }
            if entry.batch > mark.number {
                announced.push(index);
            }
            index += 1;
        }
        let ticket = trail.append(&entries)?;
        appends += 1;
        if appends.is_multiple_of(APPENDS) {
            let _receipt = trail.durable_blocking(ticket)?;
        }
        Ok(())
    })?;
    announced.retain(|index| !voided.contains(index));
    let event = |name: &'static str, outcome, note| -> Result<Entry, RestoreError> {
        let decision = DecisionId::from_bytes(::keys::random::bytes::<16>()?);
        Ok(Entry { note, ..Entry::new(clock.now(), decision, name, outcome, OWN) })
    };
    let (known, root) = hierarchy.last_checkpoint().unwrap_or_default();
    let expected = known.max(mark.entries);
    let lost = expected > entries;
    let mut said = vec![event("restore", Outcome::Done, Note::None)?];
    if lost {
        let root = if known >= mark.entries { root } else { [0; 32] };
        said.insert(0, event("trailLost", Outcome::Done, Note::LostTail { expected, root, found: entries })?);
    }
    let lost_writes = announced.len() as u64;
    if !announced.is_empty() {
        said.push(event("void", Outcome::Void, Note::Void { entries: announced })?);
    }
    let ticket = trail.append(&said)?;
    let _receipt = trail.durable_blocking(ticket)?;
    let head = trail.durable_head();
    trail.close();
    let mut batch = Batch::default();
    batch.put(RowKey::Mark.bytes(), CommitMark { number: mark.number, entries: head.0 }.bytes());
    store.commit(&batch)?;
    let restored = Restored {
        vault: manifest.vault,
        backup: manifest.number,
        made_at: manifest.made_at,
        base: manifest.base,
        last_batch: rebuilt.last,
        ended: rebuilt.ended,
        left_out: rebuilt.left_out,
        epoch: hierarchy.epoch(),
        erased_again: rebuilt.erased_again,
        people: people(store)?,
        entries,
        lost_entries: lost.then_some((entries, expected)),
        lost_writes,
    };
    Ok(WithTrail { restored, head })
}

fn people(store: &SledStore) -> Result<u64, RestoreError> {
    let (mut count, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = store.scan(b"s", after.as_deref(), 1_000)?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        (count, after) = (count + page.len() as u64, Some(last.clone()));
    }
}

/// Opens everything of one person.
fn read_person(
    store: &SledStore,
    hierarchy: &Hierarchy,
    gate: &Gate,
    vault: Id,
    (key, sealed): (&[u8], &[u8]),
    drilled: &mut Drilled,
) -> Result<(), RestoreError> {
    let unreadable = |what: &RowKey| RestoreError::Unreadable(format!("{what:?}"));
    let Some(row_key @ RowKey::Subject(subject)) = RowKey::parse(key) else {
        return Err(RestoreError::Unreadable("a row of a person".into()));
    };
    let opened = hierarchy.subject(&TreeRows(store), subject.bytes())?.ok_or_else(|| unreadable(&row_key))?;
    let plain = opened.open_row(key, sealed).map_err(|_| unreadable(&row_key))?;
    let person: SubjectRow = unpack(plain.bytes()).map_err(|_| unreadable(&row_key))?;
    drilled.people += 1;
    for (key, value) in store.scan(&prefix::records(&subject), None, RECORDS)? {
        let Some(name @ RowKey::Record(_, record)) = RowKey::parse(&key) else { continue };
        let fields = read_record(store, &opened, gate, (vault, person.tenant), (&subject, &record), &value);
        drilled.fields += fields.ok_or_else(|| unreadable(&name))?;
        drilled.records += 1;
    }
    Ok(())
}

/// How many fields of a record open; `None` when it does not open.
fn read_record(
    store: &SledStore,
    keys: &::keys::SubjectKeys,
    gate: &Gate,
    (vault, tenant): (Id, Id),
    (subject, record): (&SubjectId, &RecordId),
    value: &[u8],
) -> Option<u64> {
    let head = RecordHead::parse(value).ok()?;
    let pieces = match head.envelope {
        Envelope::Inline(_) => Vec::new(),
        Envelope::Chunks(chunks) => {
            store.scan(&prefix::overflow_version(subject, record, head.version), None, usize::from(chunks)).ok()?
        }
    };
    let row = layout::join(subject, record, value, &pieces).ok()?;
    let label = keys.open_row(&label_context(subject, record), &row.label).ok()?;
    let _: LabelRow = unpack(label.bytes()).ok()?;
    let context = RecordContext {
        vault,
        tenant,
        subject: *subject.bytes(),
        groups: ::keys::GroupSet::from_bits(row.groups)?,
        record: *record.bytes(),
        version: row.version,
        schema: row.schema,
        label: ::keys::digest::sha256(&[label.bytes()]),
    };
    let group = Group::new(row.wraps.first()?.group)?;
    let permit = gate.permit(*subject.bytes(), group, None, ::keys::random::bytes::<16>().ok()?);
    let key = keys.record_key(&permit, record.bytes(), &wraps_of(&row)).ok()?;
    Some(key.decrypt(&permit, &context, &row.envelope, None).ok()?.len() as u64)
}

/// The public files that a vault's folder has beside its data, where they are missing.
fn put_public(dir: &Path, from: &Path, key_line: &str) -> Result<(), RestoreError> {
    let failed = |name: &'static str| move |error| RestoreError::File(name.into(), error);
    let config = dir.join("config.toml");
    if !config.exists()
        && let Ok(bytes) = fs::read(from.join("public/config.toml"))
    {
        fs::write(&config, bytes).map_err(failed("config.toml"))?;
    }
    fs::write(dir.join("vault.pub"), key_line).map_err(failed("vault.pub"))?;
    fs::File::open(dir.join("vault.pub")).and_then(|file| file.sync_all()).map_err(failed("vault.pub"))
}
