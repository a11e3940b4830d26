//! The rules of a published policy beside fields and purposes: bases, assessments, legal rules, transfers, sources, partners.

use std::collections::BTreeSet;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field::FieldSet;

/// What a purpose rests on (GDPR Art. 6(1), PIPL Art. 13), as the guards tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The person's consent: an event of the needed kind, given, unexpired, wide enough.
    Consent,
    /// A contract that is in force.
    Contract,
    /// The account itself, and steps towards a contract: holds while the account is open.
    Account,
    /// A legitimate interest with an approved assessment, while the person does not object.
    LegitimateInterest,
    /// A legal duty; where the purpose needs one, a rule must be cited.
    LegalObligation,
}

/// One row of the basis table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasisRule {
    /// Its id, such as `c-marketing-eea`.
    pub id: String,
    /// The purpose; its children without rows of their own rest on the same.
    pub purpose: String,
    /// Area of the policy, an ISO 3166 code, or `REST` for every jurisdiction in no area.
    pub areas: BTreeSet<String>,
    /// Subject classes; empty is all.
    pub classes: BTreeSet<String>,
    /// What it rests on.
    pub basis: Basis,
    /// The term of the law or of DPV, such as `eu-gdpr:A6-1-a`.
    pub term: String,
    /// For consent: `general` or `separate`.
    pub consent: String,
    /// For a legitimate interest: its assessment.
    pub assessment: Option<String>,
}

/// A recorded assessment of a legitimate interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Its id.
    pub id: String,
    /// The purpose that it weighs.
    pub purpose: String,
    /// Collection purposes that it found compatible with it (G6).
    pub compatible: BTreeSet<String>,
    /// The day of its approval.
    pub approved_on: Date,
    /// Who reviewed it: a function, not a person's name.
    pub reviewer: String,
    /// Until when it holds.
    pub valid_until: Option<Date>,
}

/// A cited legal duty (p24).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegalRule {
    /// Its id, such as `de-hgb-257`.
    pub id: String,
    /// Statute and section.
    pub statute: String,
    /// Areas or jurisdictions whose subjects it binds.
    pub areas: BTreeSet<String>,
    /// Categories that it needs; empty is all of the purpose's.
    pub categories: BTreeSet<String>,
}

/// How data may pass between regions (p60).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferRule {
    /// Its id.
    pub id: String,
    /// Where it leaves.
    pub from: String,
    /// Where it arrives.
    pub to: String,
    /// `adequacy`, `scc`, `bcr`, `cac-assessment`, `authority-approval` or `anonymise`.
    pub tool: String,
    /// What proves it, a hash or citation.
    pub evidence: String,
    /// The last day that it holds.
    pub valid_until: Option<Date>,
}

/// A system that collects for the controller (p01, p30).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSystem {
    /// Its id.
    pub id: String,
    /// One line for people.
    pub title: String,
}

/// What a partner is to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerKind {
    /// Processes on the controller's behalf.
    Processor,
    /// A company of the same group.
    Affiliate,
    /// Decides for itself what it does with what it gets: a bank, an insurer.
    Controller,
    /// Advertising or analytics: never identity, never without consent.
    AdAnalytics,
    /// A court, the police or another public body.
    Authority,
}

/// A registered recipient, with its agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// What it is.
    pub kind: PartnerKind,
    /// Where it receives.
    pub region: String,
    /// The purposes of the agreement.
    pub purposes: BTreeSet<String>,
    /// The fields of the agreement.
    pub fields: FieldSet,
    /// SHA-256 of the signed text, in hex.
    pub agreement: String,
    /// First and last day.
    pub from: Date,
    /// Last day.
    pub until: Option<Date>,
    /// What it promised, a word each: `no-other-use`, `confidentiality`.
    pub clauses: BTreeSet<String>,
    /// What becomes of the data at the end of the agreement.
    pub at_end: Option<AtEnd>,
    /// Where it is told of corrections, restrictions and erasures: an https address.
    pub callback: Option<String>,
    /// Whether it acknowledges what it is told; then what is not acknowledged in time is overdue.
    pub acknowledges: bool,
}

/// What a partner does with the data when its agreement ends (GDPR Art. 28(3)(g)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AtEnd {
    /// It gives everything back.
    Return,
    /// It deletes everything.
    Delete,
}

impl Partner {
    /// Whether the agreement is in force on a day.
    pub fn is_live(&self, today: Date) -> bool {
        self.from <= today && self.until.is_none_or(|until| today <= until)
    }
}
