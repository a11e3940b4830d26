//! The letters that a controller sends: which there are, in which languages, and what they say.
//!
//! A text has places, `{word}`, that are filled in when a letter leaves. Which places a letter has is known here, so that a
//! letter with a place that nothing fills is found when the policy is read. A subject line has none: it is seen by everybody
//! whose hands a letter passes through.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::read::{is_word, wrong};
use super::{Sources, Tenant, TenantError};
use crate::model::wire::NoticeKind;

const NOTICES: &str = "notices.toml";

/// The language of those whose own has no text.
pub const FALLBACK: &str = "en";

/// The most characters of a subject line (RFC 5322, 2.1.1, less the name of the header).
const LONGEST_SUBJECT: usize = 60;

/// The most bytes of one text.
const LONGEST_TEXT: usize = 2_000;

/// Places that every letter may have.
pub(crate) const EVERYWHERE: [&str; 7] =
    ["controller", "controller_address", "officer", "authority", "authority_url", "policy_version", "date"];

/// Letters that the vault itself sends, with the places that each may have beside [`EVERYWHERE`]. Another letter of the
/// controller's has those alone.
pub(crate) const LETTERS: [(&str, &[&str]); 17] = [
    ("policy-change", &[]),
    ("service", &[]),
    ("security", &[]),
    ("art14", &["party"]),
    ("request-received", &REQUEST),
    ("request-code", &["request", "type", "code"]),
    ("request-denied", &["request", "type", "due", "reason", "title", "appeal"]),
    ("request-extended", &["request", "type", "due", "extended"]),
    ("request-fulfilled", &REQUEST),
    ("request-answered", &REQUEST),
    ("request-revoked", &REQUEST),
    ("request-expired", &REQUEST),
    ("erasure-done", &["erasure"]),
    ("disclosed-on-case", &["recipient", "kind", "at"]),
    ("incident", &["incident", "kind", "detected_at", "nature", "consequences", "measures", "contact"]),
    ("alarm", &["alarm", "details"]),
    ("authority-report", &["alarm", "details"]),
];

/// The places of most letters about a request.
const REQUEST: [&str; 3] = ["request", "type", "due"];

/// `notices.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticesText {
    #[serde(default)]
    pub(super) letter: Vec<LetterText>,
}

impl NoticesText {
    pub(super) fn is_empty(&self) -> bool {
        self.letter.is_empty()
    }
}

/// One letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterText {
    /// Its id.
    pub id: String,
    /// What it is: `service`, `security` or `policy-change`.
    pub kind: NoticeKind,
    /// The law asks for it: where the purpose of notices does not reach the person (no address was collected for it, the
    /// account is closed, its use is restricted), it goes for the person's rights.
    #[serde(default)]
    pub duty: bool,
    /// What it says, by language (BCP 47, in lower case).
    pub texts: BTreeMap<String, WordsText>,
}

/// A letter in one language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordsText {
    /// Its subject line: no places, nothing personal.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// Whether every letter can be sent in every one of its languages.
pub(super) fn check(text: &NoticesText) -> Result<(), TenantError> {
    let mut ids = HashSet::new();
    for letter in &text.letter {
        let place = format!("letter `{}`", letter.id);
        if !is_word(&letter.id) || !ids.insert(&letter.id) {
            return Err(wrong(NOTICES, place, "its id is not a short word, or is used twice"));
        }
        if letter.kind == NoticeKind::Shown {
            return Err(wrong(NOTICES, place, "what is shown is not sent"));
        }
        if !letter.texts.contains_key(FALLBACK) {
            return Err(wrong(NOTICES, place, format!("it has no text in `{FALLBACK}`, which stands in for all others")));
        }
        for (language, words) in &letter.texts {
            let place = format!("{place} in `{language}`");
            if !is_word(language) {
                return Err(wrong(NOTICES, place, "its language is not a short word"));
            }
            let line = |text: &str| !text.is_empty() && !text.contains(['{', '}']) && !text.chars().any(char::is_control);
            if !line(&words.subject) || words.subject.chars().count() > LONGEST_SUBJECT {
                return Err(wrong(NOTICES, place, "its subject is not one short line without places"));
            }
            let known = |name: &str| EVERYWHERE.contains(&name) || own_places(&letter.id).contains(&name);
            match fill(&words.text, |name| known(name).then(String::new)) {
                Err(problem) => return Err(wrong(NOTICES, place, problem)),
                Ok(_) if words.text.len() > LONGEST_TEXT => return Err(wrong(NOTICES, place, "its text is too long")),
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

/// The places that a letter may have beside those of all.
pub fn own_places(id: &str) -> &'static [&'static str] {
    LETTERS.iter().find(|(own, _)| *own == id).map_or(&[], |(_, places)| places)
}

/// A text with its places filled in, or what is wrong with it: a place that `word` does not know, a brace without its other.
pub fn fill(text: &str, word: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let place = rest[at..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (name, after) = place.ok_or("a brace in it is no place's")?;
        filled.push_str(&word(name).ok_or("nothing fills one of its places")?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

impl Tenant {
    /// The letter of that id; of a policy that has no letters at all, published before there were any, the one that the
    /// program comes with.
    pub fn letter(&self, id: &str) -> Option<&LetterText> {
        static SHIPPED: std::sync::LazyLock<Vec<LetterText>> = std::sync::LazyLock::new(|| {
            super::read::parsed::<NoticesText>(NOTICES, Sources::SHIPPED.notices).unwrap_or_default().letter
        });
        let own = &self.document().notices.letter;
        let all = if own.is_empty() { &*SHIPPED } else { own };
        all.iter().find(|letter| letter.id == id)
    }
}

impl LetterText {
    /// What it says in a language, else in the one that this is a form of, else in English. `de-AT` is a form of `de`.
    pub fn words(&self, language: &str) -> Option<&WordsText> {
        let language = language.to_ascii_lowercase();
        let primary = language.split(['-', '_']).next().unwrap_or_default();
        [language.as_str(), primary, FALLBACK].into_iter().find_map(|tag| self.texts.get(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    fn read(notices: &str) -> Result<Tenant, TenantError> {
        Tenant::read(TenantId::from_bytes([1; 16]), &Sources { notices, ..Sources::SHIPPED })
    }

    fn letter(id: &str, subject: &str, text: &str) -> String {
        format!("[[letter]]\nid = '{id}'\nkind = 'service'\n[letter.texts.en]\nsubject = \"{subject}\"\ntext = \"{text}\"\n")
    }

    #[test]
    fn every_letter_of_the_vault_ships_in_four_languages() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        for (id, _) in LETTERS {
            let letter = tenant.letter(id).unwrap();
            for language in ["en", "de", "fr", "zh"] {
                let to_people = !["alarm", "authority-report"].contains(&id);
                assert!(letter.texts.contains_key(language) || !to_people, "{id} in {language}");
            }
        }
    }

    #[test]
    fn a_place_that_nothing_fills_refuses_the_policy() {
        assert!(read(&letter("service", "News", "Dear reader of {controller}")).is_ok());
        assert!(read(&letter("art14", "News", "From {party}")).is_ok());
        for text in ["Dear {name}", "From {party}", "a { b", "a } b", "{}", "{controller", "{{controller}}"] {
            let error = read(&letter("service", "News", text)).unwrap_err();
            assert_eq!((error.file, error.place.as_str()), (NOTICES, "letter `service` in `en`"), "{text}");
        }
    }

    #[test]
    fn a_subject_line_is_one_line_without_places() {
        for subject in ["", "To {officer}", "One\\r\\nBcc: x@example.org", "One\\nline", &"x".repeat(61)] {
            assert!(read(&letter("service", subject, "x")).is_err(), "{subject}");
        }
    }

    #[test]
    fn a_letter_without_english_or_twice_or_shown_is_refused() {
        let one = letter("service", "News", "x");
        assert!(read(&one.replace("texts.en", "texts.de")).is_err());
        assert!(read(&format!("{one}{one}")).is_err());
        assert!(read(&one.replace("kind = 'service'", "kind = 'shown'")).is_err());
        assert!(read(&one.replace("texts.en", "texts.EN")).is_err());
    }

    #[test]
    fn a_language_falls_back_to_what_it_is_a_form_of_and_then_to_english() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let letter = tenant.letter("security").unwrap();
        let subject = |language: &str| letter.words(language).unwrap().subject.clone();
        assert_eq!(subject("de-AT"), letter.texts["de"].subject);
        assert_eq!(subject("DE"), letter.texts["de"].subject);
        assert_eq!(subject("zh-Hans-CN"), letter.texts["zh"].subject);
        assert_eq!(subject("tlh"), letter.texts["en"].subject);
        assert_eq!(subject(""), letter.texts["en"].subject);
    }

    #[test]
    fn what_fills_a_place_is_not_looked_into_again() {
        assert_eq!(fill("a {b} c", |_| Some("{b}".into())).unwrap(), "a {b} c");
    }
}
