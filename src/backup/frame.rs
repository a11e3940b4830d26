//! The one form of every file of a backup that grows: a header, then frames, each chained to the one before.
//!
//! ```text
//! header   0  8  "PVBACKF1"
//!          8  1  kind: 1 rows of a base, 2 log of batches, 3 entries of the trail
//!          9  7  zeros
//!         16 16  vault
//!         32  8  first: rows, the number of the part; log, of its first batch; trail, the index of its first entry
//!         40  8  zeros
//!         48 16  check = SHA-256(bytes 0..48)[0..16]
//! frame    0  4  length n
//!          4  8  number: rows, of the frame; log, of the batch; trail, the index of its first entry
//!         12  n  what it holds
//!       12+n 16  check = SHA-256("pv1/backup" ‖ the check before ‖ bytes 0..12+n)[0..16]
//!
//! rows and log   for each row: key length u16 ‖ key ‖ value length u32, all ones where the row is removed ‖ value
//! trail          for each entry: length u32 ‖ canonical entry
//! ```
//!
//! A frame that ends before its check is a file that was cut off; one whose check is another is damaged.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keys::Id;
use keys::digest::sha256;

use crate::store::MAX_VALUE;

use super::BackupError;

/// Bytes of a header.
pub(crate) const HEADER: u64 = 64;
const MAGIC: &[u8; 8] = b"PVBACKF1";
const CHECK: usize = 16;
const REMOVED: u32 = u32::MAX;
/// Bytes that a frame may hold. The largest batch is that of a transition with very many erasures.
const LARGEST: u32 = 1 << 30;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rows = 1,
    Log = 2,
    Trail = 3,
}

/// The check of a header or a frame.
pub(crate) type Check = [u8; CHECK];

/// A row's key with its value; `None` is a row that was removed.
pub(crate) type RowWritten = (Vec<u8>, Option<Vec<u8>>);

/// The same within the bytes of a frame.
pub(crate) type RowIn<'a> = (&'a [u8], Option<&'a [u8]>);

fn header(kind: Kind, vault: &Id, first: u64) -> [u8; HEADER as usize] {
    let mut bytes = [0; HEADER as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = kind as u8;
    bytes[16..32].copy_from_slice(vault);
    bytes[32..40].copy_from_slice(&first.to_be_bytes());
    let check = cut(&sha256(&[&bytes[..48]]));
    bytes[48..].copy_from_slice(&check);
    bytes
}

fn cut(digest: &[u8; 32]) -> Check {
    let mut check = [0; CHECK];
    check.copy_from_slice(&digest[..CHECK]);
    check
}

fn chained(before: &Check, head: &[u8], payload: &[u8]) -> Check {
    cut(&sha256(&[b"pv1/backup", before, head, payload]))
}

/// A file that frames are appended to.
pub(crate) struct FrameWriter {
    file: File,
    path: PathBuf,
    check: Check,
    length: u64,
}

impl FrameWriter {
    /// A new file; one of the same name is replaced.
    pub(crate) fn create(path: &Path, kind: Kind, vault: &Id, first: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let header = header(kind, vault, first);
        file.write_all(&header)?;
        let mut check = [0; CHECK];
        check.copy_from_slice(&header[48..]);
        Ok(Self { file, path: path.to_owned(), check, length: HEADER })
    }

    /// A file that was read up to `length`, where its chain stands at `check`; whatever follows is cut off.
    pub(crate) fn resume(path: &Path, length: u64, check: Check) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(Self { file, path: path.to_owned(), check, length })
    }

    /// Adds a frame: with the operating system when this returns, not yet durable. After an error the file is good for
    /// [`roll_back`](Self::roll_back) only.
    pub(crate) fn append(&mut self, number: u64, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= LARGEST);
        let length = length.ok_or(io::Error::from(io::ErrorKind::FileTooLarge))?;
        let head = [length.to_be_bytes().as_slice(), &number.to_be_bytes()].concat();
        let check = chained(&self.check, &head, payload);
        let frame = [head.as_slice(), payload, &check].concat();
        self.file.write_all(&frame)?;
        self.check = check;
        self.length += frame.len() as u64;
        Ok(())
    }

    /// Takes everything after `length` back, where the chain stood at `check`.
    pub(crate) fn roll_back(&mut self, (length, check): (u64, Check)) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        (self.length, self.check) = (length, check);
        Ok(())
    }

    /// Makes everything so far durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether the file that has this name now ends in what was written last: the name, so that a target that was taken away from
    /// under an open file is noticed.
    pub(crate) fn holds_its_end(&self) -> io::Result<bool> {
        let mut end = [0; CHECK];
        let file = File::open(&self.path)?;
        file.read_exact_at(&mut end, self.length - CHECK as u64)?;
        Ok(end == self.check && file.metadata()?.len() == self.length)
    }

    /// Where the file and its chain stand.
    pub(crate) fn place(&self) -> (u64, Check) {
        (self.length, self.check)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A frame as it was read.
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) payload: Vec<u8>,
}

/// Reads a file's frames in order, one in memory at a time.
pub(crate) struct FrameReader {
    file: BufReader<File>,
    name: String,
    check: Check,
    length: u64,
    size: u64,
}

impl FrameReader {
    /// Opens a file of this kind and vault.
    pub(crate) fn open(path: &Path, kind: Kind, vault: &Id) -> Result<Self, BackupError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::CutOff(name.clone()),
            io::ErrorKind::NotFound => BackupError::Missing(name.clone()),
            _ => BackupError::File(name.clone(), error),
        };
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut bytes = [0; HEADER as usize];
        file.read_exact(&mut bytes).map_err(failed)?;
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[32..40]);
        let first = u64::from_be_bytes(number);
        if &bytes[..8] != MAGIC {
            return Err(BackupError::Damaged(name));
        }
        if bytes[16..32] != vault[..] {
            return Err(BackupError::Foreign(name));
        }
        if bytes != header(kind, vault, first) {
            return Err(BackupError::Damaged(name));
        }
        let mut check = [0; CHECK];
        check.copy_from_slice(&bytes[48..]);
        Ok(Self { file: BufReader::with_capacity(1 << 18, file), name, check, length: HEADER, size })
    }

    /// Goes on from a place that was checked before.
    pub(crate) fn skip_to(&mut self, (length, check): (u64, Check)) -> Result<(), BackupError> {
        if length > self.size {
            return Err(BackupError::CutOff(self.name.clone()));
        }
        self.file.seek(SeekFrom::Start(length)).map_err(|error| BackupError::File(self.name.clone(), error))?;
        (self.length, self.check) = (length, check);
        Ok(())
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, BackupError> {
        let left = self.size - self.length;
        if left == 0 {
            return Ok(None);
        }
        let cut_off = || BackupError::CutOff(self.name.clone());
        if left < (12 + CHECK) as u64 {
            return Err(cut_off());
        }
        let mut head = [0; 12];
        let read = |file: &mut BufReader<File>, bytes: &mut [u8], name: &str| {
            file.read_exact(bytes).map_err(|error| BackupError::File(name.to_owned(), error))
        };
        read(&mut self.file, &mut head, &self.name)?;
        let (length, number) = head.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default());
        let number = u64::from_be_bytes(number.try_into().unwrap_or_default());
        let whole = 12 + u64::from(length) + CHECK as u64;
        if length > LARGEST {
            return Err(BackupError::Damaged(self.name.clone()));
        }
        if left < whole {
            return Err(cut_off());
        }
        let mut payload = vec![0; length as usize];
        read(&mut self.file, &mut payload, &self.name)?;
        let mut check = [0; CHECK];
        read(&mut self.file, &mut check, &self.name)?;
        if check != chained(&self.check, &head, &payload) {
            return Err(BackupError::Damaged(self.name.clone()));
        }
        self.check = check;
        self.length += whole;
        Ok(Some(Frame { number, payload }))
    }

    /// Where the reading stands.
    pub(crate) fn place(&self) -> (u64, Check) {
        (self.length, self.check)
    }

    /// How the file is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Rows as a frame holds them.
pub(crate) fn encode_rows<'a>(rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in rows {
        bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&value.map_or(REMOVED, |value| value.len() as u32).to_be_bytes());
        bytes.extend_from_slice(value.unwrap_or_default());
    }
    bytes
}

/// The rows in a frame; `None` when they are none.
pub(crate) fn decode_rows(bytes: &[u8]) -> Option<Vec<RowWritten>> {
    Some(rows_in(bytes)?.into_iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect())
}

/// The rows in a frame, where they lie in it; `None` when they are none.
pub(crate) fn rows_in(mut bytes: &[u8]) -> Option<Vec<RowIn<'_>>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = match u32::from_be_bytes(*length) {
            REMOVED => (None, rest),
            length if length as usize > MAX_VALUE => return None,
            length => {
                let (value, rest) = rest.split_at_checked(length as usize)?;
                (Some(value), rest)
            }
        };
        rows.push((key, value));
        bytes = rest;
    }
    Some(rows)
}

/// Entries as a frame holds them.
pub(crate) fn push_entry(bytes: &mut Vec<u8>, entry: &[u8]) {
    bytes.extend_from_slice(&(entry.len() as u32).to_be_bytes());
    bytes.extend_from_slice(entry);
}

/// The entries in a frame; `None` when they are none.
pub(crate) fn decode_entries(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (entry, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: Id = [7; 16];

    fn written(dir: &Path) -> PathBuf {
        let path = dir.join("log-1");
        let mut writer = FrameWriter::create(&path, Kind::Log, &VAULT, 1).unwrap();
        writer.append(1, b"one").unwrap();
        writer.append(2, b"two").unwrap();
        assert!(writer.holds_its_end().unwrap());
        path
    }

    fn read(path: &Path) -> Result<Vec<u64>, BackupError> {
        let mut reader = FrameReader::open(path, Kind::Log, &VAULT)?;
        let mut numbers = Vec::new();
        while let Some(frame) = reader.next()? {
            numbers.push(frame.number);
        }
        Ok(numbers)
    }

    #[test]
    fn frames_are_read_as_they_were_written_and_a_file_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        assert_eq!(read(&path).unwrap(), [1, 2]);
        let mut reader = FrameReader::open(&path, Kind::Log, &VAULT).unwrap();
        reader.next().unwrap();
        let (length, check) = reader.place();
        let mut writer = FrameWriter::resume(&path, length, check).unwrap();
        let before = writer.place();
        writer.append(2, b"another two").unwrap();
        writer.append(3, b"three").unwrap();
        assert_eq!(read(&path).unwrap(), [1, 2, 3]);
        writer.roll_back(before).unwrap();
        assert_eq!(read(&path).unwrap(), [1]);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("log-1"), "{error}");
        }
        // Between two frames a cut leaves a whole file; the manifest and the number of the next batch tell it.
        let ends = [HEADER as usize, HEADER as usize + 31];
        for length in (0..whole.len()).filter(|length| !ends.contains(length)) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(read(&path), Err(BackupError::CutOff(_))), "{length}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(matches!(FrameReader::open(&path, Kind::Log, &[8; 16]), Err(BackupError::Foreign(_))));
        assert!(matches!(FrameReader::open(&path, Kind::Rows, &VAULT), Err(BackupError::Damaged(_))));
    }

    #[test]
    fn rows_survive_their_bytes_and_nothing_else_is_taken_for_rows() {
        let rows: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"1")), (b"b", None), (b"c", Some(b""))];
        let bytes = encode_rows(rows.into_iter());
        let decoded = decode_rows(&bytes).unwrap();
        assert_eq!(decoded, [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None), (b"c".to_vec(), Some(Vec::new()))]);
        let wholes = [0, 8, 15, bytes.len()];
        (0..bytes.len()).filter(|at| !wholes.contains(at)).for_each(|at| assert!(decode_rows(&bytes[..at]).is_none(), "{at}"));
        let mut entries = Vec::new();
        push_entry(&mut entries, b"entry");
        assert_eq!(decode_entries(&entries).unwrap(), [b"entry"]);
        assert!(decode_entries(&entries[..5]).is_none());
    }
}
