//! The recorder itself: what it keeps and loses must be known before anything is shown with it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::recorder::{Loss, Recording, record};

/// Runs an ignored test of this binary as a process of its own, recorded, and gives the directory and the log.
pub(super) fn run(test: &str, home: &Path, setting: &str) -> (PathBuf, PathBuf) {
    let (directory, log) = (home.join("watched"), home.join("log"));
    fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("OUBLIETTE_TEST_DIR", &directory).env("OUBLIETTE_TEST_SETTING", setting);
    record(&mut command, &directory, &log);
    let done = command.output().unwrap();
    let ended = if setting.ends_with("abort") { done.status.signal() == Some(6) } else { done.status.success() };
    assert!(ended, "{}", String::from_utf8_lossy(&done.stderr));
    (directory, log)
}

/// Where the recorded process works; `None` when this is not one.
pub(super) fn place() -> Option<(PathBuf, String)> {
    Some((std::env::var_os("OUBLIETTE_TEST_DIR")?.into(), std::env::var("OUBLIETTE_TEST_SETTING").ok()?))
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn writes_of_every_kind() {
    let Some((directory, _)) = place() else { return };
    let at = |name: &str| directory.join(name);
    let mut file = File::create(at("synced")).unwrap();
    file.write_all(b"one").unwrap();
    file.try_clone().unwrap().write_all(b"two").unwrap();
    file.sync_data().unwrap();
    file.write_all(b"three").unwrap();
    fs::create_dir(at("deep")).unwrap();
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(0o10000).open(at("deep/dsync")).unwrap();
    file.write_at(b"kept", 5000).unwrap();
    File::open(at("deep")).unwrap().sync_all().unwrap();
    File::open(&directory).unwrap().sync_all().unwrap();
    fs::write(at("old"), b"content").unwrap();
    File::open(at("old")).unwrap().sync_all().unwrap();
    fs::rename(at("old"), at("new")).unwrap();
    fs::copy(at("new"), at("copy")).unwrap();
    File::open(&directory).unwrap().sync_all().unwrap();
    fs::remove_file(at("new")).unwrap();
    OpenOptions::new().write(true).open(at("synced")).unwrap().set_len(1).unwrap();
}

#[test]
fn a_cut_keeps_what_was_synced_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let (directory, log) = run("store::recording::writes_of_every_kind", home.path(), "");
    let recording = Recording::load(&log, None);
    let all = recording.events.len();

    let killed = recording.image(all, Loss::Nothing);
    assert_eq!(killed, crate::recorder::Image::read(&directory), "without a loss the image is the directory");

    let cut = recording.image(all, Loss::Everything);
    let names: Vec<&str> = cut.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["copy", "deep/dsync", "new", "synced"], "the removal was not synced, the rest was");
    assert_eq!(cut.files["synced"], b"onetwo");
    assert_eq!(cut.files["deep/dsync"][5000..], *b"kept");
    assert_eq!(cut.files["new"], b"content");
    assert_eq!(cut.files["copy"], b"", "a name without its bytes");

    assert!(recording.image(3, Loss::Everything).files.is_empty(), "not even a name");
    let written: Vec<u8> = recording.every_byte().flat_map(|(_, _, bytes)| bytes.to_vec()).collect();
    assert_eq!(written, b"onetwothreekeptcontentcontent");
}

#[test]
fn random_cuts_keep_between_nothing_and_everything() {
    let home = tempfile::tempdir().unwrap();
    let (_, log) = run("store::recording::writes_of_every_kind", home.path(), "");
    let recording = Recording::load(&log, None);
    let all = recording.events.len();
    let outcomes: std::collections::BTreeSet<Vec<u8>> =
        (0..50).filter_map(|seed| recording.image(all, Loss::SomeWrites(seed)).files.remove("synced")).collect();
    let possible: [&[u8]; 4] = [b"o", b"onetwo", b"onetwothree", b""];
    assert!(outcomes.iter().all(|bytes| possible.contains(&bytes.as_slice())), "{outcomes:?}");
    assert!(outcomes.len() >= 3, "{outcomes:?}");
}
