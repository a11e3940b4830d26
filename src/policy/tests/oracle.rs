//! The whole decision as one plain function, written from API.md and the golden matrix rather than from the guards, and
//! held against them over many random worlds: policies, callers, people, records.

use std::collections::BTreeSet;

use super::policies::policies;
use super::world::{Approved, World, consent, contract, guardian, restriction};
use super::*;
use crate::model::case::CaseKind;
use crate::model::field::{Field, FieldSet, Identifiability, Kind, Sensitivity};
use crate::model::purpose::{GroupSet, Purpose};
use crate::model::rules::{Basis, BasisRule, Partner, PartnerKind};
use crate::model::standing::{Consent, ConsentState, Extension, Held, RestrictionKind};

const WORLDS: u64 = 60_000;

#[test]
fn the_guards_agree_with_a_plain_model_on_random_facts() {
    let mut outcomes = BTreeSet::new();
    let policies = policies();
    for seed in 0..WORLDS {
        let (world, operation, purpose) = random(&policies, seed);
        let purpose = purpose.as_deref();
        let outcome = world.outcome(operation, purpose);
        let short = outcome.as_ref().map(|answer| (answer.group.clone(), answer.fields.clone())).map_err(|&refusal| refusal);
        assert_eq!(short, model(&world, operation, purpose), "seed {seed}: {operation:?} for {purpose:?}");
        let first = world.explanation(operation, purpose).into_iter().find(|finding| finding.holds == Some(false));
        let first = first.map(|finding| (finding.guard, finding.code.unwrap()));
        assert_eq!(first, outcome.as_ref().err().copied(), "seed {seed}: explained otherwise than decided");
        outcomes.insert(outcome.map_or_else(|(guard, code)| format!("{guard} {}", code.text()), |_| "allowed".to_owned()));
    }
    // The random worlds reach every refusal that there is.
    let wanted = [
        "G0 training-required",
        "G0 unauthenticated",
        "G1 not-found",
        "G1 role-forbidden",
        "G1 second-person-required",
        "G10 foreign-authority-approval-required",
        "G10 transfer-not-permitted",
        "G11 identity-to-ad-partner",
        "G11 outside-case",
        "G11 outside-entrustment",
        "G12 retention-expired",
        "G13 step-up-required",
        "G14 audit-unavailable",
        "G15 key-destroyed",
        "G15 not-found",
        "G2 account-closed",
        "G2 erased",
        "G2 held",
        "G2 not-found",
        "G3 aggregate-only",
        "G3 purpose-not-published",
        "G3 purpose-required",
        "G4 outside-entrustment",
        "G4 purpose-not-granted",
        "G5 category-not-permitted",
        "G5 origin-scope",
        "G5 subject-class-mismatch",
        "G6 purpose-incompatible",
        "G7 consent-expired",
        "G7 consent-missing",
        "G7 consent-withdrawn",
        "G7 contract-inactive",
        "G7 no-lawful-basis",
        "G7 objection-active",
        "G7 reconsent-required",
        "G7 rule-required",
        "G7 separate-consent-required",
        "G8 held",
        "G8 restricted",
        "G9 guardian-consent-required",
        "G9 minor-protection",
        "allowed",
    ];
    assert_eq!(outcomes.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

/// The sign of the golden matrix.
fn sign(operation: Operation, role: Role) -> &'static str {
    let row = include_str!("../../../tests/golden/roles.md").lines().find(|line| {
        let name = line.split('|').nth(1).unwrap_or_default();
        name.trim() == operation.text()
    });
    let letters = ["W", "R", "P", "S", "D", "K", "C", "I", "A", "Z"];
    let letter = match role {
        Role::Writer => "W",
        Role::Reader => "R",
        Role::Partner => "P",
        Role::Subject => "S",
        Role::PrivacyOfficer => "D",
        Role::KeyAdmin => "K",
        Role::PolicyAuthor => "C",
        Role::SecurityOfficer => "I",
        Role::Auditor => "A",
        Role::Scheduler => "Z",
    };
    let column = letters.iter().position(|&other| other == letter).unwrap();
    row.unwrap().split('|').nth(column + 2).unwrap().trim()
}

type Outcome = Result<(Option<String>, Vec<String>), (&'static str, Code)>;

fn model(world: &World, operation: Operation, named: Option<&str>) -> Outcome {
    let caller = &world.caller;
    let tenant = &world.tenant;
    let releases = [LookupSubject, ReadRecords, QueryRecords, VerifySecret, Disclose].contains(&operation);
    let with_purpose = releases || [CreateSubject, WriteRecord, RectifyRecord].contains(&operation);
    let shows = [ReadRecords, QueryRecords, Disclose].contains(&operation);
    let opens = shows || [RectifyRecord, VerifySecret].contains(&operation);
    let on_subject = [
        GetSubject,
        WriteRecord,
        ReadRecords,
        RectifyRecord,
        DeleteRecord,
        VerifySecret,
        RecordConsent,
        ListConsents,
        GetConsentReceipt,
        SetPreference,
        PutContract,
        RestrictSubject,
        LiftRestriction,
        OpenErasure,
        Disclose,
    ]
    .contains(&operation);
    let is_hidden = [ApproveErasure, GetErasure, GetRequest, AdvanceRequest, GetRequestResult].contains(&operation);
    let own_story = [GetCase, ApproveCase, ExplainDecision].contains(&operation);
    let goes_on = is_hidden || own_story;
    let purpose = named.filter(|_| with_purpose).and_then(|id| tenant.purpose(id));
    let there = world.class.filter(|_| !world.foreign);
    let today = world.now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();

    // G0
    if world.now >= caller.expires_at {
        return Err(("G0", Code::Unauthenticated));
    }
    let trained = caller.trained_until.is_some_and(|last| today <= last);
    if releases && caller.kind == CallerKind::Person && caller.subject.is_none() && !trained {
        return Err(("G0", Code::TrainingRequired));
    }

    // G1
    if caller.actions.as_ref().is_some_and(|actions| !actions.contains(&operation)) {
        return Err(("G1", Code::RoleForbidden));
    }
    let sees_subjects = caller.roles.iter().any(|&role| sign(GetSubject, role) == "●");
    let knows = world.own || (!is_hidden && (!on_subject || sees_subjects));
    let approved = match world.second {
        Second::Waived => true,
        Second::OpenedBy(other) => other != caller.id && caller.kind == CallerKind::Person,
        Second::None => [OpenErasure, OpenCase].contains(&operation),
    };
    let to = world.recipient.and_then(|id| tenant.partner(id));
    let authority = to.is_some_and(|partner| partner.kind == PartnerKind::Authority);
    let needs_case = operation == Disclose && (authority || world.disclosed_on.is_some());
    let case = world.case.as_ref().filter(|_| needs_case);
    let says = |role: &Role| match sign(operation, *role) {
        "●" if needs_case && *role != Role::PrivacyOfficer => Err(Code::RoleForbidden),
        "●" if needs_case && case.is_none() => Err(Code::SecondPersonRequired),
        "●" => Ok(()),
        "●¹" if purpose.is_none_or(|purpose| purpose.id == "x-rights" && world.request) => Ok(()),
        "△" if approved => Ok(()),
        "△" => Err(Code::SecondPersonRequired),
        "○" if world.own && operation == ApproveErasure && !approved => Err(Code::SecondPersonRequired),
        "○" if world.own => Ok(()),
        "○" if !knows => Err(Code::NotFound),
        _ => Err(Code::RoleForbidden),
    };
    let said: Vec<_> = caller.roles.iter().map(says).collect();
    if !said.contains(&Ok(())) {
        let mut telling = said.into_iter().filter_map(Result::err).filter(|&code| code != Code::RoleForbidden);
        return Err(("G1", telling.next_back().unwrap_or(Code::RoleForbidden)));
    }

    // G2
    if !goes_on {
        match (there, world.state) {
            (None, _) if on_subject => return Err(("G2", Code::NotFound)),
            (Some(_), SubjectState::Held) if ![GetSubject, RestrictSubject, LiftRestriction].contains(&operation) => {
                return Err(("G2", if knows { Code::Held } else { Code::NotFound }));
            }
            (Some(_), SubjectState::Erased) => return Err(("G2", if knows { Code::Erased } else { Code::NotFound })),
            (Some(_), SubjectState::Closed) if with_purpose && !matches!(named, Some("x-rights" | "l1-legal")) => {
                return Err(("G2", Code::AccountClosed));
            }
            _ => {}
        }
    }
    let person = there.is_some() && world.state != SubjectState::Erased;

    if !with_purpose {
        if operation == DeleteRecord && person {
            restricted(world, operation, None)?;
        }
        return if world.trail { Ok((None, Vec::new())) } else { Err(("G14", Code::AuditUnavailable)) };
    }

    // G3, G4
    let purpose = match (named, purpose) {
        (None, _) => return Err(("G3", Code::PurposeRequired)),
        (_, None) => return Err(("G3", Code::PurposeNotPublished)),
        (_, Some(purpose)) if purpose.id == "h-efficiency" => return Err(("G3", Code::AggregateOnly)),
        (_, Some(purpose)) => purpose,
    };
    let own_words = |partner: &Partner| {
        let kinds = [format!("separate:partner:{}", partner.id), format!("separate:partner:{}:{}", partner.id, purpose.id)];
        let said =
            world.standing.consents.iter().filter(|consent| consent.purpose == purpose.id && kinds.contains(&consent.kind));
        let last = said.max_by_key(|consent| consent.at).filter(|_| person);
        last.is_some_and(|consent| {
            consent.state == ConsentState::Given && consent.until.is_none_or(|until| world.now.as_microsecond() < until)
        })
    };
    if !caller.purposes.contains(&purpose.id) {
        match caller.partner.as_deref().and_then(|id| tenant.partner(id)) {
            Some(partner) if releases && !partner.purposes.contains(&purpose.id) => {
                if !own_words(partner) {
                    return Err(("G4", Code::OutsideEntrustment));
                }
            }
            _ => return Err(("G4", Code::PurposeNotGranted)),
        }
    }

    // G5
    match there {
        None if operation == CreateSubject => return Err(("G5", Code::SubjectClassMismatch)),
        Some("consumer") if purpose.id == "f-supplier" => return Err(("G5", Code::SubjectClassMismatch)),
        _ => {}
    }
    let collects_rights = purpose.id == "x-rights" && matches!(operation, CreateSubject | WriteRecord);
    if collects_rights || world.fields.iter().any(|&number| !sees(world, shows, purpose, number)) {
        return Err(("G5", Code::CategoryNotPermitted));
    }
    let on_device = matches!(purpose.id.as_str(), "e-ads" | "e-personalise");
    let record = world.record.as_ref().filter(|_| opens);
    let scoped = on_device || purpose.id == "j-sync" && !world.own;
    if record.is_some() && scoped && world.source != caller.source.as_deref() {
        return Err(("G5", Code::OriginScope));
    }
    let every = || tenant.fields().iter().map(|field| field.number).filter(|&number| sees(world, shows, purpose, number));
    let asked: Vec<u16> = match world.fields.is_empty() {
        true if shows => every().collect(),
        _ => world.fields.clone(),
    };
    let mut left: BTreeSet<u16> = asked.iter().copied().collect();
    // A guard that covers some fields only: those named must all be covered, of those not named some.
    let mut cover = |covers: &dyn Fn(&Field) -> bool| {
        let covered: BTreeSet<u16> =
            asked.iter().copied().filter(|number| covers(tenant.field_numbered(*number).unwrap())).collect();
        let missed = asked.iter().any(|number| !covered.contains(number));
        let enough = if world.fields.is_empty() { asked.is_empty() || !covered.is_empty() } else { !missed };
        left.retain(|number| covered.contains(number));
        enough
    };

    // G6
    let rule = world.grounds.rule.as_deref().and_then(|id| tenant.legal_rules().iter().find(|rule| rule.id == id));
    let rule = rule.filter(|rule| person && rule.areas.iter().any(|area| tenant.is_in(world.jurisdiction, area)));
    let lineage = lineage(world, &purpose.id);
    if let Some((collected_for, ..)) = record {
        let by_label = lineage.iter().any(|id| collected_for.contains(id));
        let by_law = purpose.id == "x-rights" || purpose.id == "l1-legal" && rule.is_some();
        let assessed = tenant.assessments().iter().any(|assessment| {
            let in_force = assessment.approved_on <= today && assessment.valid_until.is_none_or(|last| today <= last);
            let covers = |id: &String| self::lineage(world, id).iter().any(|id| assessment.compatible.contains(id));
            assessment.purpose == purpose.id && in_force && collected_for.iter().any(covers)
        });
        if !by_label && !by_law && !assessed {
            return Err(("G6", Code::PurposeIncompatible));
        }
    }

    // G7
    let basis = basis(world, &lineage).filter(|_| person);
    if person {
        let Some(basis) = basis else { return Err(("G7", Code::NoLawfulBasis)) };
        for switch in &world.standing.preferences {
            let group = purpose.id.split('-').next().unwrap();
            match (switch.name.as_str(), switch.on, group) {
                ("marketing", false, "c") => return Err(("G7", Code::ConsentWithdrawn)),
                ("personalised-ads" | "cookies", false, "e") | ("gpc", true, "e") => return Err(("G7", Code::ObjectionActive)),
                _ => {}
            }
        }
        let objected = |only_named: bool| {
            world.standing.restrictions.iter().any(|own| {
                let wide = own.purposes.is_empty() && !only_named;
                let about = |id: &String| (wide || own.purposes.contains(id)) && !own.exceptions.contains(id);
                let excepted = own.exceptions.contains(&purpose.id);
                own.active && own.kind == RestrictionKind::Objection && lineage.iter().any(about) && !excepted
            })
        };
        match basis.basis {
            _ if purpose.id == "l1-legal" => {
                if world.grounds.rule.is_none() {
                    return Err(("G7", Code::RuleRequired));
                }
                let Some(rule) = rule else { return Err(("G7", Code::NoLawfulBasis)) };
                if !cover(&|field| rule.categories.is_empty() || rule.categories.contains(&field.category)) {
                    return Err(("G7", Code::NoLawfulBasis));
                }
            }
            Basis::Consent => {
                let separate = basis.consent == "separate";
                let Some(event) = newest(world, &lineage, separate) else {
                    return Err(("G7", if separate { Code::SeparateConsentRequired } else { Code::ConsentMissing }));
                };
                let over = event.until.is_some_and(|until| world.now.as_microsecond() >= until);
                match event.state {
                    ConsentState::Given if over => return Err(("G7", Code::ConsentExpired)),
                    ConsentState::Given if world.of_age_since.is_some_and(|day| event.at < day.as_microsecond()) => {
                        return Err(("G7", Code::ReconsentRequired));
                    }
                    ConsentState::Given => {}
                    ConsentState::Requested => return Err(("G7", Code::ReconsentRequired)),
                    ConsentState::Refused => return Err(("G7", Code::ConsentMissing)),
                    ConsentState::Withdrawn => return Err(("G7", Code::ConsentWithdrawn)),
                    ConsentState::Expired => return Err(("G7", Code::ConsentExpired)),
                }
                if !cover(&|field| event.categories.contains(&field.category)) {
                    return Err(("G7", Code::ReconsentRequired));
                }
                if objected(true) {
                    return Err(("G7", Code::ObjectionActive));
                }
            }
            Basis::Contract => {
                let wanted = world.grounds.contract.as_ref();
                let stands = world.standing.contracts.iter().any(|contract| {
                    let (from, until) = (contract.from.as_str(), contract.until.as_deref().unwrap_or("9999-12-31"));
                    let today = today.to_string();
                    wanted.is_none_or(|reference| *reference == contract.reference)
                        && contract.active
                        && from <= today.as_str()
                        && today.as_str() <= until
                });
                if !stands {
                    return Err(("G7", Code::ContractInactive));
                }
            }
            Basis::Account if world.state == SubjectState::Closed => return Err(("G7", Code::NoLawfulBasis)),
            Basis::Account | Basis::LegalObligation => {}
            Basis::LegitimateInterest => {
                let assessed = tenant.assessments().iter().any(|assessment| {
                    Some(&assessment.id) == basis.assessment.as_ref()
                        && assessment.approved_on <= today
                        && assessment.valid_until.is_none_or(|last| today <= last)
                });
                if !assessed {
                    return Err(("G7", Code::NoLawfulBasis));
                }
                if objected(false) {
                    return Err(("G7", Code::ObjectionActive));
                }
            }
        }
    }

    // G8
    if person && (releases || operation == RectifyRecord) {
        restricted(world, operation, Some(purpose))?;
    }

    // G9
    if person && world.minor {
        let gets = world.recipient.or(caller.partner.as_deref()).and_then(|id| tenant.partner(id));
        if on_device || gets.is_some_and(|partner| partner.kind == PartnerKind::AdAnalytics) {
            return Err(("G9", Code::MinorProtection));
        }
        let by_law =
            basis.is_some_and(|basis| basis.basis == Basis::LegalObligation) && (purpose.id != "l1-legal" || rule.is_some());
        if purpose.id != "x-rights" && !by_law {
            let explicit = operation == Disclose || basis.is_some_and(|basis| basis.basis == Basis::Consent);
            let missing = match world.standing.guardian.as_ref().filter(|word| !word.withdrawn) {
                None => Some(Code::GuardianConsentRequired),
                Some(word) if explicit && !lineage.iter().any(|id| word.purposes.contains(id)) => Some(Code::MinorProtection),
                Some(_) => None,
            };
            if let Some(code) = missing {
                // Only a case for the child's protection, about this purpose, stands in for the guardian, as far as it reaches.
                let protection = world.protection.as_ref().filter(|case| case.purposes.contains(&purpose.id));
                if !protection.is_some_and(|case| cover(&|field| case.fields.contains(field.number))) {
                    return Err(("G9", code));
                }
            }
        }
    }

    // G10
    let partner = world.recipient.or(caller.partner.as_deref()).and_then(|id| tenant.partner(id));
    let here = if person { world.region.as_str() } else { "EU" };
    let theirs = caller.region.as_deref().unwrap_or("EU");
    let writes = matches!(operation, CreateSubject | WriteRecord | RectifyRecord);
    let mut ways = vec![if writes { (theirs, here) } else { (here, theirs) }];
    let abroad = |partner: &Partner| partner.kind == PartnerKind::Authority && partner.region != "CN";
    let to_foreign_authority = person && here == "CN" && partner.is_some_and(abroad);
    let rule_approves = partner.is_some_and(|partner| {
        tenant.all_transfers().iter().any(|rule| {
            rule.from == "CN"
                && rule.to == partner.region
                && rule.tool == "authority-approval"
                && rule.valid_until.is_none_or(|last| today <= last)
        })
    });
    if to_foreign_authority && !rule_approves && !world.case.as_ref().is_some_and(|case| case.abroad) {
        return Err(("G10", Code::ForeignAuthorityApprovalRequired));
    }
    ways.extend(partner.filter(|_| !to_foreign_authority).map(|partner| (here, partner.region.as_str())));
    let mut anonymous = false;
    for (from, to) in ways.into_iter().filter(|(from, to)| from != to) {
        let in_force = |tool: &dyn Fn(&str) -> bool| {
            tenant.all_transfers().iter().any(|rule| {
                rule.from == from && rule.to == to && tool(&rule.tool) && rule.valid_until.is_none_or(|last| today <= last)
            })
        };
        let whole = in_force(&|tool| tool != "anonymise" && tool != "authority-approval");
        if !whole && !in_force(&|tool| tool == "anonymise") {
            return Err(("G10", Code::TransferNotPermitted));
        }
        anonymous |= !whole;
    }
    if anonymous && !cover(&|field| field.identifiability != Identifiability::Direct) {
        return Err(("G10", Code::TransferNotPermitted));
    }

    // G11
    if releases {
        let said = |kind: String| {
            person
                && world.standing.consents.iter().any(|consent| {
                    consent.purpose == purpose.id
                        && consent.kind == kind
                        && consent.state == ConsentState::Given
                        && consent.until.is_none_or(|until| world.now.as_microsecond() < until)
                })
        };
        match partner {
            None if caller.partner.is_some() || caller.roles.contains(&Role::Partner) => {
                return Err(("G11", Code::OutsideEntrustment));
            }
            None => {}
            Some(partner) => {
                let live = partner.from <= today && partner.until.is_none_or(|last| today <= last);
                let own = partner.purposes.contains(&purpose.id) || own_words(partner);
                let agreed = case.is_some() || own && partner.kind != PartnerKind::Authority;
                if !live || !agreed {
                    return Err(("G11", Code::OutsideEntrustment));
                }
                let nameless = |field: &Field| {
                    partner.kind != PartnerKind::AdAnalytics
                        || field.identifiability != Identifiability::Direct
                        || said(format!("explicit:partner:{}:{}", partner.id, field.name))
                };
                if let Some(case) = case
                    && !(case.recipient == Some(partner.id.as_str())
                        && case.purposes.contains(&purpose.id)
                        && cover(&|field| case.fields.contains(field.number)))
                {
                    return Err(("G11", Code::OutsideCase));
                }
                let scope = case.map_or(partner.fields, |case| case.fields);
                if case.is_some() && !cover(&|field| nameless(field) && scope.contains(field.number)) {
                    return Err(("G11", Code::IdentityToAdPartner));
                }
                if !cover(&nameless) {
                    return Err(("G11", Code::IdentityToAdPartner));
                }
                if !cover(&|field| nameless(field) && scope.contains(field.number)) {
                    return Err(("G11", Code::OutsideEntrustment));
                }
            }
        }
    }
    let names = |left: &BTreeSet<u16>| left.iter().map(|&number| tenant.field_numbered(number).unwrap().name.clone()).collect();

    // G12
    let over = |group: crate::model::purpose::Group, collected_at: jiff::Timestamp| {
        let day = world.session && world.now.duration_since(collected_at).as_hours() >= 24;
        let end = tenant.retention_end(group, world.jurisdiction, &FieldSet::EMPTY, collected_at);
        let longer = person
            && world.standing.extensions.iter().any(|own| own.group == group.number() && world.now.as_microsecond() < own.until);
        day || end.is_some_and(|end| world.now >= end) && !longer
    };
    let candidates: Vec<_> = record.map_or_else(Vec::new, |(collected_for, wrapped, _)| {
        let once: GroupSet = collected_for.iter().filter_map(|id| tenant.purpose(id).unwrap().group).collect();
        let bound = tenant.groups().iter().filter(|&group| once.contains(group) || wrapped.contains(group));
        bound.filter(|&group| purpose.group.is_none_or(|own| own == group)).collect()
    });
    if let Some((.., collected_at)) = record
        && !candidates.is_empty()
        && candidates.iter().all(|&group| over(group, *collected_at))
    {
        return Err(("G12", Code::RetentionExpired));
    }

    // G13
    let high = |number: &u16| tenant.field_numbered(*number).unwrap().sensitivity == Sensitivity::High;
    let stepped_up = caller.stepped_up_until.is_some_and(|until| world.now < until);
    if shows && world.grounds.clear && !stepped_up && world.fields.iter().any(high) {
        return Err(("G13", Code::StepUpRequired));
    }

    // G14, G15
    if !world.trail {
        return Err(("G14", Code::AuditUnavailable));
    }
    let Some((_, wrapped, collected_at)) = record else {
        let destroyed = purpose.group.is_some_and(|group| world.dead.contains(group));
        let group = purpose.group.map(|group| tenant.group_name(group).to_owned());
        return if opens && destroyed { Err(("G15", Code::KeyDestroyed)) } else { Ok((group, names(&left))) };
    };
    let kept = |group: &&crate::model::purpose::Group| !over(**group, *collected_at);
    let opening = candidates.iter().filter(kept).find(|&&group| wrapped.contains(group) && world.alive.contains(group));
    match opening {
        Some(&group) => Ok((Some(tenant.group_name(group).to_owned()), names(&left))),
        None if candidates.is_empty() => Err(("G15", Code::NotFound)),
        None => Err(("G15", Code::KeyDestroyed)),
    }
}

fn restricted(world: &World, operation: Operation, purpose: Option<&Purpose>) -> Result<(), (&'static str, Code)> {
    for own in world.standing.restrictions.iter().filter(|own| own.active) {
        let concerned = purpose.is_none_or(|purpose| {
            let named = own.purposes.is_empty() || own.purposes.contains(&purpose.id);
            purpose.id != "x-rights" && named && !own.exceptions.contains(&purpose.id)
        });
        // The record of these worlds is number 7 throughout.
        let it = world.record.is_some() && own.records.iter().any(|held| held.record == [7; 16]);
        match own.kind {
            RestrictionKind::LegalHold if concerned && (own.records.is_empty() || it) => return Err(("G8", Code::Held)),
            RestrictionKind::Art18 | RestrictionKind::Dispute if concerned && operation != RectifyRecord => {
                return Err(("G8", Code::Restricted));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A purpose, its parent, and so on.
fn lineage(world: &World, id: &str) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), Some(id.to_owned()));
    while let Some(id) = next {
        next = world.tenant.purpose(&id).unwrap().parent.clone();
        all.push(id);
    }
    all
}

/// The row of the basis table: of the nearest purpose that has any, the one that names the place most closely, then the class.
fn basis<'w>(world: &'w World, lineage: &[String]) -> Option<&'w BasisRule> {
    let tenant = &world.tenant;
    let owner = lineage.iter().find(|id| tenant.bases().iter().any(|row| row.purpose == **id))?;
    let country = world.jurisdiction.split('-').next().unwrap();
    let mut best: Option<((u8, bool), &BasisRule)> = None;
    for row in tenant.bases().iter().filter(|row| row.purpose == *owner) {
        let class = world.class.unwrap_or_default();
        if !row.classes.is_empty() && !row.classes.contains(class) {
            continue;
        }
        let closeness = if row.areas.contains(world.jurisdiction) {
            3
        } else if row.areas.contains(country) {
            2
        } else if row.areas.iter().any(|area| tenant.is_in(world.jurisdiction, area)) {
            1
        } else {
            continue;
        };
        let rank = (closeness, !row.classes.is_empty());
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, row));
        }
    }
    best.map(|(_, row)| row)
}

fn newest<'w>(world: &'w World, lineage: &[String], separate: bool) -> Option<&'w Consent> {
    lineage.iter().find_map(|id| {
        let fits =
            |consent: &&Consent| consent.purpose == *id && (consent.kind == "separate" || consent.kind == "general" && !separate);
        world.standing.consents.iter().filter(fits).max_by_key(|consent| consent.at)
    })
}

fn sees(world: &World, shows: bool, purpose: &Purpose, number: u16) -> bool {
    let Some(field) = world.tenant.fields().iter().find(|field| field.number == number) else {
        return false;
    };
    let pseudonymous = purpose.id == "g-improve";
    let direct = field.identifiability == Identifiability::Direct;
    purpose.categories.contains(&field.category)
        && !(pseudonymous && direct)
        && !(shows && field.kind == Kind::Secret)
        && world.caller.fields.as_ref().is_none_or(|names| names.contains(&field.name))
}

/// SplitMix64: a world is its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn once_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    fn of<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.below(things.len() as u64) as usize]
    }
}

/// A world in which most things are in order, and an operation for a purpose in it.
fn random(policies: &[crate::tenant::Tenant], seed: u64) -> (World, Operation, Option<String>) {
    thread_local!(static BARE: World = World::new(&[], &[]));
    let mut dice = Dice(seed);
    let mut world = BARE.with(Clone::clone);
    world.tenant = dice.of(policies).clone();
    let ids: Vec<String> = world.tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
    let operation = match dice.below(8) {
        0..4 => ReadRecords,
        4 => Disclose,
        _ => *dice.of(Operation::ALL),
    };
    let purpose = match dice.below(20) {
        0 => None,
        1 => Some("z-nonsense".to_owned()),
        2 => Some("x-rights".to_owned()),
        3 => Some("l1-legal".to_owned()),
        4 | 5 => Some("e-ads".to_owned()),
        6 => Some("b-delivery".to_owned()),
        _ => Some(dice.of(&ids).clone()),
    };
    for _ in 0..dice.below(3) {
        world.caller.roles.insert(*dice.of(&roles::ROLES));
    }
    if !dice.once_in(3) {
        world.caller.roles.insert(Role::Reader);
    }
    if operation == Disclose && !dice.once_in(8) {
        world.caller.roles.insert(Role::Writer);
        world.recipient = Some(*dice.of(&[
            "parcel",
            "affiliate-jp",
            "affiliate-cn",
            "ads-one",
            "ads-two",
            "court-us",
            "court-us",
            "police-de",
        ]));
        if dice.once_in(2) {
            world.caller.roles.insert(Role::PrivacyOfficer);
        }
        world.disclosed_on = *dice.of(&[None, None, Some(CaseKind::LegalProcess), Some(CaseKind::ReasonableNeed)]);
    }
    if dice.once_in(12) {
        world.caller.partner = Some((*dice.of(&["parcel", "ads-one", "nobody"])).to_owned());
    }
    let not_granted = dice.once_in(20);
    world.caller.purposes = ids.iter().filter(|id| !not_granted || Some(*id) != purpose.as_ref()).cloned().collect();
    if dice.once_in(30) {
        world.caller.expires_at = world.now;
    }
    if dice.once_in(8) {
        world.caller.kind = CallerKind::Service;
    }
    if dice.once_in(15) {
        world.caller.trained_until = *dice.of(&[None, Some("2026-11-22".parse().unwrap()), Some("2026-11-23".parse().unwrap())]);
    }
    if dice.once_in(40) {
        world.caller.subject = Some(crate::model::ids::SubjectId::from_bytes([1; 16]));
    }
    if dice.once_in(30) {
        world.caller.actions = Some([ReadRecords, *dice.of(Operation::ALL)].into());
    }
    if dice.once_in(20) {
        world = world.narrowed(&["name", "email", "content", "orders"]);
    }
    world.caller.source = dice.of(&[None, None, Some("web"), Some("app")]).map(str::to_owned);
    world.source = if dice.once_in(6) { Some("web") } else { None };
    if !dice.once_in(4) {
        world.source = world.caller.source.as_deref().map(|known| if known == "web" { "web" } else { "app" });
    }
    world.caller.region = dice.of(&[None, None, None, None, Some("EU"), Some("JP"), Some("CN")]).map(str::to_owned);
    world.region = (*dice.of(&["EU", "EU", "EU", "EU", "EU", "CN"])).to_owned();
    if world.region == "CN" && !dice.once_in(4) {
        world.caller.region = Some("CN".to_owned());
    }
    let seconds = [None, Some(at("2026-11-23T12:00:00Z")), Some(at("2026-11-23T12:00:01Z"))];
    world.caller.stepped_up_until = *dice.of(&seconds);
    world.class = *dice.of(&[Some("consumer"), Some("consumer"), Some("business-contact"), Some("business-contact"), None]);
    if world.class.is_none() && !dice.once_in(4) {
        world.class = Some("consumer");
    }
    world.state = match dice.below(30) {
        0 => SubjectState::Erased,
        1 | 2 => SubjectState::Closed,
        3 => SubjectState::Held,
        _ => SubjectState::Active,
    };
    world.jurisdiction = *dice.of(&["DE", "DE", "FR", "CN", "CN-HK", "US-CA", "BR"]);
    world.foreign = dice.once_in(40);
    world.own = dice.once_in(2);
    let other = CallerId::from_bytes([9; 16]);
    world.second = *dice.of(&[Second::None, Second::Waived, Second::OpenedBy(other), Second::OpenedBy(world.caller.id)]);
    world.trail = !dice.once_in(20);
    let fitting: Vec<u16> = match purpose.as_deref().and_then(|id| world.tenant.purpose(id)) {
        Some(purpose) if !purpose.fields.is_empty() => purpose.fields.iter().collect(),
        _ => vec![1],
    };
    for _ in 0..dice.below(4) {
        world.fields.push(if dice.once_in(30) { dice.below(60) as u16 } else { *dice.of(&fitting) });
    }
    for group in world.tenant.groups().iter() {
        if dice.once_in(8) {
            let name = world.tenant.group_name(group).to_owned();
            world.kill(&name);
        }
    }
    if dice.once_in(2) {
        let mut collected_for = vec![dice.of(&ids).clone(), dice.of(&ids).clone()];
        collected_for.extend(purpose.clone().filter(|id| ids.contains(id) && !dice.once_in(4)));
        let mut groups = world.tenant.groups_of(&collected_for).unwrap();
        if dice.once_in(6) {
            groups = GroupSet::from_bits(dice.below(256) as u32).and(world.tenant.groups());
        }
        let days = ["2026-11-22T12:00:00Z", "2026-11-22T12:00:01Z", "2025-10-23T12:00:00Z", "2010-01-01T00:00:00Z"];
        let collected_at = at(days[dice.below(4) as usize]);
        world.record = Some((collected_for, groups, collected_at));
        world.session = dice.once_in(10);
    }
    standing(&mut world, &mut dice, &ids, purpose.as_deref());
    (world, operation, purpose)
}

/// What stands about the person: mostly yes.
/// A case that may fit the call, or not quite.
fn approved(world: &World, dice: &mut Dice, ids: &[String], purpose: Option<&str>) -> Approved {
    let mut purposes = vec![dice.of(ids).clone()];
    purposes.extend(purpose.filter(|_| !dice.once_in(5)).map(str::to_owned));
    let mut fields: FieldSet = world.tenant.fields().iter().map(|field| field.number).filter(|_| dice.once_in(3)).collect();
    if !dice.once_in(4) {
        world.fields.iter().for_each(|number| fields.insert(*number));
    }
    let recipient = if dice.once_in(6) { Some("parcel") } else { world.recipient };
    Approved { purposes, fields, recipient, abroad: dice.once_in(3) }
}

fn standing(world: &mut World, dice: &mut Dice, ids: &[String], purpose: Option<&str>) {
    let named = |id: &&str| ids.iter().any(|known| known == id);
    let family = purpose.filter(named).map(|id| lineage(world, id)).unwrap_or_default();
    let times = [None, None, None, Some(world.now.as_microsecond()), Some(world.now.as_microsecond() + 1)];
    world.standing.consents.clear();
    for id in family.iter().chain([dice.of(ids)]) {
        let for_parcel = format!("separate:partner:parcel:{id}");
        for kind in ["general", "separate", "separate:partner:parcel", &for_parcel, "explicit:partner:ads-one:device"] {
            if dice.once_in(3) || world.standing.consent(id, kind).is_some() {
                continue;
            }
            let states = [ConsentState::Refused, ConsentState::Withdrawn, ConsentState::Expired, ConsentState::Requested];
            let state = if dice.once_in(5) { *dice.of(&states) } else { ConsentState::Given };
            let mut event = consent(&world.tenant, id, kind, state);
            // Never the same moment twice: which of two came last is then not a matter of their order.
            event.at = 8 * dice.below(1_000) as i64 + kind.len() as i64 % 8;
            event.until = *dice.of(&times);
            if dice.once_in(4) {
                event.categories.retain(|category| category.len() % 2 == 0);
            }
            world.standing.consents.push(event);
        }
    }
    world.standing.contracts.clear();
    for reference in ["ord-1", "ord-2"] {
        let mut own = contract(reference);
        own.active = !dice.once_in(4);
        own.from = (*dice.of(&["2026-01-01", "2026-11-23", "2026-11-23", "2026-11-24"])).to_owned();
        own.until = dice.of(&[None, None, Some("2026-11-23"), Some("2026-11-22")]).map(str::to_owned);
        world.standing.contracts.push(own);
    }
    world.grounds.contract = dice.of(&[None, None, None, Some("ord-1"), Some("ord-3")]).map(str::to_owned);
    world.grounds.rule =
        dice.of(&[None, Some("r-de"), Some("r-de"), Some("r-cn"), Some("r-eea"), Some("r-no")]).map(str::to_owned);
    world.grounds.clear = dice.once_in(6);
    let some = |dice: &mut Dice| -> Vec<String> {
        let mut all: Vec<String> = (0..dice.below(2)).map(|_| dice.of(ids).clone()).collect();
        all.extend(family.iter().filter(|_| dice.once_in(2)).cloned());
        all
    };
    for _ in 0..dice.below(3) {
        let kinds = [RestrictionKind::Art18, RestrictionKind::Objection, RestrictionKind::Dispute, RestrictionKind::LegalHold];
        let mut own = restriction(*dice.of(&kinds), &[], &[]);
        own.active = dice.once_in(2);
        if dice.once_in(2) {
            own.purposes = some(dice);
        }
        if dice.once_in(2) {
            own.exceptions = some(dice);
        }
        if !dice.once_in(3) {
            own.records = vec![Held { record: [7 + dice.below(2) as u8; 16] }];
        }
        world.standing.restrictions.push(own);
    }
    for name in ["marketing", "personalised-ads", "cookies", "gpc"] {
        if dice.once_in(12) {
            world.switch(name, dice.once_in(2));
        }
    }
    world.minor = dice.once_in(4);
    if dice.once_in(10) {
        world.of_age_since = jiff::Timestamp::from_microsecond(4_000).ok();
    }
    world.protection = dice.once_in(3).then(|| approved(world, dice, ids, purpose));
    world.case = dice.once_in(2).then(|| approved(world, dice, ids, purpose));
    world.request = !dice.once_in(4);
    if !dice.once_in(4) {
        let mut word = guardian(&[]);
        word.purposes = some(dice);
        word.withdrawn = dice.once_in(6);
        world.standing.guardian = Some(word);
    }
    if dice.once_in(3) {
        let until = world.now.as_microsecond() + dice.below(2) as i64;
        let group = 1 + dice.below(7) as u8;
        world.standing.extensions.push(Extension { group, ground: "dispute".to_owned(), until });
    }
}
