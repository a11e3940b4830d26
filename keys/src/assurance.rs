//! What the destruction of an epoch key is worth: for a file judged from the file system under it, else said by what encloses it.

use std::fs::File;

/// How surely the key of an epoch that is over is gone; the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assurance {
    /// Journalled, copy-on-write, stacked, in memory, remote or unknown, or out of reach: an old slot may survive somewhere.
    BestEffort,
    /// The file system is known to overwrite in place: ext4 (not `data=journal`) or XFS. What a flash translation layer
    /// or a snapshot below keeps is not known.
    File,
    /// A service destroys the key that encloses the slot: now, or on the day that the certificate names.
    Kms,
    /// A token destroyed the key that enclosed the slot. Old copies of the slot's file open nothing.
    Hardware,
}

impl Assurance {
    /// The word a certificate carries.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BestEffort => "best-effort",
            Self::File => "file",
            Self::Kms => "kms",
            Self::Hardware => "hardware",
        }
    }

    /// Judges the place of an open file. Whatever cannot be found out counts against it.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(file: &File) -> Self {
        let (Ok(system), Ok(stat)) = (rustix::fs::fstatfs(file), rustix::fs::fstat(file)) else { return Self::BestEffort };
        // chattr +j journals the contents of this one file, whatever the mount says.
        if rustix::fs::ioctl_getflags(file).is_ok_and(|flags| flags.contains(rustix::fs::IFlags::JOURNALING)) {
            return Self::BestEffort;
        }
        let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Self::BestEffort };
        let device = format!("{}:{}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let judged = judge(&mounts, &device, u64::try_from(system.f_type).unwrap_or(0));
        match judged {
            // A default mount option kept in the superblock (tune2fs -o journal_data) shows only here.
            Some(source) if ext4_journals_contents(source) => Self::BestEffort,
            Some(_) => Self::File,
            None => Self::BestEffort,
        }
    }

    /// Nothing is known about other systems.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_: &File) -> Self {
        Self::BestEffort
    }
}

#[cfg(target_os = "linux")]
const EXT4: u64 = 0xef53;
#[cfg(target_os = "linux")]
const XFS: u64 = 0x5846_5342;

/// The device that holds the file, when every mount of it overwrites in place.
#[cfg(target_os = "linux")]
fn judge<'a>(mountinfo: &'a str, device: &str, magic: u64) -> Option<&'a str> {
    let mut source = None;
    for line in mountinfo.lines() {
        // 36 35 98:0 /dir /mount rw,noatime master:1 - ext4 /dev/sda1 rw,data=ordered      (proc_pid_mountinfo(5))
        let Some((before, after)) = line.split_once(" - ") else { continue };
        if before.split(' ').nth(2) != Some(device) {
            continue;
        }
        let mut after = after.split(' ');
        let (kind, from, options) = (after.next()?, after.next()?, after.next()?);
        let in_place = match kind {
            "ext4" => magic == EXT4 && !options.split(',').any(|option| option == "data=journal"),
            "xfs" => magic == XFS,
            _ => false,
        };
        if !in_place {
            return None;
        }
        source = Some(from);
    }
    source
}

#[cfg(target_os = "linux")]
fn ext4_journals_contents(source: &str) -> bool {
    let Some(name) = source.strip_prefix("/dev/") else { return false };
    if name.contains('/') || name.contains("..") {
        return false;
    }
    std::fs::read_to_string(format!("/proc/fs/ext4/{name}/options"))
        .is_ok_and(|options| options.lines().any(|option| option == "data=journal"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 8:2 / /j rw - ext4 /dev/sda2 rw,data=journal
24 22 8:3 / /x rw - xfs /dev/sda3 rw,attr2
25 22 0:44 / /o rw - overlay overlay rw,lowerdir=/a
26 22 0:45 / /t rw - tmpfs tmpfs rw";

    #[test]
    fn ext4_and_xfs_overwrite_in_place() {
        assert_eq!(judge(MOUNTS, "8:1", EXT4), Some("/dev/sda1"));
        assert_eq!(judge(MOUNTS, "8:3", XFS), Some("/dev/sda3"));
    }

    #[test]
    fn a_journalled_a_stacked_and_an_unknown_place_are_best_effort() {
        assert_eq!(judge(MOUNTS, "8:2", EXT4), None);
        assert_eq!(judge(MOUNTS, "0:44", 0x794c_7630), None);
        assert_eq!(judge(MOUNTS, "0:45", 0x0102_1994), None);
        assert_eq!(judge(MOUNTS, "9:9", EXT4), None);
        assert_eq!(judge(MOUNTS, "8:1", XFS), None, "the mount table and statfs must agree");
    }
}
