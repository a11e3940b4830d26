//! Reads what purposes rest on and where data may go, and answers for one jurisdiction, class and day.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::incidents;
use super::read::{is_word, wrong};
use super::{Tenant, TenantError, contacts, notices, requests};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::purpose::Purpose;
use crate::model::rules::{Assessment, AtEnd, Basis, BasisRule, LegalRule, Partner, PartnerKind, SourceSystem, TransferRule};

const RULES: &str = "rules.toml";
const TRANSFERS: &str = "transfers.toml";

/// The area of every jurisdiction that is in no other.
const REST: &str = "REST";

/// The jurisdictions whose law knows no legitimate interest (PIPL Art. 13; decision C11 of the policy).
const WITHOUT_INTERESTS: [&str; 1] = ["CN"];

/// `rules.toml`: areas, bases, assessments, legal rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesText {
    pub(super) areas: BTreeMap<String, BTreeSet<String>>,
    pub(super) basis: Vec<BasisText>,
    #[serde(default)]
    pub(super) assessment: Vec<AssessmentText>,
    #[serde(default)]
    pub(super) rule: Vec<LegalText>,
}

/// One row of the basis table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasisText {
    id: String,
    purpose: String,
    areas: BTreeSet<String>,
    #[serde(default)]
    classes: BTreeSet<String>,
    basis: Basis,
    term: String,
    #[serde(default)]
    consent: Option<String>,
    #[serde(default)]
    assessment: Option<String>,
}

/// One assessment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AssessmentText {
    id: String,
    purpose: String,
    #[serde(default)]
    compatible: BTreeSet<String>,
    approved_on: Date,
    reviewer: String,
    #[serde(default)]
    valid_until: Option<Date>,
}

/// One legal rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LegalText {
    id: String,
    statute: String,
    areas: BTreeSet<String>,
    #[serde(default)]
    categories: BTreeSet<String>,
}

/// `transfers.toml`: regions, ways between them, source systems, partners.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransfersText {
    pub(super) storage: String,
    pub(super) regions: BTreeSet<String>,
    #[serde(default)]
    pub(super) transfer: Vec<TransferText>,
    #[serde(default)]
    pub(super) source: Vec<SourceText>,
    #[serde(default)]
    pub(super) partner: Vec<PartnerText>,
}

/// One way between regions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferText {
    id: String,
    from: String,
    to: String,
    tool: String,
    evidence: String,
    #[serde(default)]
    valid_until: Option<Date>,
}

/// One source system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceText {
    id: String,
    title: String,
}

/// One partner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartnerText {
    id: String,
    title: String,
    kind: PartnerKind,
    region: String,
    purposes: BTreeSet<String>,
    fields: Vec<String>,
    agreement: String,
    from: Date,
    #[serde(default)]
    until: Option<Date>,
    #[serde(default)]
    clauses: BTreeSet<String>,
    #[serde(default)]
    at_end: Option<AtEnd>,
    #[serde(default)]
    callback: Option<String>,
    #[serde(default)]
    acknowledges: bool,
}

macro_rules! ids {
    ($($text:ty),+) => {$(
        impl $text {
            pub(super) fn id(&self) -> &str {
                &self.id
            }
        }
    )+};
}

ids!(BasisText, AssessmentText, LegalText, TransferText, SourceText, PartnerText);

/// What the two texts say, looked up by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    areas: BTreeMap<String, BTreeSet<String>>,
    /// The areas that name a jurisdiction.
    within: HashMap<String, Vec<String>>,
    bases: Vec<BasisRule>,
    /// The rows of each purpose by the place that they name; where one names an area, by the area.
    table: HashMap<String, HashMap<String, Vec<usize>>>,
    assessments: Vec<Assessment>,
    legal: Vec<LegalRule>,
    storage: String,
    regions: BTreeSet<String>,
    transfers: Vec<TransferRule>,
    sources: Vec<SourceSystem>,
    partners: Vec<Partner>,
}

/// The rules of `tenant`, whose fields and purposes are read already, or the first place that is wrong.
pub(super) fn rules(tenant: &Tenant, document: &Document) -> Result<Rules, TenantError> {
    let text = &document.rules;
    let mut rules = Rules { areas: areas(&text.areas)?, ..Rules::default() };
    for (area, codes) in &rules.areas {
        codes.iter().for_each(|code| rules.within.entry(code.clone()).or_default().push(area.clone()));
    }
    let mut ids = Ids::default();
    for assessment in text.assessment.clone() {
        let place = ids.place(RULES, "assessment", &assessment.id)?;
        for purpose in assessment.compatible.iter().chain([&assessment.purpose]) {
            known_purpose(tenant, RULES, &place, purpose)?;
        }
        rules.assessments.push(Assessment {
            id: assessment.id,
            purpose: assessment.purpose,
            compatible: assessment.compatible,
            approved_on: assessment.approved_on,
            reviewer: assessment.reviewer,
            valid_until: assessment.valid_until,
        });
    }
    let mut claims = HashMap::new();
    for basis in text.basis.clone() {
        let place = ids.place(RULES, "basis", &basis.id)?;
        let rule = basis_rule(tenant, &rules, &place, basis)?;
        rules.claim(&mut claims, &place, &rule)?;
        rules.bases.push(rule);
    }
    for legal in text.rule.clone() {
        let place = ids.place(RULES, "rule", &legal.id)?;
        known_areas(&rules, RULES, &place, &legal.areas)?;
        let known = |category: &String| tenant.fields().iter().any(|field| field.category == *category);
        if let Some(unknown) = legal.categories.iter().find(|category| !known(category)) {
            return Err(wrong(RULES, place, format!("unknown category `{unknown}`")));
        }
        rules.legal.push(LegalRule { id: legal.id, statute: legal.statute, areas: legal.areas, categories: legal.categories });
    }
    rules.places(tenant, document.transfers.clone(), &mut ids)?;
    contacts::check(&rules, &document.contacts)?;
    requests::check(&rules, &document.requests)?;
    notices::check(&document.notices)?;
    incidents::check(&rules, &document.contacts, &document.incidents)?;
    Ok(rules)
}

/// The ids that were seen, by kind.
#[derive(Default)]
struct Ids(HashSet<(&'static str, String)>);

impl Ids {
    /// The place of an entry in its text, if its id is a word and new.
    fn place(&mut self, file: &'static str, kind: &'static str, id: &str) -> Result<String, TenantError> {
        let place = format!("{kind} `{id}`");
        if !is_word(id) {
            return Err(wrong(file, place, "its id is not a short word"));
        }
        if !self.0.insert((kind, id.to_owned())) {
            return Err(wrong(file, place, "its id is used twice"));
        }
        Ok(place)
    }
}

/// Which rows claim a purpose in a place, each with its classes and how closely it names the place.
type Claims = HashMap<(String, String), Vec<(BTreeSet<String>, bool, String)>>;

impl Rules {
    fn places(&mut self, tenant: &Tenant, text: TransfersText, ids: &mut Ids) -> Result<(), TenantError> {
        let known = |place: &str, region: &String| {
            let known = text.regions.contains(region);
            if known { Ok(()) } else { Err(wrong(TRANSFERS, place, format!("unknown region `{region}`"))) }
        };
        known("storage", &text.storage)?;
        for rule in text.transfer {
            let place = ids.place(TRANSFERS, "transfer", &rule.id)?;
            known(&place, &rule.from)?;
            known(&place, &rule.to)?;
            if !["adequacy", "scc", "bcr", "cac-assessment", "authority-approval", "anonymise"].contains(&rule.tool.as_str()) {
                return Err(wrong(TRANSFERS, place, format!("unknown tool `{}`", rule.tool)));
            }
            self.transfers.push(TransferRule {
                id: rule.id,
                from: rule.from,
                to: rule.to,
                tool: rule.tool,
                evidence: rule.evidence,
                valid_until: rule.valid_until,
            });
        }
        for source in text.source {
            ids.place(TRANSFERS, "source", &source.id)?;
            self.sources.push(SourceSystem { id: source.id, title: source.title });
        }
        for partner in text.partner {
            let place = ids.place(TRANSFERS, "partner", &partner.id)?;
            known(&place, &partner.region)?;
            for purpose in &partner.purposes {
                known_purpose(tenant, TRANSFERS, &place, purpose)?;
            }
            let mut fields = FieldSet::EMPTY;
            for name in &partner.fields {
                let field = tenant.field(name).map_err(|_| wrong(TRANSFERS, &place, format!("unknown field `{name}`")))?;
                fields.insert(field.number);
            }
            if partner.agreement.len() != 64 || !partner.agreement.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(wrong(TRANSFERS, place, "its agreement is no SHA-256 in hex"));
            }
            if let Some(clause) = partner.clauses.iter().find(|clause| !is_word(clause)) {
                return Err(wrong(TRANSFERS, place, format!("`{clause}` is no short word")));
            }
            if partner.kind == PartnerKind::Authority && !(partner.purposes.is_empty() && partner.fields.is_empty()) {
                return Err(wrong(TRANSFERS, place, "an authority has no purposes and no fields: it gets what a case gives it"));
            }
            if partner.callback.as_ref().is_some_and(|callback| !is_https(callback)) {
                return Err(wrong(TRANSFERS, place, "its callback is no https address without user, query and fragment"));
            }
            self.partners.push(Partner {
                id: partner.id,
                title: partner.title,
                kind: partner.kind,
                region: partner.region,
                purposes: partner.purposes,
                fields,
                agreement: partner.agreement,
                from: partner.from,
                until: partner.until,
                clauses: partner.clauses,
                at_end: partner.at_end,
                callback: partner.callback,
                acknowledges: partner.acknowledges,
            });
        }
        self.storage = text.storage;
        self.regions = text.regions;
        Ok(())
    }

    /// Puts a row into the table, unless another gives the same purpose, place and class a basis as closely.
    fn claim(&mut self, claims: &mut Claims, place: &str, rule: &BasisRule) -> Result<(), TenantError> {
        let row = self.bases.len();
        let purpose = self.table.entry(rule.purpose.clone()).or_default();
        for area in &rule.areas {
            purpose.entry(area.clone()).or_default().push(row);
            let within: BTreeSet<&String> = self.areas.get(area).into_iter().flatten().chain([area]).collect();
            for code in within {
                let named = code == area;
                let others = claims.entry((rule.purpose.clone(), code.clone())).or_default();
                let same = |(classes, other_named, _): &&(BTreeSet<String>, bool, String)| {
                    *other_named == named
                        && classes.is_empty() == rule.classes.is_empty()
                        && (classes.is_empty() || !classes.is_disjoint(&rule.classes))
                };
                if let Some((_, _, other)) = others.iter().find(same) {
                    let problem = format!("`{other}` gives the same purpose, area and class another basis");
                    return Err(wrong(RULES, place, problem));
                }
                others.push((rule.classes.clone(), named, rule.id.clone()));
            }
        }
        Ok(())
    }

    /// The areas of a jurisdiction: those that name it, else those that name its country; none is [`REST`].
    fn areas_of(&self, jurisdiction: &str) -> &[String] {
        let found = self.within.get(jurisdiction).or_else(|| self.within.get(country(jurisdiction)));
        found.map_or(&[], Vec::as_slice)
    }

    /// Whether an area, or a jurisdiction, is known by that code.
    pub(super) fn knows_area(&self, area: &str) -> bool {
        area == REST || self.areas.contains_key(area) || is_code(area)
    }

    /// The legal rule of that id.
    pub(super) fn legal(&self, id: &str) -> Option<&LegalRule> {
        self.legal.iter().find(|rule| rule.id == id)
    }

    /// Whether a rule for `areas` is for somebody in `jurisdiction`, and how closely it names them: 3 for the
    /// jurisdiction itself, 2 for its country, 1 for an area.
    pub(super) fn fits(&self, areas: &BTreeSet<String>, jurisdiction: &str) -> Option<u8> {
        if areas.contains(jurisdiction) {
            return Some(3);
        }
        if areas.contains(country(jurisdiction)) {
            return Some(2);
        }
        let own = self.areas_of(jurisdiction);
        let within = if own.is_empty() { areas.contains(REST) } else { own.iter().any(|area| areas.contains(area)) };
        within.then_some(1)
    }

    /// The row among those of one purpose that is for a place and a class: one that names the class before one that names none.
    fn row(&self, rows: &HashMap<String, Vec<usize>>, place: &str, class: &str) -> Option<&BasisRule> {
        let here = || rows.get(place).into_iter().flatten().filter_map(|row| self.bases.get(*row));
        here().find(|rule| rule.classes.contains(class)).or_else(|| here().find(|rule| rule.classes.is_empty()))
    }
}

impl Tenant {
    /// The row of the basis table for a purpose, a jurisdiction and a class: of the purpose itself, else of the nearest
    /// parent that has rows. The closest area wins, and a row that names the class before one that names none.
    pub fn basis(&self, purpose: &Purpose, jurisdiction: &str, class: &str) -> Option<&BasisRule> {
        let rules = &self.rules;
        let mut own = purpose;
        let rows = loop {
            match rules.table.get(&own.id) {
                Some(rows) => break rows,
                None => own = self.purpose(own.parent.as_deref()?)?,
            }
        };
        let within = rules.areas_of(jurisdiction);
        rules
            .row(rows, jurisdiction, class)
            .or_else(|| rules.row(rows, country(jurisdiction), class))
            .or_else(|| within.iter().find_map(|area| rules.row(rows, area, class)))
            .or_else(|| if within.is_empty() { rules.row(rows, REST, class) } else { None })
            .filter(|rule| rule.basis != Basis::LegitimateInterest || !knows_no_interest(jurisdiction))
    }

    /// The whole basis table.
    pub fn bases(&self) -> &[BasisRule] {
        &self.rules.bases
    }

    /// The assessment of that id.
    pub fn assessment(&self, id: &str) -> Option<&Assessment> {
        self.rules.assessments.iter().find(|assessment| assessment.id == id)
    }

    /// All assessments.
    pub fn assessments(&self) -> &[Assessment] {
        &self.rules.assessments
    }

    /// The legal rule of that id.
    pub fn legal_rule(&self, id: &str) -> Option<&LegalRule> {
        self.rules.legal.iter().find(|rule| rule.id == id)
    }

    /// All legal rules.
    pub fn legal_rules(&self) -> &[LegalRule] {
        &self.rules.legal
    }

    /// Whether a legal rule binds somebody in `jurisdiction`.
    pub fn binds(&self, rule: &LegalRule, jurisdiction: &str) -> bool {
        self.rules.fits(&rule.areas, jurisdiction).is_some()
    }

    /// Whether `jurisdiction` is in `area` (or is it).
    pub fn is_in(&self, jurisdiction: &str, area: &str) -> bool {
        let own = self.rules.areas_of(jurisdiction);
        area == jurisdiction
            || area == country(jurisdiction)
            || if own.is_empty() { area == REST } else { own.iter().any(|own| own == area) }
    }

    /// How closely `areas` name a jurisdiction: 3 for itself, 2 for its country, 1 for an area that it is in.
    pub fn closeness(&self, areas: &BTreeSet<String>, jurisdiction: &str) -> Option<u8> {
        self.rules.fits(areas, jurisdiction)
    }

    /// The named areas and the codes in each.
    pub fn areas(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.rules.areas
    }

    /// All regions.
    pub fn regions(&self) -> &BTreeSet<String> {
        &self.rules.regions
    }

    /// The region that records are stored in unless a subject is pinned to another.
    pub fn storage(&self) -> &str {
        &self.rules.storage
    }

    /// Whether there is such a region.
    pub fn has_region(&self, region: &str) -> bool {
        self.rules.regions.contains(region)
    }

    /// The transfer rules from one region to another, whatever the day.
    pub fn transfers<'a>(&'a self, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a TransferRule> {
        self.rules.transfers.iter().filter(move |rule| rule.from == from && rule.to == to)
    }

    /// All transfer rules.
    pub fn all_transfers(&self) -> &[TransferRule] {
        &self.rules.transfers
    }

    /// The source system of that id.
    pub fn source(&self, id: &str) -> Option<&SourceSystem> {
        self.rules.sources.iter().find(|source| source.id == id)
    }

    /// All source systems.
    pub fn sources(&self) -> &[SourceSystem] {
        &self.rules.sources
    }

    /// The registered partner of that id.
    pub fn partner(&self, id: &str) -> Option<&Partner> {
        self.rules.partners.iter().find(|partner| partner.id == id)
    }

    /// All registered partners.
    pub fn partners(&self) -> &[Partner] {
        &self.rules.partners
    }
}

/// The country of a jurisdiction that may be a subdivision.
pub(super) fn country(jurisdiction: &str) -> &str {
    jurisdiction.split('-').next().unwrap_or(jurisdiction)
}

/// Whether this is `https://host[:port][/path]` and nothing else, in visible ASCII.
fn is_https(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let (name, port) = host.split_once(':').unwrap_or((host, "443"));
    !name.is_empty()
        && text.len() <= 500
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\\\"<>".contains(&byte))
}

fn is_code(text: &str) -> bool {
    country(text).len() == 2 && country(text).bytes().all(|byte| byte.is_ascii_uppercase())
}

fn knows_no_interest(jurisdiction: &str) -> bool {
    WITHOUT_INTERESTS.contains(&country(jurisdiction))
}

fn areas(text: &BTreeMap<String, BTreeSet<String>>) -> Result<BTreeMap<String, BTreeSet<String>>, TenantError> {
    match text.keys().find(|name| *name == REST || !name.bytes().all(|byte| byte.is_ascii_uppercase())) {
        Some(name) => Err(wrong(RULES, format!("area `{name}`"), "its name is not in capitals, or is kept for the others")),
        None => Ok(text.clone()),
    }
}

fn known_purpose(tenant: &Tenant, file: &'static str, place: &str, purpose: &str) -> Result<(), TenantError> {
    match tenant.purpose(purpose) {
        Some(_) => Ok(()),
        None => Err(wrong(file, place, format!("unknown purpose `{purpose}`"))),
    }
}

/// Whether each of `areas` is a named area, a code of a country or subdivision, or [`REST`].
pub(super) fn known_areas(rules: &Rules, file: &'static str, place: &str, areas: &BTreeSet<String>) -> Result<(), TenantError> {
    match areas.iter().find(|area| !rules.knows_area(area)) {
        Some(unknown) => Err(wrong(file, place, format!("unknown area `{unknown}`"))),
        None => Ok(()),
    }
}

fn basis_rule(tenant: &Tenant, rules: &Rules, place: &str, text: BasisText) -> Result<BasisRule, TenantError> {
    known_purpose(tenant, RULES, place, &text.purpose)?;
    known_areas(rules, RULES, place, &text.areas)?;
    let wrong = |problem: String| Err(wrong(RULES, place, problem));
    if let Some(unknown) = text.classes.iter().find(|class| !tenant.has_class(class)) {
        return wrong(format!("unknown class `{unknown}`"));
    }
    if text.basis == Basis::LegitimateInterest {
        let unnamed = WITHOUT_INTERESTS.iter().any(|code| !rules.within.contains_key(*code));
        let in_china = |area: &String| {
            knows_no_interest(area)
                || (area == REST && unnamed)
                || rules.areas.get(area).is_some_and(|codes| codes.iter().any(|code| knows_no_interest(code)))
        };
        if let Some(area) = text.areas.iter().find(|area| in_china(area)) {
            return wrong(format!("the law of `{area}` knows no legitimate interest"));
        }
        let assessed = text.assessment.as_ref().and_then(|id| rules.assessments.iter().find(|own| own.id == *id));
        if assessed.is_none_or(|assessment| assessment.purpose != text.purpose) {
            let missing = wrong("a legitimate interest needs an assessment of this purpose".to_owned());
            return missing.map_err(|error: TenantError| TenantError { code: Code::LiaMissing, ..error });
        }
    } else if text.assessment.is_some() {
        return wrong("only a legitimate interest has an assessment".to_owned());
    }
    let consent = text.consent.unwrap_or_else(|| "general".to_owned());
    if !["general", "separate"].contains(&consent.as_str()) {
        return wrong(format!("unknown kind of consent `{consent}`"));
    }
    Ok(BasisRule {
        id: text.id,
        purpose: text.purpose,
        areas: text.areas,
        classes: text.classes,
        basis: text.basis,
        term: text.term,
        consent,
        assessment: text.assessment,
    })
}
