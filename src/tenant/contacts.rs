//! The controller, and the authorities that somebody can complain to.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::read::{is_word, wrong};
use super::rules::{Rules, known_areas};
use super::{Tenant, TenantError};

const CONTACTS: &str = "contacts.toml";

/// `contacts.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactsText {
    pub(super) controller: ControllerText,
    #[serde(default)]
    pub(super) authority: Vec<AuthorityText>,
}

/// Who answers for the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerText {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Where letters reach it.
    pub address: String,
    /// Where the privacy officer is reached.
    pub officer: String,
}

/// An authority that somebody can complain to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityText {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Whose authority it is: areas, jurisdictions, or `REST`.
    pub areas: BTreeSet<String>,
    /// Where it is found.
    pub url: String,
}

/// Whether the contacts are whole: words for ids, none twice, places on the web.
pub(super) fn check(rules: &Rules, text: &ContactsText) -> Result<(), TenantError> {
    if !is_word(&text.controller.id) || [&text.controller.title, &text.controller.officer].iter().any(|line| line.is_empty()) {
        return Err(wrong(CONTACTS, "controller", "it needs an id, a title and an officer"));
    }
    let mut ids = HashSet::new();
    for authority in &text.authority {
        let place = format!("authority `{}`", authority.id);
        if !is_word(&authority.id) || !ids.insert(&authority.id) {
            return Err(wrong(CONTACTS, place, "its id is not a short word, or is used twice"));
        }
        if !authority.url.starts_with("https://") {
            return Err(wrong(CONTACTS, place, "its address is not https"));
        }
        known_areas(rules, CONTACTS, &place, &authority.areas)?;
    }
    Ok(())
}

impl Tenant {
    /// Who answers for the data.
    pub fn controller(&self) -> &ControllerText {
        &self.document().contacts.controller
    }

    /// All authorities.
    pub fn authorities(&self) -> &[AuthorityText] {
        &self.document().contacts.authority
    }

    /// The authority that somebody in `jurisdiction` can complain to: the one that names them most closely.
    pub fn authority(&self, jurisdiction: &str) -> Option<&AuthorityText> {
        let named = self.authorities().iter().filter_map(|one| Some((self.closeness(&one.areas, jurisdiction)?, one)));
        named.max_by_key(|(closeness, _)| *closeness).map(|(_, one)| one)
    }
}
