//! Landlock: the process reaches the files that the configuration names and what the system's libraries read, and executes nothing.
//!
//! A rule holds for a file or a folder with everything below, and for what is there when the vault starts: a disk that is mounted
//! later has to be named by a folder above it (`writable`). Addresses: it listens on the configured ports alone; whom it connects
//! to is not restricted, because webhooks and mail servers are anywhere.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Outcome;
use crate::config::Config;

/// What is asked of the kernel. An older one gives what it has.
const KNOWN: ABI = ABI::V6;

/// What the C library, the resolver, the TLS roots and a vendor's module read.
const SYSTEM: [&str; 21] = [
    "/bin",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/opt",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys",
    "/proc/swaps",
    "/run",
    "/sys",
    "/usr",
];

/// Whether this kernel has Landlock: asked for as a requirement, nothing is restricted.
pub(in crate::cli) fn is_there() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1));
    ruleset.is_ok_and(|ruleset| ruleset.create().is_ok())
}

/// Confines this thread and those that it starts.
pub(super) fn confine(config: &Config) -> Result<Outcome, String> {
    restrict(config).map_err(|error| error.to_string())
}

fn restrict(config: &Config) -> Result<Outcome, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Everything but to execute, and to make devices.
    let write = AccessFs::from_all(KNOWN) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    let ports = std::iter::once(config.server.listen).chain(config.metrics.listen).map(|address| address.port());
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(beneath(SYSTEM.iter().map(PathBuf::from), read))?
        .add_rules(beneath(readable(config), read))?
        .add_rules(beneath(writable(config), write))?
        .add_rules(beneath([PathBuf::from("/dev/null")], AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(ports.map(|port| Ok::<_, landlock::RulesetError>(NetPort::new(port, AccessNet::BindTcp))))?;
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Outcome::On,
        RulesetStatus::PartiallyEnforced => Outcome::Partly,
        RulesetStatus::NotEnforced => Outcome::Unavailable,
    })
}

/// A rule for each of these that is there.
fn beneath(
    paths: impl IntoIterator<Item = PathBuf>,
    access: BitFlags<AccessFs>,
) -> impl Iterator<Item = Result<PathBeneath<PathFd>, landlock::RulesetError>> {
    landlock::path_beneath_rules(paths, access)
}

/// Variables of the environment that name a file or folder which a library reads: certificates, a token's configuration, credentials of
/// a cloud.
const VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SOFTHSM2_CONF",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// What is read beside the vault's own folder: the folders of files that the configuration names, because such a file is replaced by
/// renaming another one over it.
fn readable(config: &Config) -> Vec<PathBuf> {
    let oidc = config.oidc.as_ref();
    // Those that may be relative; absolute ones are all in `paths`.
    let named = [
        config.tls.certificate.as_ref(),
        config.tls.key.as_ref(),
        config.tls.client_ca.as_ref(),
        config.custody.module.as_ref(),
        config.custody.pin_file.as_ref(),
        config.post.ca_file.as_ref(),
        config.post.smtp_password_file.as_ref(),
        oidc.and_then(|oidc| oidc.jwks_file.as_ref()),
        oidc.and_then(|oidc| oidc.jwks_ca.as_ref()),
    ];
    let custody = &config.custody;
    let of_custody = [
        &custody.kms_ca_file,
        &custody.kms_credentials_file,
        &custody.transit_ca_file,
        &custody.transit_token_file,
        &custody.transit_secret_id_file,
    ];
    // These are looked for from the vault's folder on.
    let of_custody = of_custody.into_iter().flatten().map(|file| config.dir.join(file));
    let absolute = config.paths.iter().filter(|named| named.section != "hardening").map(|named| named.path.clone());
    let variables = VARIABLES.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let files = named.into_iter().flatten().cloned().chain(of_custody).chain(absolute).chain(variables);
    // A name may lead elsewhere (certbot, Kubernetes): what it leads to is replaced in its own folder.
    let with_targets = files.flat_map(|file| [std::fs::canonicalize(&file).ok(), Some(file)]).flatten();
    let folders = with_targets.filter_map(|file| folder_of(&file));
    folders.chain(config.hardening.readable.iter().cloned()).chain(credentials()).collect()
}

/// Where the libraries of clouds look for credentials on their own.
fn credentials() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".aws")).filter(|folder| folder.is_dir())
}

/// What is written: the vault's folder, where backups, letters and places of the keyring go, and the files of a SoftHSM token.
fn writable(config: &Config) -> Vec<PathBuf> {
    let mut all = vec![config.dir.clone()];
    all.extend(config.backup.target.iter().chain(&config.backup.targets).map(|target| nearest(target)));
    all.extend(config.post.maildir.iter().map(|folder| nearest(&config.dir.join(folder))));
    let is_written = |section: &str, setting: &str| matches!((section, setting), ("backup", _) | ("keyring", "path"));
    let written = config.paths.iter().filter(|named| is_written(&named.section, &named.setting));
    all.extend(written.map(|named| nearest(&named.path)));
    if config.paths.iter().any(|named| named.setting == "module") || config.custody.module.is_some() {
        all.extend(softhsm_tokens());
    }
    all.extend(config.hardening.writable.iter().cloned());
    all
}

/// The folder that a file lies in; the file itself where that would be everything.
fn folder_of(file: &Path) -> Option<PathBuf> {
    if file.is_dir() {
        return Some(file.to_owned());
    }
    let parent = file.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    Some(if parent == Path::new("/") { file.to_owned() } else { parent.to_owned() })
}

/// The folder, or the nearest one above that is there, short of everything.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|one| one.is_dir() && *one != Path::new("/"));
    there.unwrap_or(folder).to_owned()
}

/// `directories.tokendir` of SoftHSM's configuration (softhsm2.conf(5)): its tokens are files.
fn softhsm_tokens() -> Vec<PathBuf> {
    let named = std::env::var_os("SOFTHSM2_CONF").map(PathBuf::from);
    let own = std::env::home_dir().map(|home| home.join(".config/softhsm2/softhsm2.conf"));
    let known = [named, own, Some(PathBuf::from("/etc/softhsm/softhsm2.conf")), Some(PathBuf::from("/etc/softhsm2.conf"))];
    let texts = known.into_iter().flatten().filter_map(|file| std::fs::read_to_string(file).ok());
    texts.flat_map(|text| text.lines().filter_map(token_folder).collect::<Vec<_>>()).collect()
}

fn token_folder(line: &str) -> Option<PathBuf> {
    let (name, value) = line.split_once('=')?;
    (name.trim() == "directories.tokendir").then(|| PathBuf::from(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NamedPath;

    #[test]
    fn what_the_configuration_does_not_name_is_out_of_reach() {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        for folder in ["vault", "elsewhere", "backup", "more"] {
            std::fs::create_dir(place(folder)).unwrap();
            std::fs::write(place(folder).join("file"), folder).unwrap();
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut config = Config { dir: place("vault"), ..Config::default() };
        config.server.listen = free;
        config.backup.target = Some(place("backup"));
        config.hardening.readable = vec![place("more")];
        let paths = ["vault", "backup", "more", "elsewhere"].map(|folder| place(folder).join("file"));
        // A rule of one thread: the other tests of this process go on without it.
        let alone = std::thread::spawn(move || {
            assert_eq!(confine(&config), Ok(Outcome::On), "these tests need a kernel with Landlock (ABI 6: Linux 6.12)");
            let [vault, backup, more, elsewhere] = paths;
            for path in [&vault, &backup] {
                std::fs::write(path, "new").unwrap();
                std::fs::rename(path, path.with_extension("moved")).unwrap();
            }
            std::fs::read(&more).unwrap();
            std::fs::read("/etc/passwd").unwrap();
            std::net::TcpListener::bind(free).unwrap();
            let denied = |outcome: std::io::Result<()>| outcome.unwrap_err().kind() == std::io::ErrorKind::PermissionDenied;
            assert!(denied(std::fs::write(&more, "x")));
            assert!(denied(std::fs::read(&elsewhere).map(drop)));
            assert!(denied(std::fs::write(elsewhere.with_extension("new"), "x")));
            assert!(denied(std::fs::remove_file(&elsewhere)));
            assert!(denied(std::process::Command::new("/bin/true").status().map(drop)));
            assert!(denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop)));
        });
        alone.join().unwrap();
    }

    #[test]
    fn the_folders_of_named_files_are_readable_and_those_of_backups_writable() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("archive");
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("cert1.pem"), "").unwrap();
        let live = dir.path().join("live");
        std::fs::create_dir(&live).unwrap();
        std::os::unix::fs::symlink(real.join("cert1.pem"), live.join("cert.pem")).unwrap();
        let mut config = Config { dir: dir.path().join("vault"), ..Config::default() };
        config.tls.certificate = Some(live.join("cert.pem"));
        config.backup.target = Some(dir.path().join("disk/not/yet/there"));
        config.hardening.writable = vec!["/mnt".into()];
        let readable = readable(&config);
        assert!(readable.contains(&live) && readable.contains(&std::fs::canonicalize(&real).unwrap()), "{readable:?}");
        let named = |section: &str, setting: &str, path: &str| NamedPath {
            section: section.into(),
            setting: setting.into(),
            path: dir.path().join(path),
        };
        config.paths = vec![named("keyring", "path", "live/keyring"), named("keyring", "pin_file", "archive/pin")];
        assert_eq!(writable(&config), [config.dir.clone(), dir.path().to_owned(), live.clone(), "/mnt".into()]);
    }

    #[test]
    fn a_file_at_the_top_does_not_open_everything() {
        assert_eq!(folder_of(Path::new("/pin")).unwrap(), Path::new("/pin"));
        assert_eq!(folder_of(Path::new("pin")).unwrap(), Path::new("."));
        assert_eq!(nearest(Path::new("/no-such-folder/backup")), Path::new("/no-such-folder/backup"));
    }

    #[test]
    fn the_folder_of_a_softhsm_token_is_found_in_its_configuration() {
        assert_eq!(token_folder("directories.tokendir = /srv/tokens").unwrap(), Path::new("/srv/tokens"));
        assert_eq!(token_folder("# directories.tokendir = /srv/tokens"), None);
        assert_eq!(token_folder("log.level = INFO"), None);
    }
}
