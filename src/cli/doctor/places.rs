//! The places of the keyring: whether each can be used, is in step, and is one that the keyring knows.

use std::path::Path;

use super::super::engine::{self, PlaceFound};
use super::Finding;

const CHECK: &str = "keyring place";

/// One finding for each place. Nothing is said of a folder without a keyring: that is said with the files.
pub(super) fn findings(dir: &Path) -> Vec<Finding> {
    if !dir.join("keys/root").exists() {
        return Vec::new();
    }
    // A configuration that cannot be read is said with the holder of the root key.
    let found = engine::places_found(dir).unwrap_or_default();
    found.iter().map(|place| finding(dir, place)).collect()
}

fn finding(dir: &Path, place: &PlaceFound) -> Finding {
    let (name, dir) = (&place.name, dir.display());
    match place.state {
        "in-step" => Finding::good(CHECK, format!("`{name}` is in step: destroy assurance `{}`", place.assurance)),
        "behind" => Finding::warning(
            CHECK,
            format!("`{name}` holds another epoch or an older copy than the newest place"),
            "it is written anew when the vault opens, or within seconds while it runs; if it stays so, see the log",
        ),
        "away" => Finding::bad(
            CHECK,
            format!("`{name}` cannot be used: {}", place.why.as_deref().unwrap_or_default()),
            format!(
                "bring it back; or stop the vault and run `oubliette keys places repair {dir} --name {name}`, or remove --lost"
            ),
        ),
        "unlisted" => Finding::bad(
            CHECK,
            format!("`{name}` is in config.toml, and the keyring was never written there: the vault does not open"),
            format!("`oubliette keys places add {dir} --name {name}`, or take it out of config.toml"),
        ),
        "unnamed" => Finding::bad(
            CHECK,
            format!("the keyring is in `{name}` too, which config.toml does not name: the vault does not open"),
            format!("put it back into config.toml; or `oubliette keys places remove {dir} --name {name} --lost`"),
        ),
        "given-up" => Finding::warning(
            CHECK,
            format!("`{name}` was given up, with the key of an epoch in it: certificates say best-effort"),
            "if it is found, add it again under the same name, which overwrites what it holds",
        ),
        _ => Finding::good(CHECK, format!("`{name}` was removed in good order")),
    }
}
