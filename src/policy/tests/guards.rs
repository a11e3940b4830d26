//! The guards that look at the person's own state, each by example.

use super::world::{World, consent, contract, guardian, restriction};
use super::*;
use crate::model::case::CaseKind;
use crate::model::standing::{ConsentState, Contract, Extension, Held, RestrictionKind};
use crate::tenant::{Sources, Tenant};

fn reader(purposes: &[&str]) -> World {
    World::new(&[Role::Reader], purposes)
}

/// The world under a policy in which one text stands for another.
fn under(mut world: World, change: impl Fn(&str) -> String) -> World {
    let (rules, transfers) = (change(Sources::SHIPPED.rules), change(Sources::SHIPPED.transfers));
    let sources = Sources { rules: &rules, transfers: &transfers, ..Sources::SHIPPED };
    world.tenant = Tenant::read(world.tenant.id(), &sources).unwrap();
    world
}

const TO_CHINA: &str = r#"
[[transfer]]
id = "eu-cn"
from = "EU"
to = "CN"
tool = "scc"
evidence = "test"
valid_until = "2026-12-31"
"#;

fn with_way(world: World, rule: &str) -> World {
    under(world, |text| if text.contains("storage =") { format!("{text}\n{rule}") } else { text.to_owned() })
}

#[test]
fn a_person_without_current_training_sees_no_clear_text_and_a_service_needs_none() {
    let mut world = World::new(&[Role::Reader, Role::Writer], &["b-service", "a-account"]);
    for last in [None, Some("2026-11-22".parse().unwrap())] {
        world.caller.trained_until = last;
        for operation in [ReadRecords, LookupSubject, VerifySecret, QueryRecords, Disclose] {
            assert_eq!(world.refusal(operation, "b-service"), ("G0", Code::TrainingRequired), "{operation:?}");
        }
        world.clone().fields(&["name"]).ask(WriteRecord, "a-account");
        world.ask(GetSubject, None);
        let mut service = world.clone();
        service.caller.kind = CallerKind::Service;
        service.ask(ReadRecords, "b-service");
    }
    world.caller.trained_until = Some("2026-11-23".parse().unwrap());
    world.ask(ReadRecords, "b-service");
}

#[test]
fn what_a_source_system_left_on_a_device_is_read_by_that_system_alone() {
    let mut world = reader(&["e-ads", "x-rights", "k-security"]).record(&["e-ads", "k-security"], "2026-11-23T00:00:00Z");
    world.source = Some("web");
    for other in [None, Some("app".to_owned())] {
        world.caller.source = other;
        assert_eq!(world.refusal(ReadRecords, "e-ads"), ("G5", Code::OriginScope));
        world.ask(ReadRecords, "x-rights");
        world.ask(ReadRecords, "k-security");
    }
    world.caller.source = Some("web".to_owned());
    world.ask(ReadRecords, "e-ads");
}

#[test]
fn content_is_read_by_the_system_that_keeps_it_and_by_the_person() {
    let mut world = reader(&["j-sync"]).record(&["j-sync"], "2026-11-23T00:00:00Z");
    world.source = Some("web");
    world.caller.source = Some("app".to_owned());
    assert_eq!(world.refusal(ReadRecords, "j-sync"), ("G5", Code::OriginScope));
    world.own = true;
    world.ask(ReadRecords, "j-sync");
    world.own = false;
    world.caller.source = Some("web".to_owned());
    world.ask(ReadRecords, "j-sync");
}

#[test]
fn what_belongs_to_a_session_ends_with_the_day() {
    let mut world = reader(&["e-ads", "x-rights"]).record(&["e-ads"], "2026-11-22T12:00:01Z");
    world.session = true;
    world.ask(ReadRecords, "e-ads");
    world.now = at("2026-11-23T12:00:01Z");
    for purpose in ["e-ads", "x-rights"] {
        assert_eq!(world.refusal(ReadRecords, purpose), ("G12", Code::RetentionExpired));
    }
    world.session = false;
    world.ask(ReadRecords, "e-ads");
}

#[test]
fn a_record_serves_what_it_was_collected_for_and_the_parts_of_that() {
    let mut world = reader(&["b-service", "b-delivery", "e-ads", "e-personalise", "l1-legal", "l2-policy", "x-rights"]);
    let collected = |world: &World, purposes: &[&str]| world.clone().record(purposes, "2026-11-01T00:00:00Z");
    collected(&world, &["b-service"]).ask(ReadRecords, "b-delivery");
    let delivered = collected(&world, &["b-delivery"]);
    assert_eq!(delivered.refusal(ReadRecords, "b-service"), ("G6", Code::PurposeIncompatible));
    assert_eq!(collected(&world, &["e-personalise"]).refusal(ReadRecords, "e-ads"), ("G6", Code::PurposeIncompatible));
    // The assessment of internal policies covers the service, and so its parts.
    delivered.ask(ReadRecords, "l2-policy");
    assert_eq!(delivered.explanation(ReadRecords, Some("l2-policy"))[6].by, ["assessment lia-policy"]);
    delivered.ask(ReadRecords, "x-rights");
    delivered.ask(ReadRecords, "l1-legal");
    assert_eq!(delivered.explanation(ReadRecords, Some("l1-legal"))[6].by, ["rule de-hgb-257"]);
    world.grounds.rule = Some("cn-tax-24".to_owned());
    assert_eq!(collected(&world, &["b-delivery"]).refusal(ReadRecords, "l1-legal"), ("G6", Code::PurposeIncompatible));
}

#[test]
fn where_the_policy_has_no_basis_nothing_is_used() {
    let world = reader(&["g-improve"]);
    world.ask(ReadRecords, "g-improve");
    let mut changed = under(world.clone(), |text| {
        text.replace("id = \"g-improve-cn\"\npurpose = \"g-improve\"", "id = \"g-improve-cn\"\npurpose = \"h-efficiency\"")
    });
    changed.ask(ReadRecords, "g-improve");
    changed.jurisdiction = "CN";
    assert_eq!(changed.refusal(ReadRecords, "g-improve"), ("G7", Code::NoLawfulBasis));
    let expired = under(world, |text| text.replace("id = \"lia-improve\"", "valid_until = \"2026-11-22\"\nid = \"lia-improve\""));
    assert_eq!(expired.refusal(ReadRecords, "g-improve"), ("G7", Code::NoLawfulBasis));
}

#[test]
fn a_consent_counts_as_it_stands_now() {
    let mut world = reader(&["c-marketing", "c-survey"]);
    world.ask(ReadRecords, "c-marketing");
    for (state, code) in [
        (ConsentState::Refused, Code::ConsentMissing),
        (ConsentState::Withdrawn, Code::ConsentWithdrawn),
        (ConsentState::Expired, Code::ConsentExpired),
        (ConsentState::Requested, Code::ReconsentRequired),
    ] {
        world.says("c-marketing", "general", state);
        for purpose in ["c-marketing", "c-survey"] {
            assert_eq!(world.refusal(ReadRecords, purpose), ("G7", code), "{state:?}");
        }
    }
    world.says("c-marketing", "general", ConsentState::Given).until = Some(world.now.as_microsecond());
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G7", Code::ConsentExpired));
    world.standing.consents.clear();
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G7", Code::ConsentMissing));
    assert_eq!(world.refusal(LookupSubject, "c-marketing"), ("G7", Code::ConsentMissing));
}

#[test]
fn the_purposes_own_word_counts_before_its_parents() {
    let mut world = reader(&["c-marketing", "c-survey"]);
    world.says("c-survey", "general", ConsentState::Withdrawn);
    assert_eq!(world.refusal(ReadRecords, "c-survey"), ("G7", Code::ConsentWithdrawn));
    world.ask(ReadRecords, "c-marketing");
    world.says("c-marketing", "general", ConsentState::Withdrawn);
    world.says("c-survey", "general", ConsentState::Given);
    world.ask(ReadRecords, "c-survey");
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G7", Code::ConsentWithdrawn));
}

#[test]
fn a_consent_covers_the_categories_of_its_day_and_no_others() {
    let mut world = reader(&["c-marketing", "c-survey"]);
    world.says("c-marketing", "general", ConsentState::Given).categories = vec!["pd:Name".to_owned()];
    assert_eq!(world.ask(ReadRecords, "c-marketing").fields, ["name"]);
    assert_eq!(world.clone().fields(&["name"]).ask(ReadRecords, "c-marketing").fields, ["name"]);
    let asked = world.clone().fields(&["name", "email"]);
    assert_eq!(asked.refusal(ReadRecords, "c-marketing"), ("G7", Code::ReconsentRequired));
    world.says("c-marketing", "general", ConsentState::Given).categories = vec!["pd:Gender".to_owned()];
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G7", Code::ReconsentRequired));
    // What only the survey uses is not in the consent to marketing.
    world.says("c-marketing", "general", ConsentState::Given);
    assert!(!world.ask(ReadRecords, "c-survey").fields.contains(&"survey_answers".to_owned()));
}

#[test]
fn where_a_separate_consent_is_due_a_general_one_is_not_enough() {
    let mut world = under(reader(&["e-ads"]), |text| {
        text.replace("id = \"e-ads\"\npurpose = \"e-ads\"", "id = \"e-ads\"\nconsent = \"separate\"\npurpose = \"e-ads\"")
    });
    assert_eq!(world.refusal(ReadRecords, "e-ads"), ("G7", Code::SeparateConsentRequired));
    world.says("e-ads", "separate", ConsentState::Given);
    world.ask(ReadRecords, "e-ads");
    world.says("e-ads", "separate", ConsentState::Withdrawn);
    assert_eq!(world.refusal(ReadRecords, "e-ads"), ("G7", Code::ConsentWithdrawn));
}

#[test]
fn a_purpose_of_a_contract_needs_one_in_force() {
    let mut world = reader(&["b-service", "a-account"]);
    world.grounds.contract = Some("ord-2".to_owned());
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G7", Code::ContractInactive));
    world.standing.contracts.push(contract("ord-2"));
    world.ask(ReadRecords, "b-service");
    world.grounds.contract = None;
    for wrong in [
        |own: &mut Contract| own.active = false,
        |own: &mut Contract| own.until = Some("2026-11-22".to_owned()),
        |own: &mut Contract| {
            own.from = "2026-11-24".to_owned();
        },
    ] {
        let mut closed = world.clone();
        closed.standing.contracts.iter_mut().for_each(wrong);
        assert_eq!(closed.refusal(ReadRecords, "b-service"), ("G7", Code::ContractInactive));
        closed.ask(ReadRecords, "a-account");
    }
}

#[test]
fn an_objection_stops_what_rests_on_an_interest_and_what_it_names() {
    let mut world = reader(&["k-security", "l2-policy", "c-marketing", "b-service"]);
    world.standing.restrictions = vec![restriction(RestrictionKind::Objection, &[], &["k-security"])];
    assert_eq!(world.refusal(ReadRecords, "l2-policy"), ("G7", Code::ObjectionActive));
    for purpose in ["k-security", "c-marketing", "b-service"] {
        world.ask(ReadRecords, purpose);
    }
    world.standing.restrictions = vec![restriction(RestrictionKind::Objection, &["c-marketing"], &[])];
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G7", Code::ObjectionActive));
    world.ask(ReadRecords, "l2-policy");
    world.standing.restrictions[0].active = false;
    world.ask(ReadRecords, "c-marketing");
}

#[test]
fn a_legal_duty_cites_a_rule_that_binds() {
    let mut world = reader(&["l1-legal", "x-rights"]);
    world.grounds.rule = None;
    assert_eq!(world.refusal(ReadRecords, "l1-legal"), ("G7", Code::RuleRequired));
    world.ask(ReadRecords, "x-rights");
    for rule in ["cn-tax-24", "none-such"] {
        world.grounds.rule = Some(rule.to_owned());
        assert_eq!(world.refusal(ReadRecords, "l1-legal"), ("G7", Code::NoLawfulBasis));
    }
    let mut narrow =
        under(world, |text| text.replace("id = \"de-hgb-257\"", "categories = [\"pd:Transaction\"]\nid = \"de-hgb-257\""));
    narrow.grounds.rule = Some("de-hgb-257".to_owned());
    assert_eq!(narrow.ask(ReadRecords, "l1-legal").fields, ["transaction", "payment", "invoice"]);
    assert_eq!(narrow.fields(&["name"]).refusal(ReadRecords, "l1-legal"), ("G7", Code::NoLawfulBasis));
}

#[test]
fn a_switch_stops_its_purposes_at_once() {
    let mut world = reader(&["c-marketing", "c-events", "e-ads", "e-personalise", "b-service"]);
    for (name, says_no, stopped, code) in [
        ("marketing", false, ["c-marketing", "c-events"], Code::ConsentWithdrawn),
        ("personalised-ads", false, ["e-ads", "e-personalise"], Code::ObjectionActive),
        ("cookies", false, ["e-ads", "e-personalise"], Code::ObjectionActive),
        ("gpc", true, ["e-ads", "e-personalise"], Code::ObjectionActive),
    ] {
        world.switch(name, says_no);
        for purpose in stopped {
            assert_eq!(world.refusal(ReadRecords, purpose), ("G7", code), "{name}");
        }
        world.ask(ReadRecords, "b-service");
        world.switch(name, !says_no);
        for purpose in stopped {
            world.ask(ReadRecords, purpose);
        }
    }
}

#[test]
fn a_restriction_stops_every_use_but_its_exceptions_and_the_persons_rights() {
    let mut world =
        World::new(&[Role::Reader, Role::Writer, Role::PrivacyOfficer], &["b-service", "k-security", "x-rights", "a-account"]);
    for kind in [RestrictionKind::Art18, RestrictionKind::Dispute] {
        world.standing.restrictions = vec![restriction(kind, &[], &["k-security"])];
        for operation in [ReadRecords, LookupSubject, QueryRecords, VerifySecret, Disclose] {
            assert_eq!(world.refusal(operation, "b-service"), ("G8", Code::Restricted), "{operation:?}");
        }
        assert_eq!(world.refusal(DeleteRecord, None), ("G8", Code::Restricted));
        world.ask(ReadRecords, "k-security");
        world.ask(ReadRecords, "x-rights");
        // Storing goes on.
        world.clone().fields(&["name"]).ask(WriteRecord, "a-account");
        world.ask(RectifyRecord, "b-service");
    }
}

#[test]
fn what_is_held_for_a_case_is_neither_used_nor_changed_nor_deleted() {
    let mut world = World::new(&[Role::Reader, Role::Writer, Role::PrivacyOfficer], &["b-service"]);
    let mut hold = restriction(RestrictionKind::LegalHold, &[], &[]);
    hold.records = vec![Held { record: [7; 16] }];
    world.standing.restrictions = vec![hold];
    world.ask(ReadRecords, "b-service");
    let held = world.clone().record(&["b-service"], "2026-11-01T00:00:00Z");
    for (operation, purpose) in [(ReadRecords, Some("b-service")), (RectifyRecord, Some("b-service")), (DeleteRecord, None)] {
        assert_eq!(held.refusal(operation, purpose), ("G8", Code::Held), "{operation:?}");
    }
    assert_eq!(held.outcome_by_list(ReadRecords, "b-service"), Err(("G8", Code::Held)));
    world.standing.restrictions[0].records[0].record = [8; 16];
    world.record(&["b-service"], "2026-11-01T00:00:00Z").ask(ReadRecords, "b-service");
}

#[test]
fn a_child_needs_a_guardian_and_is_never_advertised_to() {
    let mut world = reader(&["b-service", "e-ads", "e-personalise", "c-marketing", "l1-legal", "x-rights"]);
    world.minor = true;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G9", Code::GuardianConsentRequired));
    for purpose in ["l1-legal", "x-rights"] {
        world.ask(ReadRecords, purpose);
    }
    world.standing.guardian = Some(guardian(&["e-ads"]));
    world.ask(ReadRecords, "b-service");
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G9", Code::MinorProtection));
    world.standing.guardian = Some(guardian(&["e-ads", "c-marketing"]));
    world.ask(ReadRecords, "c-marketing");
    world.protection = world.case("b-service", &["name"], None);
    for purpose in ["e-ads", "e-personalise"] {
        assert_eq!(world.refusal(ReadRecords, purpose), ("G9", Code::MinorProtection));
    }
    world.standing.guardian = Some(crate::model::standing::GuardianConsent { withdrawn: true, ..guardian(&[]) });
    // As far as the case reaches, and no further.
    assert_eq!(world.ask(ReadRecords, "b-service").fields, ["name"]);
    assert_eq!(world.clone().fields(&["email"]).refusal(ReadRecords, "b-service"), ("G9", Code::GuardianConsentRequired));
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G9", Code::GuardianConsentRequired));
    world.protection = None;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G9", Code::GuardianConsentRequired));
}

#[test]
fn what_was_said_for_a_child_ends_when_the_child_comes_of_age() {
    let mut world = reader(&["c-marketing"]);
    world.of_age_since = Some(at("2026-11-02T00:00:00Z"));
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G7", Code::ReconsentRequired));
    world.says("c-marketing", "general", ConsentState::Given).at = at("2026-11-02T00:00:00Z").as_microsecond();
    world.ask(ReadRecords, "c-marketing");
}

#[test]
fn a_childs_records_are_disclosed_with_the_guardians_explicit_word_alone() {
    let mut world = World::new(&[Role::Writer], &["b-delivery"]);
    world.minor = true;
    world.standing.guardian = Some(guardian(&[]));
    world.recipient = Some("parcel");
    assert_eq!(world.refusal(Disclose, "b-delivery"), ("G9", Code::MinorProtection));
    world.standing.guardian = Some(guardian(&["b-service"]));
    world.ask(Disclose, "b-delivery");
}

#[test]
fn records_leave_their_region_by_a_rule_in_force_alone() {
    let mut world = reader(&["b-service"]);
    for (region, passes) in [("EU", true), ("JP", true), ("CN", false), ("US", false)] {
        world.caller.region = Some(region.to_owned());
        let outcome = world.outcome(ReadRecords, Some("b-service"));
        assert_eq!(outcome.is_ok(), passes, "{region}");
        assert!(passes || outcome.unwrap_err() == ("G10", Code::TransferNotPermitted));
    }
    world.caller.region = Some("CN".to_owned());
    let mut ruled = with_way(world.clone(), TO_CHINA);
    ruled.ask(ReadRecords, "b-service");
    assert_eq!(ruled.explanation(ReadRecords, Some("b-service"))[10].by, ["transfer eu-cn"]);
    ruled.now = at("2026-12-31T23:59:59Z");
    ruled.ask(ReadRecords, "b-service");
    ruled.now = at("2027-01-01T00:00:00Z");
    ruled.caller.expires_at = at("2028-01-01T00:00:00Z");
    assert_eq!(ruled.refusal(ReadRecords, "b-service"), ("G10", Code::TransferNotPermitted));
    // A pinned subject's records are where they are pinned.
    world.region = "CN".to_owned();
    world.ask(ReadRecords, "b-service");
    world.caller.region = None;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G10", Code::TransferNotPermitted));
}

#[test]
fn what_may_pass_without_identity_alone_loses_its_direct_identifiers() {
    let world = with_way(reader(&["b-service"]), &TO_CHINA.replace("scc", "anonymise"));
    let mut away = world.clone();
    away.caller.region = Some("CN".to_owned());
    let (here, there) = (world.ask(ReadRecords, "b-service").fields, away.ask(ReadRecords, "b-service").fields);
    assert!(here.contains(&"name".to_owned()) && !there.contains(&"name".to_owned()) && there.contains(&"orders".to_owned()));
    assert_eq!(away.clone().fields(&["name", "orders"]).refusal(ReadRecords, "b-service"), ("G10", Code::TransferNotPermitted));
    away.fields(&["orders"]).ask(ReadRecords, "b-service");
}

const COURT: &str = r#"
[[partner]]
id = "court-us"
title = "A court"
kind = "authority"
region = "US"
purposes = []
fields = []
agreement = "0000000000000000000000000000000000000000000000000000000000000000"
from = "2026-01-01"

[[transfer]]
id = "cn-us"
from = "CN"
to = "US"
tool = "cac-assessment"
evidence = "test"
"#;

#[test]
fn a_foreign_authority_gets_nothing_from_china_without_an_approval() {
    let mut world = with_way(World::new(&[Role::PrivacyOfficer], &["b-service"]), COURT);
    world.recipient = Some("court-us");
    world.case = world.case("b-service", &["name"], Some("court-us"));
    world.region = "CN".to_owned();
    world.caller.region = Some("CN".to_owned());
    assert_eq!(world.refusal(Disclose, "b-service"), ("G10", Code::ForeignAuthorityApprovalRequired));
    let mut by_case = world.clone();
    by_case.case.as_mut().unwrap().abroad = true;
    assert_eq!(by_case.ask(Disclose, "b-service").fields, ["name"]);
    let approval =
        "\n[[transfer]]\nid = \"approved\"\nfrom = \"CN\"\nto = \"US\"\ntool = \"authority-approval\"\nevidence = \"MOJ-1\"\n";
    let mut approved = with_way(world.clone(), &format!("{COURT}{approval}"));
    assert_eq!(approved.ask(Disclose, "b-service").fields, ["name"]);
    approved.region = "EU".to_owned();
    approved.caller.region = None;
    assert_eq!(approved.refusal(Disclose, "b-service"), ("G10", Code::TransferNotPermitted));
}

#[test]
fn what_goes_out_on_a_case_takes_two_officers_and_stays_within_it() {
    let mut world = with_way(World::new(&[Role::PrivacyOfficer, Role::Writer], &["b-service", "k-security"]), COURT);
    world.recipient = Some("police-de");
    assert_eq!(world.refusal(Disclose, "b-service"), ("G1", Code::SecondPersonRequired));
    world.recipient = Some("parcel");
    world.disclosed_on = Some(CaseKind::ReasonableNeed);
    assert_eq!(world.refusal(Disclose, "b-service"), ("G1", Code::SecondPersonRequired));
    world.case = world.case("b-service", &["name", "email"], Some("parcel"));
    assert_eq!(world.ask(Disclose, "b-service").fields, ["name", "email"], "the case, not the agreement");
    for out_of_it in [world.clone().fields(&["phone"]), World { recipient: Some("police-de"), ..world.clone() }] {
        assert_eq!(out_of_it.refusal(Disclose, "b-service"), ("G11", Code::OutsideCase));
    }
    assert_eq!(world.refusal(Disclose, "k-security"), ("G11", Code::OutsideCase));
    // A case is no agreement, and an officer's is no application's.
    world.disclosed_on = None;
    assert_eq!(world.clone().fields(&["email"]).refusal(Disclose, "b-service"), ("G11", Code::OutsideEntrustment));
    world.disclosed_on = Some(CaseKind::ReasonableNeed);
    world.caller.roles.remove(&Role::PrivacyOfficer);
    assert_eq!(world.refusal(Disclose, "b-service"), ("G1", Code::RoleForbidden));
}

#[test]
fn an_authority_reads_nothing_for_itself() {
    let mut world = with_way(World::new(&[Role::Partner], &["b-service"]), COURT);
    world.own = true;
    world.caller.partner = Some("police-de".to_owned());
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G11", Code::OutsideEntrustment));
}

#[test]
fn a_partner_gets_what_its_agreement_says_and_learns_little_else() {
    let mut world = World::new(&[Role::Partner], &["b-delivery", "b-orders"]);
    world.own = true;
    world.caller.partner = Some("parcel".to_owned());
    assert_eq!(world.ask(ReadRecords, "b-delivery").fields, ["name", "phone", "address"]);
    assert_eq!(world.refusal(ReadRecords, "b-orders"), ("G11", Code::OutsideEntrustment));
    assert_eq!(world.shown(ReadRecords, "b-orders"), (Code::NotAvailable, None));
    // Nor does its token have a purpose that its agreement does not: the person's word for that purpose alone stands in for both.
    let mut usual = world.clone();
    usual.caller.purposes.remove("b-orders");
    assert_eq!(usual.refusal(ReadRecords, "b-orders"), ("G4", Code::OutsideEntrustment));
    usual.says("b-orders", "separate:partner:parcel:b-service", ConsentState::Given);
    assert_eq!(usual.refusal(ReadRecords, "b-orders"), ("G4", Code::OutsideEntrustment));
    usual.says("b-orders", "separate:partner:parcel:b-orders", ConsentState::Given);
    assert_eq!(usual.ask(ReadRecords, "b-orders").fields, ["name", "phone", "address"]);
    usual.caller.purposes.remove("b-delivery");
    assert_eq!(usual.refusal(ReadRecords, "b-delivery"), ("G4", Code::PurposeNotGranted));
    world.says("b-orders", "separate:partner:parcel", ConsentState::Given);
    assert_eq!(world.ask(ReadRecords, "b-orders").fields, ["name", "phone", "address"]);
    assert_eq!(world.clone().fields(&["email"]).refusal(ReadRecords, "b-orders"), ("G11", Code::OutsideEntrustment));
    world.says("b-orders", "separate:partner:parcel", ConsentState::Withdrawn);
    assert_eq!(world.refusal(ReadRecords, "b-orders"), ("G11", Code::OutsideEntrustment));
    world.says("b-orders", "separate:partner:other", ConsentState::Given);
    assert_eq!(world.refusal(ReadRecords, "b-orders"), ("G11", Code::OutsideEntrustment));
    // Its own fault is named: only the person's affairs are veiled.
    assert_eq!(world.clone().fields(&["orders"]).shown(ReadRecords, "b-delivery"), (Code::CategoryNotPermitted, Some("G5")));
    world.now = at("2025-12-31T23:00:00Z");
    assert_eq!(world.refusal(ReadRecords, "b-delivery").0, "G7");
    world.standing.contracts[0].from = "2025-01-01".to_owned();
    assert_eq!(world.refusal(ReadRecords, "b-delivery"), ("G11", Code::OutsideEntrustment));
    world.caller.partner = None;
    world.now = at("2026-11-23T12:00:00Z");
    assert_eq!(world.refusal(ReadRecords, "b-delivery"), ("G11", Code::OutsideEntrustment));
}

#[test]
fn advertising_partners_get_nobodys_identity_unless_it_was_allowed_expressly() {
    let mut world = World::new(&[Role::Writer], &["e-ads"]);
    world.recipient = Some("ads-one");
    assert_eq!(world.ask(Disclose, "e-ads").fields, ["preferences"]);
    for field in ["device", "cookie_id"] {
        let asked = world.clone().fields(&[field]);
        assert_eq!(asked.refusal(Disclose, "e-ads"), ("G11", Code::IdentityToAdPartner));
        assert_eq!(asked.shown(Disclose, "e-ads"), (Code::IdentityToAdPartner, Some("G11")));
    }
    let expressly = consent(&world.tenant, "e-ads", "explicit:partner:ads-one:device", ConsentState::Given);
    world.standing.consents.push(expressly);
    assert_eq!(world.ask(Disclose, "e-ads").fields, ["device", "preferences"]);
    world.recipient = Some("ads-two");
    assert_eq!(world.fields(&["device"]).refusal(Disclose, "e-ads"), ("G11", Code::IdentityToAdPartner));
}

#[test]
fn an_extension_keeps_a_group_beyond_its_rule_until_its_own_end() {
    let mut world = reader(&["k-security"]).record(&["k-security"], "2025-11-23T10:00:00Z");
    assert_eq!(world.refusal(ReadRecords, "k-security"), ("G12", Code::RetentionExpired));
    let group = world.tenant.group("security").unwrap().number();
    let until = at("2026-11-24T00:00:00Z").as_microsecond();
    world.standing.extensions = vec![Extension { group, ground: "dispute".to_owned(), until }];
    world.ask(ReadRecords, "k-security");
    assert_eq!(world.explanation(ReadRecords, Some("k-security"))[12].by, ["extension dispute"]);
    world.now = at("2026-11-24T00:00:00Z");
    assert_eq!(world.refusal(ReadRecords, "k-security"), ("G12", Code::RetentionExpired));
}

#[test]
fn the_highly_sensitive_is_masked_until_a_step_up() {
    let mut world = reader(&["f-supplier"]).class("business-contact");
    let masked = world.ask(ReadRecords, "f-supplier").masked;
    assert_eq!(masked, ["id_document", "id_image", "signature", "bank_account"]);
    world.grounds.clear = true;
    world.clone().fields(&["name"]).ask(ReadRecords, "f-supplier");
    let mut world = world.fields(&["name", "id_document"]);
    assert_eq!(world.refusal(ReadRecords, "f-supplier"), ("G13", Code::StepUpRequired));
    world.caller.stepped_up_until = Some(at("2026-11-23T12:00:01Z"));
    assert!(world.ask(ReadRecords, "f-supplier").masked.is_empty());
    world.now = at("2026-11-23T12:00:01Z");
    assert_eq!(world.refusal(ReadRecords, "f-supplier"), ("G13", Code::StepUpRequired));
}
