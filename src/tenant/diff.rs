//! What changes from one policy to the next, what of it lets more be done with people's data, and what may never change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Document, Kind};
use super::read::wrong;
use super::{Tenant, TenantError};
use crate::model::field::{FieldSet, Mask, Sensitivity};
use crate::model::rules::{Basis, PartnerKind};

/// One entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// Its kind.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// `added`, `changed` or `removed`.
    pub change: String,
    /// The members that are not as they were, where it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// One way in which more may be done than before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Widened {
    /// `purpose`, `category`, `class`, `recipient`, `basis`, `retention`, `region`, `age` or `mask`.
    pub what: String,
    /// Where: a purpose, group, region, jurisdiction or field.
    pub of: String,
    /// To what.
    pub to: String,
}

/// What one policy changes about another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// Whether people have to be told, and asked again where their consent is what counts.
    pub material: bool,
    /// Every entry that is not as it was.
    pub changes: Vec<Changed>,
    /// What lets more be done.
    pub widens: Vec<Widened>,
    /// Purposes that rest on consent somewhere and reach further than before: older consents do not cover what is new.
    pub reconsent: Vec<String>,
}

impl Diff {
    /// What `new` changes about `old`.
    pub fn between(old: &Tenant, new: &Tenant) -> Self {
        let changes = changes(old.document(), new.document());
        if changes.is_empty() {
            return Self::default();
        }
        let mut widens = BTreeSet::new();
        let mut widen = |what: &str, of: &str, to: String| {
            widens.insert(Widened { what: what.to_owned(), of: of.to_owned(), to });
        };
        purposes(old, new, &mut widen);
        bases(old, new, &mut widen);
        recipients(old, new, &mut widen);
        places(old, new, &mut widen);
        times(old, new, &mut widen);
        let widens: Vec<Widened> = widens.into_iter().collect();
        let on_consent = |purpose: &str| {
            let rests = |id: &str| new.bases().iter().any(|rule| rule.purpose == id && rule.basis == Basis::Consent);
            rests(purpose) || new.purpose(purpose).and_then(|own| own.parent.as_deref()).is_some_and(rests)
        };
        let reaches = |one: &&Widened| ["category", "class", "recipient", "purpose"].contains(&one.what.as_str());
        let reconsent: BTreeSet<&str> =
            widens.iter().filter(reaches).map(|one| one.of.as_str()).filter(|of| on_consent(of)).collect();
        let reconsent = reconsent.into_iter().filter(|id| old.purpose(id).is_some()).map(str::to_owned).collect();
        Self { material: !widens.is_empty(), changes, widens, reconsent }
    }
}

/// Sees to it that `new` gives no number and no group of `old` another meaning: stored envelopes and keys hold numbers alone.
pub fn follows(old: &Tenant, new: &Tenant) -> Result<(), TenantError> {
    let fields = |place: String, problem: String| Err(wrong("fields.toml", place, problem));
    let retired: BTreeSet<u16> = new.document().fields.retired.iter().copied().collect();
    if let Some(number) = old.document().fields.retired.iter().find(|number| !retired.contains(number)) {
        return fields("retired".to_owned(), format!("number {number} was retired and is not any more"));
    }
    for field in old.fields() {
        let place = format!("field `{}`", field.name);
        match new.fields().iter().find(|own| own.number == field.number) {
            None if retired.contains(&field.number) => {}
            None => return fields(place, format!("its number {} is neither used nor retired", field.number)),
            Some(own) if own.name != field.name => {
                let place = format!("field `{}`", own.name);
                return fields(place, format!("number {} belongs to `{}`", field.number, field.name));
            }
            Some(own) if own.kind != field.kind => {
                return fields(place, "its kind cannot change: values of it are stored".to_owned());
            }
            Some(_) => {}
        }
    }
    for (name, number) in &old.document().tenant.groups {
        if new.document().tenant.groups.get(name) != Some(number) {
            let problem = format!("its number is {number} for good: keys are stored under it");
            return Err(wrong("tenant.toml", format!("group `{name}`"), problem));
        }
    }
    Ok(())
}

fn changes(old: &Document, new: &Document) -> Vec<Changed> {
    let mut changes = Vec::new();
    for kind in Kind::ALL {
        let before: BTreeMap<String, Value> = old.entries(kind).into_iter().collect();
        let after: BTreeMap<String, Value> = new.entries(kind).into_iter().collect();
        let changed = |id: &str, change: &str, members: Vec<String>| Changed {
            kind: kind.text().to_owned(),
            id: id.to_owned(),
            change: change.to_owned(),
            members,
        };
        for (id, entry) in &after {
            match before.get(id) {
                None => changes.push(changed(id, "added", Vec::new())),
                Some(own) if own != entry => changes.push(changed(id, "changed", members(own, entry))),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|id| !after.contains_key(*id));
        changes.extend(gone.map(|id| changed(id, "removed", Vec::new())));
    }
    changes
}

fn members(old: &Value, new: &Value) -> Vec<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Vec::new() };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

fn purposes(old: &Tenant, new: &Tenant, widen: &mut impl FnMut(&str, &str, String)) {
    for purpose in new.purposes() {
        let Some(before) = old.purpose(&purpose.id) else {
            widen("purpose", &purpose.id, purpose.title.clone());
            continue;
        };
        for category in purpose.categories.difference(&before.categories) {
            widen("category", &purpose.id, category.clone());
        }
        // A field of a category that the purpose had all along.
        let added = new.fields().iter().filter(|field| purpose.fields.contains(field.number));
        for field in added.filter(|field| !before.fields.contains(field.number) && before.categories.contains(&field.category)) {
            widen("category", &purpose.id, format!("{} ({})", field.category, field.name));
        }
        for class in purpose.classes.difference(&before.classes) {
            widen("class", &purpose.id, class.clone());
        }
    }
    for assessment in new.assessments() {
        let before = old.assessment(&assessment.id).map(|own| own.compatible.clone()).unwrap_or_default();
        for compatible in assessment.compatible.difference(&before).filter(|id| old.purpose(id).is_some()) {
            widen("purpose", &assessment.purpose, format!("compatible with {compatible}"));
        }
    }
}

/// Every jurisdiction that one of the policies names, and one that none does.
fn everywhere<'a>(tenants: &[&'a Tenant]) -> BTreeSet<&'a str> {
    let mut everywhere = BTreeSet::from([Tenant::ELSEWHERE]);
    for tenant in tenants {
        everywhere.extend(tenant.areas().values().flatten().map(String::as_str));
        let of_bases = tenant.bases().iter().flat_map(|rule| &rule.areas);
        let named = of_bases.chain(tenant.retention_rules().iter().flat_map(|rule| &rule.areas));
        everywhere.extend(named.filter(|area| !tenant.areas().contains_key(*area) && *area != "REST").map(String::as_str));
    }
    everywhere
}

/// Compares what each purpose rests on, everywhere that either policy names and for every class.
fn bases(old: &Tenant, new: &Tenant, widen: &mut impl FnMut(&str, &str, String)) {
    let everywhere = everywhere(&[old, new]);
    for purpose in new.purposes() {
        let Some(before) = old.purpose(&purpose.id) else { continue };
        let mut wider = BTreeMap::new();
        for class in &purpose.classes {
            for place in &everywhere {
                let is = new.basis(purpose, place, class);
                let was = old.basis(before, place, class);
                let same = match (was, is) {
                    (_, None) => true,
                    (None, Some(_)) => false,
                    // A consent of its own where a general one did is no widening; the other way round is.
                    (Some(was), Some(is)) => was.basis == is.basis && (was.consent == is.consent || is.consent == "separate"),
                };
                if let Some(rule) = is.filter(|_| !same) {
                    wider.entry((class.clone(), rule.term.clone())).or_insert_with(Vec::new).push(*place);
                }
            }
        }
        for ((class, term), places) in wider {
            widen("basis", &purpose.id, format!("{term} ({class}: {})", places.join(", ")));
        }
    }
}

fn recipients(old: &Tenant, new: &Tenant, widen: &mut impl FnMut(&str, &str, String)) {
    let known = |tenant: &Tenant| -> BTreeSet<(String, &'static str, u16)> {
        let partners = tenant.partners().iter();
        let all = partners.flat_map(|partner| {
            partner.purposes.iter().flat_map(|purpose| {
                partner.fields.iter().map(|field| (purpose.clone(), kind_name(partner.kind), field)).collect::<Vec<_>>()
            })
        });
        all.collect()
    };
    for (purpose, kind, field) in known(new).difference(&known(old)) {
        let name = new.field_numbered(*field).map_or("", |field| field.name.as_str());
        widen("recipient", purpose, format!("{kind}: {name}"));
    }
}

fn places(old: &Tenant, new: &Tenant, widen: &mut impl FnMut(&str, &str, String)) {
    for region in new.regions().difference(old.regions()) {
        widen("region", region, region.clone());
    }
    if old.storage() != new.storage() {
        widen("region", "storage", new.storage().to_owned());
    }
    let end = |until: Option<Date>| until.unwrap_or(Date::MAX);
    for rule in new.all_transfers() {
        let longest = old.transfers(&rule.from, &rule.to).map(|own| end(own.valid_until)).max();
        if longest.is_none_or(|longest| longest < end(rule.valid_until)) {
            widen("region", &rule.from, format!("{} ({})", rule.to, rule.tool));
        }
    }
    for partner in new.partners() {
        if old.partner(&partner.id).is_some_and(|own| own.region != partner.region) {
            widen("region", &partner.id, partner.region.clone());
        }
    }
}

fn times(old: &Tenant, new: &Tenant, widen: &mut impl FnMut(&str, &str, String)) {
    let from = jiff::Timestamp::UNIX_EPOCH;
    let places = everywhere(&[old, new]);
    for group in new.groups().iter().filter(|group| old.groups().contains(*group)) {
        let longer = places.iter().any(|place| {
            new.fields().iter().any(|field| {
                let end = |tenant: &Tenant| tenant.retention_end(group, place, &FieldSet::from_iter([field.number]), from);
                end(old).is_some_and(|was| end(new).is_none_or(|is| is > was))
            })
        });
        if longer {
            widen("retention", new.group_name(group), "kept longer".to_owned());
        }
    }
    let named = |tenant: &Tenant| tenant.document().tenant.ages.keys().cloned().collect::<BTreeSet<String>>();
    for place in named(old).union(&named(new)) {
        let place = if place == "default" { Tenant::ELSEWHERE } else { place };
        if new.age(place) < old.age(place) {
            widen("age", place, format!("{} instead of {}", new.age(place), old.age(place)));
        }
    }
    for field in new.fields() {
        let Ok(before) = old.field(&field.name) else { continue };
        let opened = before.sensitivity == Sensitivity::High && field.sensitivity == Sensitivity::Normal
            || before.mask != Mask::None && field.mask == Mask::None;
        if opened {
            widen("mask", &field.name, "clear text".to_owned());
        }
    }
}

/// The name of a kind of recipient.
pub(super) const fn kind_name(kind: PartnerKind) -> &'static str {
    match kind {
        PartnerKind::Processor => "processor",
        PartnerKind::Affiliate => "affiliate",
        PartnerKind::Controller => "controller of its own",
        PartnerKind::AdAnalytics => "advertising or analytics",
        PartnerKind::Authority => "public authority",
    }
}
