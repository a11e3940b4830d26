//! The controller, the authorities that somebody can complain to, and how soon requests are answered.

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
    #[serde(default)]
    pub(super) sla: Vec<SlaText>,
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

/// How soon something that a person asks for is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlaText {
    /// What it is for.
    pub id: String,
    /// Days within which there is an answer, at most 30.
    pub days: u16,
    /// Days after which it raises an alarm.
    pub alarm_days: u16,
}

/// Whether the contacts are whole: words for ids, none twice, places on the web, days that are kept.
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
    for sla in &text.sla {
        let place = format!("sla `{}`", sla.id);
        if !is_word(&sla.id) || !ids.insert(&sla.id) {
            return Err(wrong(CONTACTS, place, "its id is not a short word, or is used twice"));
        }
        if !(1..=30).contains(&sla.days) || sla.alarm_days >= sla.days {
            return Err(wrong(CONTACTS, place, "it is not answered within 30 days, or alarms too late"));
        }
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

    /// How soon requests are answered.
    pub fn slas(&self) -> &[SlaText] {
        &self.document().contacts.sla
    }
}
