//! The places of a keyring: those of the configuration, how they are found, and changing them on a stopped vault.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keys::enclosure::{Enclosure, KmsEnclosure, TokenEnclosure, TransitEnclosure};
use keys::keyring::{self, FIRST};
use keys::root::{Custody, Pkcs11Settings, TransitSettings};
use keys::{Places, Spot, WhenAway};

use super::super::failure::Failure;
use super::super::private;
use super::{custody, load, runtime, vault_config};
use crate::config::{self, Config, EnclosedBy, PlaceSection};
use crate::model::time::Clock;
use crate::vault::{PlaceChange, PlaceError, Vault, VaultConfig};

/// A place, as `oubliette keys places list` and `oubliette doctor` have it.
pub(in crate::cli) struct PlaceFound {
    /// What it is called.
    pub(in crate::cli) name: String,
    /// Its file.
    pub(in crate::cli) path: PathBuf,
    /// `file`, or what encloses it.
    pub(in crate::cli) kind: &'static str,
    /// What destruction there is worth.
    pub(in crate::cli) assurance: &'static str,
    /// `in-step`, `behind`, `away`, `unlisted`: configured and never written, `unnamed`: written and not configured, `removed`, `given-up`.
    pub(in crate::cli) state: &'static str,
    /// The newest epoch that it holds.
    pub(in crate::cli) epoch: Option<u64>,
    /// Why it is away.
    pub(in crate::cli) why: Option<String>,
}

/// The places that the configuration names.
pub(super) fn of(config: &Config) -> Places {
    let first = config.keyring.file.then(|| Spot { name: FIRST.into(), path: config.dir.join("keys/keyring"), enclosure: None });
    let spots = first.into_iter().chain(config.keyring.place.iter().map(|place| spot(config, place)));
    let when_away = match config.keyring.when_away {
        config::WhenAway::Refuse => WhenAway::Refuse,
        config::WhenAway::GoOn => WhenAway::GoOn,
    };
    Places { spots: spots.collect(), when_away, giving_up: None }
}

fn spot(config: &Config, place: &PlaceSection) -> Spot {
    Spot { name: place.name.clone(), path: config.dir.join(&place.path), enclosure: enclosure(config, place) }
}

fn enclosure(config: &Config, place: &PlaceSection) -> Option<Arc<dyn Enclosure>> {
    match place.enclosed_by? {
        EnclosedBy::Pkcs11 => {
            let shared = &config.custody;
            // All three are there: the configuration was checked.
            let module = place.module.clone().or_else(|| shared.module.clone()).unwrap_or_default();
            let token = place.token.clone().or_else(|| shared.token.clone()).unwrap_or_default();
            let pin = place.pin_file.as_ref().map(|pin| config.dir.join(pin)).or_else(|| shared.pin_file.clone());
            Some(Arc::new(TokenEnclosure::new(Pkcs11Settings { module, token }, pin.unwrap_or_default())))
        }
        EnclosedBy::AwsKms => Some(Arc::new(KmsEnclosure::new(custody(config).kms))),
        EnclosedBy::Transit => {
            // Key and address are there: the configuration was checked.
            let key = place.transit_key.clone().unwrap_or_default();
            let shared = custody(config).transit.unwrap_or_default();
            Some(Arc::new(TransitEnclosure::new(TransitSettings { key, ..shared })))
        }
    }
}

/// Whether the configuration has the plain place `first`; so it is when it cannot be read.
pub(in crate::cli) fn has_plain_place(dir: &Path) -> bool {
    load(dir).map_or(true, |config| config.keyring.file)
}

/// Every place that is configured or that the slots name, and how it is found. Reads only; the vault may be running.
pub(in crate::cli) fn places_found(dir: &Path) -> Result<Vec<PlaceFound>, Failure> {
    let surveyed = keyring::survey(&of(&load(dir)?));
    // What is newest knows best; nothing is proven without the root key.
    let newest = surveyed.iter().filter_map(|place| place.newest.as_ref().ok()).max_by_key(|slot| (slot.epoch, slot.sequence));
    let listed = newest.map(|slot| slot.places()).unwrap_or_default();
    let newest = newest.map(|slot| (slot.epoch, slot.sequence));
    let is_past = |state: keys::Standing| matches!(state, keys::Standing::Removed | keys::Standing::GivenUp);
    let mut found: Vec<PlaceFound> = Vec::new();
    for place in &surveyed {
        let known = listed.iter().any(|known| known.name == place.name && !is_past(known.standing));
        let (state, epoch, why) = match &place.newest {
            _ if !known && newest.is_some() => ("unlisted", None, None),
            Ok(slot) if Some((slot.epoch, slot.sequence)) == newest => ("in-step", Some(slot.epoch), None),
            Ok(slot) => ("behind", Some(slot.epoch), None),
            Err(error) => ("away", None, Some(error.to_string())),
        };
        let (name, path) = (place.name.clone(), place.path.clone());
        found.push(PlaceFound { name, path, kind: place.kind, assurance: place.assurance.word(), state, epoch, why });
    }
    for known in listed.iter().filter(|known| is_past(known.standing) || surveyed.iter().all(|place| place.name != known.name)) {
        let state = if is_past(known.standing) { known.standing.word() } else { "unnamed" };
        found.push(PlaceFound {
            name: known.name.clone(),
            path: PathBuf::new(),
            kind: "past",
            assurance: known.assurance.word(),
            state,
            epoch: is_past(known.standing).then_some(known.until),
            why: None,
        });
    }
    Ok(found)
}

/// Writes a place into the configuration of `dir`, unless one of that name is there; returns what the configuration was before.
pub(in crate::cli) fn name_place(dir: &Path, name: &str, settings: &[(&str, String)]) -> Result<Option<String>, Failure> {
    let file = dir.join("config.toml");
    if load(dir)?.keyring.place.iter().any(|place| place.name == name) {
        return Ok(None);
    }
    if settings.is_empty() {
        return Err(Failure::usage(format!("config.toml names no place `{name}`"))
            .remedy("say where it is with --path, and what encloses it, if anything does"));
    }
    let before = std::fs::read_to_string(&file).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(String::new()),
        _ => Err(Failure::file("read", &file, &error)),
    })?;
    let mut text = before.clone();
    text += &format!("\n[[keyring.place]]\nname = {}\n", toml::Value::from(name));
    for (setting, value) in settings {
        text += &format!("{setting} = {}\n", toml::Value::from(value.as_str()));
    }
    Config::parse(&text, std::env::vars()).map_err(|error| {
        Failure::usage(error.to_string()).remedy(format!("nothing was changed; or write it into {}", file.display()))
    })?;
    private::write_public(&file, text.as_bytes())?;
    Ok(Some(before))
}

/// Takes a place that could not be made out of the configuration again, unless the keyring is in it after all.
pub(in crate::cli) fn unname_place(dir: &Path, name: &str, before: &str) -> Result<(), Failure> {
    if places_found(dir)?.iter().any(|place| place.name == name && place.state == "unlisted") {
        private::write_public(&dir.join("config.toml"), before.as_bytes())?;
    }
    Ok(())
}

/// A place that the configuration of `dir` names; `None` when it does not.
fn named(config: &Config, name: &str) -> Option<Spot> {
    of(config).spots.into_iter().find(|spot| spot.name == name)
}

/// Makes one place more, which the configuration names.
pub(in crate::cli) fn add_place(dir: &Path, name: &str, holder: Arc<dyn Custody>) -> Result<(), Failure> {
    let config = load(dir)?;
    let spot = named(&config, name).ok_or_else(|| Failure::usage(format!("config.toml names no place `{name}`")))?;
    if places_found(dir)?.iter().any(|place| place.name == name && ["in-step", "behind", "away"].contains(&place.state)) {
        return Err(Failure::new(format!("`{name}` is a place of this keyring already"))
            .remedy(format!("`oubliette keys places repair {} {name}` writes it anew", dir.display())));
    }
    let mut places = of(&config);
    places.spots.retain(|spot| spot.name != name);
    change(&config, places, holder, PlaceChange::Add(spot))
}

/// Takes a place out of the keyring: overwritten, or given up when it is lost.
pub(in crate::cli) fn remove_place(dir: &Path, name: &str, lost: bool, holder: Arc<dyn Custody>) -> Result<(), Failure> {
    let config = load(dir)?;
    let mut places = of(&config);
    match named(&config, name) {
        None if !lost => {
            return Err(Failure::usage(format!("config.toml names no place `{name}`, so it cannot be overwritten"))
                .remedy("put it back into config.toml; or add --lost when nobody has it any more"));
        }
        None => places.giving_up = Some(name.to_owned()),
        Some(_) => {}
    }
    let change_to = if lost { PlaceChange::GiveUp(name.to_owned()) } else { PlaceChange::Remove(name.to_owned()) };
    change(&config, places, holder, change_to)
}

/// Writes a place anew from the others.
pub(in crate::cli) fn repair_place(dir: &Path, name: &str, holder: Arc<dyn Custody>) -> Result<(), Failure> {
    let config = load(dir)?;
    if named(&config, name).is_none() {
        return Err(Failure::usage(format!("config.toml names no place `{name}`")));
    }
    let places = of(&config);
    change(&config, places, holder, PlaceChange::Repair(name.to_owned()))
}

fn change(config: &Config, places: Places, holder: Arc<dyn Custody>, change: PlaceChange) -> Result<(), Failure> {
    let runtime = runtime()?;
    // Nothing is swept or sent meanwhile: the vault is open for this alone.
    let alone = VaultConfig { sweep_every: None, deliver_every: None, keyring: places, ..vault_config(config) };
    let vault = Vault::open(&alone, Clock::system())?;
    runtime.block_on(async {
        vault.unseal_with(holder).await?;
        let changed = vault.change_places(change).await;
        vault.close().await;
        Ok(changed?)
    })
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        let text = error.to_string();
        match error {
            PlaceError::Keys(error) => error.into(),
            PlaceError::Trail(error) => error.into(),
            PlaceError::NotClosed => Self::new(text)
                .remedy("bring every place back, or give it up, and run `oubliette keys rotate` once the vault serves again"),
        }
    }
}
