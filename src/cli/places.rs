//! `oubliette keys places`: where the epoch key is kept, one place more, one less, one mended.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::custody::OpenedBy;
use super::engine;
use super::failure::Failure;
use super::folder::Folder;
use super::out::Out;

const EXAMPLES: &str = "\
Examples:
  oubliette keys places list /srv/vault                                              also while it runs
  oubliette keys places add /srv/vault --name second --path /mnt/keys/keyring        of a stopped vault
  oubliette keys places add /srv/vault --name token --path keys/keyring.token --enclosed-by pkcs11 \\
      --module /usr/lib/softhsm/libsofthsm2.so --label epochs --pin-file /etc/oubliette/pin
  oubliette keys places repair /srv/vault --name second
  oubliette keys places remove /srv/vault --name first        then set file = false under [keyring]
  oubliette keys places remove /srv/vault --name second --lost";

/// The keyring may be in several places. They are written in step, and any one opens the vault. The settings are in config.toml.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlacesCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Every place: what it is worth, and whether it is in step
    List(List),
    /// Make one place more; the vault must be stopped
    Add(Add),
    /// Overwrite a place and take it out of the keyring, or give up one that is lost; closes the epoch, whose key was there
    Remove(Remove),
    /// Write a place anew from the others, one that was lost too; the vault must be stopped
    Repair(Repair),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct List {
    #[command(flatten)]
    folder: Folder,
}

/// What can enclose a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EnclosedBy {
    /// A token, with a key for each epoch that it destroys
    Pkcs11,
    /// AWS KMS as [custody] reaches it, with a key for each epoch whose deletion it schedules
    AwsKms,
    /// The transit engine that [custody] reaches, with a version of a key for each epoch that it trims
    Transit,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Add {
    #[command(flatten)]
    folder: Folder,
    /// What it is called: 1 to 24 of a to z, digits and -
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its file, in a folder of mode 0700; written into config.toml unless the place stands there
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// What encloses it
    #[arg(long, value_name = "WHAT", requires = "path")]
    enclosed_by: Option<EnclosedBy>,
    /// The PKCS#11 module of the token's vendor; that of [custody] unless told
    #[arg(long, value_name = "FILE", requires = "enclosed_by")]
    module: Option<PathBuf>,
    /// The label of the token; that of [custody] unless told
    #[arg(long, value_name = "LABEL", requires = "enclosed_by")]
    label: Option<String>,
    /// A file (mode 0600) with the token's PIN; that of [custody] unless told
    #[arg(long, value_name = "FILE", requires = "enclosed_by")]
    pin_file: Option<PathBuf>,
    /// The key of the transit engine that is this place's alone
    #[arg(long, value_name = "NAME", requires = "enclosed_by")]
    transit_key: Option<String>,
    #[command(flatten)]
    opened_by: OpenedBy,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Remove {
    #[command(flatten)]
    folder: Folder,
    /// Which
    #[arg(long, value_name = "NAME")]
    name: String,
    /// It is gone for good: certificates name it from then on, with the epoch whose key it has
    #[arg(long)]
    lost: bool,
    #[command(flatten)]
    opened_by: OpenedBy,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Repair {
    #[command(flatten)]
    folder: Folder,
    /// Which
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    opened_by: OpenedBy,
}

impl PlacesCommand {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        match self.action {
            Action::List(list) => list.run(out),
            Action::Add(add) => add.run(out),
            Action::Remove(remove) => remove.run(out),
            Action::Repair(repair) => repair.run(out),
        }
    }
}

impl List {
    fn run(self, out: Out) -> Result<(), Failure> {
        let found = engine::places_found(self.folder.path())?;
        let mut text = String::new();
        let mut values = Vec::new();
        for place in &found {
            let epoch = place.epoch.map_or_else(|| "–".into(), |epoch| epoch.to_string());
            let why = place.why.as_deref().unwrap_or_default();
            let (name, state, path) = (&place.name, place.state, place.path.display());
            text += &format!("{name:<24} {state:<9} epoch {epoch:<6} {:<11} {:<9} {path}  {why}\n", place.assurance, place.kind);
            values.push(json!({ "name": name, "state": state, "epoch": place.epoch, "destroy_assurance": place.assurance,
                "kind": place.kind, "path": place.path, "why": place.why }));
        }
        out.result(&text, &json!({ "places": values }));
        Ok(())
    }
}

impl Add {
    fn run(self, out: Out) -> Result<(), Failure> {
        let dir = self.folder.path();
        let holder = self.opened_by.holder(dir)?;
        engine::harden();
        let before = engine::name_place(dir, &self.name, &self.settings())?;
        engine::add_place(dir, &self.name, holder).inspect_err(|_| {
            let undone = before.map_or(Ok(()), |before| engine::unname_place(dir, &self.name, &before));
            if undone.is_err() {
                out.note("config.toml still names the place: take it out, or try again");
            }
        })?;
        let name = &self.name;
        out.result(
            &format!("The keyring is in `{name}` too, which opens the vault alone if need be."),
            &json!({ "added": name }),
        );
        Ok(())
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut settings = Vec::new();
        if let Some(path) = &self.path {
            settings.push(("path", text(path)));
        }
        if let Some(what) = self.enclosed_by.and_then(|what| what.to_possible_value()) {
            settings.push(("enclosed_by", what.get_name().to_owned()));
        }
        settings.extend(self.module.as_deref().map(|module| ("module", text(module))));
        settings.extend(self.label.clone().map(|token| ("token", token)));
        settings.extend(self.pin_file.as_deref().map(|pin| ("pin_file", text(pin))));
        settings.extend(self.transit_key.clone().map(|key| ("transit_key", key)));
        settings
    }
}

impl Remove {
    fn run(self, out: Out) -> Result<(), Failure> {
        let (dir, name) = (self.folder.path(), &self.name);
        let holder = self.opened_by.holder(dir)?;
        engine::harden();
        engine::remove_place(dir, name, self.lost, holder)?;
        let file = dir.join("config.toml");
        let setting = match name.as_str() {
            keys::keyring::FIRST => format!("set file = false under [keyring] in {}", file.display()),
            _ => format!("take its [[keyring.place]] out of {}", file.display()),
        };
        let done = if self.lost { "is given up: certificates name it" } else { "is overwritten and no place any more" };
        out.result(
            &format!(
                "`{name}` {done}, and the epoch whose key was there is closed.\nNow {setting}: the vault does not open before."
            ),
            &json!({ "removed": name, "lost": self.lost }),
        );
        Ok(())
    }
}

impl Repair {
    fn run(self, out: Out) -> Result<(), Failure> {
        let (dir, name) = (self.folder.path(), &self.name);
        let holder = self.opened_by.holder(dir)?;
        engine::harden();
        engine::repair_place(dir, name, holder)?;
        out.result(&format!("`{name}` was written anew and is in step."), &json!({ "repaired": name }));
        Ok(())
    }
}
