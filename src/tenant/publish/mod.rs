//! The policy as people and machines read it: made from what the guards ask, so that it cannot say anything else.

mod html;
mod linked;

use std::collections::BTreeMap;

pub(crate) use html::text as escaped;

use jiff::Timestamp;

use super::{Diff, Tenant};
use crate::model::purpose::Purpose;
use crate::model::rules::{Basis, BasisRule, Partner};

/// A right of the person, as an operation grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The operation that a person's own token may call.
    pub operation: &'static str,
    /// The term of the law or of DPV.
    pub term: &'static str,
    /// In words.
    pub title: &'static str,
}

/// A policy version with what is known about it.
pub struct Published<'a> {
    /// What it is made of.
    pub tenant: &'a Tenant,
    /// When it was published; none for the shipped one.
    pub published_at: Option<Timestamp>,
    /// The version before it.
    pub replaces: Option<String>,
    /// SHA-256 of its canonical text, in hex.
    pub sha256: String,
    /// What a person may do.
    pub rights: Vec<Right>,
    /// What it changes about an older one, which was asked for by name.
    pub diff: Option<(String, Diff)>,
}

impl Published<'_> {
    /// As a page.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// As JSON-LD, in the terms of the W3C Data Privacy Vocabulary 2.3.
    pub fn linked(&self) -> serde_json::Value {
        linked::graph(self)
    }
}

/// What a purpose rests on, for one class and every place that the basis table tells apart: areas by name, single
/// jurisdictions by code, and `REST`. The answers are those of [`Tenant::basis`], which the guards ask.
pub(crate) fn bases<'a>(tenant: &'a Tenant, purpose: &Purpose, class: &str) -> BTreeMap<&'a str, &'a BasisRule> {
    let singled: Vec<&str> = {
        let named = tenant.bases().iter().filter(|rule| rule.purpose == purpose.id).flat_map(|rule| &rule.areas);
        named.filter(|area| !tenant.areas().contains_key(*area) && *area != "REST").map(String::as_str).collect()
    };
    let mut places: Vec<(&str, &str)> = singled.iter().map(|code| (*code, *code)).collect();
    for (area, codes) in tenant.areas() {
        let usual = codes.iter().find(|code| !singled.contains(&code.as_str()));
        places.extend(usual.map(|code| (area.as_str(), code.as_str())));
    }
    places.push(("REST", Tenant::ELSEWHERE));
    places.into_iter().filter_map(|(name, code)| Some((name, tenant.basis(purpose, code, class)?))).collect()
}

/// The registered recipients of a purpose.
pub(crate) fn recipients<'a>(tenant: &'a Tenant, purpose: &'a Purpose) -> impl Iterator<Item = &'a Partner> {
    tenant.partners().iter().filter(|partner| partner.purposes.contains(&purpose.id))
}

/// A basis in words.
pub(crate) const fn basis_words(basis: Basis) -> &'static str {
    match basis {
        Basis::Consent => "consent",
        Basis::Contract => "a contract in force",
        Basis::Account => "the account, and steps towards a contract",
        Basis::LegitimateInterest => "a legitimate interest",
        Basis::LegalObligation => "a legal obligation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    fn published(tenant: &Tenant) -> Published<'_> {
        let right = Right { operation: "readRecords", term: "eu-gdpr:A15", title: "see one's data" };
        Published { tenant, published_at: None, replaces: None, sha256: "00".repeat(32), rights: vec![right], diff: None }
    }

    #[test]
    fn every_purpose_category_basis_recipient_and_period_stands_in_both_forms() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let published = published(&tenant);
        let (html, linked) = (published.html(), published.linked().to_string());
        for text in [&html, &linked] {
            for purpose in tenant.purposes() {
                assert!(text.contains(&purpose.id), "{}", purpose.id);
                purpose.dpv.iter().chain(&purpose.categories).for_each(|term| assert!(text.contains(term.as_str()), "{term}"));
            }
            tenant.bases().iter().for_each(|rule| assert!(text.contains(&rule.term), "{}", rule.term));
            tenant.partners().iter().for_each(|partner| assert!(text.contains(&partner.title), "{}", partner.title));
            tenant.all_transfers().iter().for_each(|rule| assert!(text.contains(&rule.evidence), "{}", rule.evidence));
            for needle in ["P10Y", "see one", tenant.version(), &tenant.controller().title] {
                assert!(text.contains(needle), "{needle}");
            }
            tenant.authorities().iter().for_each(|one| assert!(text.contains(&one.url), "{}", one.url));
            for promise in crate::model::promises::PROMISES {
                assert!(promise.tests().chain([promise.id]).all(|needle| text.contains(needle)), "{}", promise.id);
            }
        }
    }

    #[test]
    fn what_an_author_wrote_is_text_on_the_page_and_never_markup() {
        let sources = super::super::Sources::SHIPPED;
        let purposes = sources.purposes.replace("Delivering goods", "<script>alert(1)</script> & \\\"goods\\\"");
        let sources = super::super::Sources { purposes: &purposes, ..sources };
        let tenant = Tenant::read(TenantId::from_bytes([1; 16]), &sources).unwrap();
        let html = published(&tenant).html();
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;goods&quot;"));
        assert!(!html.contains("<script"));
    }

    #[test]
    fn a_purpose_shows_for_each_place_the_row_that_the_guards_would_use() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let improve = tenant.purpose("g-improve").unwrap();
        let rows = bases(&tenant, improve, "consumer");
        let shown: Vec<(&str, &str)> = rows.iter().map(|(place, rule)| (*place, rule.id.as_str())).collect();
        let wanted = [
            ("CH", "g-improve"),
            ("CN", "g-improve-cn"),
            ("EEA", "g-improve"),
            ("GB", "g-improve"),
            ("REST", "g-improve-rest"),
            ("US", "g-improve-rest"),
        ];
        assert_eq!(shown, wanted);
    }
}
