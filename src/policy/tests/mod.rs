//! The decision by example; `oracle` holds it against a plain model over random facts.

mod guards;
mod matrix;
mod oracle;
mod policies;
mod world;

use proptest::prelude::*;
use world::{World, at};

use super::*;
use crate::model::caller::Operation::{self, *};
use crate::model::caller::{CallerKind, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, TenantId};

#[test]
fn the_first_record_of_the_examples_can_be_written_for_the_account() {
    let world = World::new(&[Role::Writer], &["a-account"]).fields(&["name", "email", "phone", "address"]);
    let answer = world.ask(WriteRecord, "a-account");
    assert_eq!(answer.group, Some("identity".to_owned()));
    assert_eq!(answer.fields, ["name", "email", "phone", "address"]);
}

#[test]
fn an_identity_document_does_not_belong_to_the_account() {
    for field in ["image", "photo", "id_document", "id_image"] {
        let world = World::new(&[Role::Writer], &["a-account"]).fields(&["name", field]);
        assert_eq!(world.refusal(WriteRecord, "a-account"), ("G5", Code::CategoryNotPermitted), "{field}");
    }
}

#[test]
fn delivery_sees_the_address_and_no_training_results() {
    let world = World::new(&[Role::Reader], &["b-delivery"]);
    assert_eq!(world.ask(ReadRecords, "b-delivery").fields, ["name", "phone", "address", "postcode"]);
    let asked = world.clone().fields(&["address", "training_results"]);
    assert_eq!(asked.refusal(ReadRecords, "b-delivery"), ("G5", Code::CategoryNotPermitted));
}

#[test]
fn a_purpose_is_named_published_and_granted() {
    let world = World::new(&[Role::Reader], &["b-service", "h-efficiency"]);
    assert_eq!(world.refusal(ReadRecords, None), ("G3", Code::PurposeRequired));
    assert_eq!(world.refusal(ReadRecords, "B-Service"), ("G3", Code::PurposeNotPublished));
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G4", Code::PurposeNotGranted));
    assert_eq!(world.refusal(ReadRecords, "h-efficiency"), ("G3", Code::AggregateOnly));
    world.ask(ReadRecords, "b-service");
}

#[test]
fn the_grant_of_a_purpose_is_not_the_grant_of_its_children() {
    let world = World::new(&[Role::Reader], &["b-service"]);
    assert_eq!(world.refusal(ReadRecords, "b-delivery"), ("G4", Code::PurposeNotGranted));
}

#[test]
fn a_supplier_purpose_does_not_cover_a_consumer() {
    let world = World::new(&[Role::Reader, Role::Writer], &["f-supplier"]);
    assert_eq!(world.refusal(ReadRecords, "f-supplier"), ("G5", Code::SubjectClassMismatch));
    assert_eq!(world.refusal(CreateSubject, "f-supplier"), ("G5", Code::SubjectClassMismatch));
    world.class("business-contact").ask(ReadRecords, "f-supplier");
}

#[test]
fn a_secret_is_written_and_never_read() {
    let world = World::new(&[Role::Writer, Role::Reader, Role::PrivacyOfficer], &["a-account", "x-rights"]);
    world.clone().fields(&["password"]).ask(WriteRecord, "a-account");
    for purpose in ["a-account", "x-rights"] {
        let asked = world.clone().fields(&["password"]);
        assert_eq!(asked.refusal(ReadRecords, purpose), ("G5", Code::CategoryNotPermitted));
        assert!(!world.ask(ReadRecords, purpose).fields.contains(&"password".to_owned()));
    }
}

#[test]
fn a_token_narrowed_to_some_fields_sees_no_others() {
    let world = World::new(&[Role::Reader], &["b-service"]).narrowed(&["name", "post"]);
    assert_eq!(world.ask(ReadRecords, "b-service").fields, ["name"]);
    assert_eq!(world.fields(&["email"]).refusal(ReadRecords, "b-service"), ("G5", Code::CategoryNotPermitted));
}

#[test]
fn nothing_is_collected_for_the_rights_of_the_person() {
    let world = World::new(&[Role::Writer], &["x-rights"]).fields(&["name"]);
    assert_eq!(world.refusal(WriteRecord, "x-rights"), ("G5", Code::CategoryNotPermitted));
    world.ask(RectifyRecord, "x-rights");
}

#[test]
fn a_privacy_officer_reads_for_the_rights_of_the_person_alone() {
    let mut world = World::new(&[Role::PrivacyOfficer], &["b-service", "x-rights"]);
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G1", Code::RoleForbidden));
    assert_eq!(world.refusal(ReadRecords, None), ("G3", Code::PurposeRequired));
    assert_eq!(world.refusal(ReadRecords, "nonsense"), ("G3", Code::PurposeNotPublished));
    world.ask(ReadRecords, "x-rights");
    // Without a request of the person there is nothing to serve.
    world.request = false;
    assert_eq!(world.refusal(ReadRecords, "x-rights"), ("G1", Code::RoleForbidden));
}

#[test]
fn an_expired_token_is_none() {
    let mut world = World::new(&[Role::Reader], &["b-service"]);
    world.now = world.caller.expires_at;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G0", Code::Unauthenticated));
}

#[test]
fn a_caller_of_another_tenant_finds_nothing() {
    let mut world = World::new(&[Role::Reader, Role::Auditor], &["b-service"]);
    world.caller.tenant = TenantId::from_bytes([8; 16]);
    for &operation in Operation::ALL {
        assert_eq!(world.refusal(operation, "b-service"), ("G0", Code::NotFound));
    }
}

#[test]
fn another_tenants_subject_looks_as_one_that_is_not_there() {
    for roles in [[Role::Reader], [Role::Writer], [Role::PrivacyOfficer], [Role::Subject], [Role::Partner], [Role::Auditor]] {
        for &operation in Operation::ALL {
            let here = World::new(&roles, &["b-service", "x-rights"]);
            let (mut foreign, mut absent) = (here.clone(), here);
            foreign.foreign = true;
            absent.class = None;
            for purpose in [Some("b-service"), Some("x-rights"), None] {
                assert_eq!(foreign.outcome(operation, purpose), absent.outcome(operation, purpose), "{roles:?} {operation:?}");
            }
        }
    }
    let mut world = World::new(&[Role::Reader], &["b-service"]);
    world.foreign = true;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G2", Code::NotFound));
    let denied = Denied { code: Code::NotFound, guard: "G2", veiled: false };
    assert_eq!(denied.shown_guard(), None);
}

#[test]
fn an_erased_subject_is_gone_for_who_may_know_and_not_there_for_others() {
    let mut world = World::new(&[Role::Reader], &["b-service"]);
    world.state = SubjectState::Erased;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G2", Code::Erased));
    assert_eq!(world.refusal(GetSubject, None), ("G2", Code::Erased));
    world.caller.roles = [Role::Subject].into();
    assert_eq!(world.refusal(ReadRecords, "b-service").1, Code::NotFound);
    world.own = true;
    assert_eq!(world.refusal(ReadRecords, "b-service").1, Code::Erased);
    world.caller.roles = [Role::Auditor].into();
    world.own = false;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G1", Code::RoleForbidden));
}

#[test]
fn an_erasures_own_story_outlives_its_subject() {
    let mut world = World::new(&[Role::PrivacyOfficer], &[]);
    world.state = SubjectState::Erased;
    world.ask(GetErasure, None);
    world.class = None;
    world.ask(GetErasure, None);
}

#[test]
fn a_closed_account_serves_rights_and_legal_duties_alone() {
    let mut world = World::new(&[Role::Reader, Role::PrivacyOfficer], &["b-service", "l1-legal", "x-rights"]);
    world.state = SubjectState::Closed;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G2", Code::AccountClosed));
    assert_eq!(world.refusal(LookupSubject, "b-service"), ("G2", Code::AccountClosed));
    world.ask(ReadRecords, "l1-legal");
    world.ask(ReadRecords, "x-rights");
    world.ask(OpenErasure, None);
    world.ask(GetSubject, None);
}

#[test]
fn a_person_reaches_their_own_alone() {
    let mut world = World::new(&[Role::Subject], &["x-rights"]);
    assert_eq!(world.refusal(ReadRecords, "x-rights"), ("G1", Code::NotFound));
    world.own = true;
    world.ask(ReadRecords, "x-rights");
}

#[test]
fn a_writer_deletes_what_it_wrote_alone() {
    let mut world = World::new(&[Role::Writer], &[]);
    assert_eq!(world.refusal(DeleteRecord, None), ("G1", Code::RoleForbidden));
    world.own = true;
    world.ask(DeleteRecord, None);
}

#[test]
fn who_opens_an_erasure_does_not_approve_it() {
    let mut world = World::new(&[Role::PrivacyOfficer], &[]);
    world.ask(OpenErasure, None);
    assert_eq!(world.refusal(ApproveErasure, None), ("G1", Code::SecondPersonRequired));
    world.second = Second::OpenedBy(world.caller.id);
    assert_eq!(world.refusal(ApproveErasure, None), ("G1", Code::SecondPersonRequired));
    world.second = Second::OpenedBy(CallerId::from_bytes([9; 16]));
    world.ask(ApproveErasure, None);
    world.caller.kind = CallerKind::Service;
    assert_eq!(world.refusal(ApproveErasure, None), ("G1", Code::SecondPersonRequired));
    world.second = Second::Waived;
    world.ask(ApproveErasure, None);
}

#[test]
fn a_person_does_not_approve_the_erasure_that_they_opened() {
    let mut world = World::new(&[Role::Subject], &[]);
    world.own = true;
    world.ask(OpenErasure, None);
    world.second = Second::OpenedBy(world.caller.id);
    assert_eq!(world.refusal(ApproveErasure, None), ("G1", Code::SecondPersonRequired));
}

#[test]
fn a_caller_is_put_by_two() {
    let mut world = World::new(&[Role::SecurityOfficer], &[]);
    assert_eq!(world.refusal(PutCaller, None), ("G1", Code::SecondPersonRequired));
    world.second = Second::OpenedBy(CallerId::from_bytes([9; 16]));
    world.ask(PutCaller, None);
}

#[test]
fn operations_without_a_purpose_do_not_look_at_one() {
    let world = World::new(&[Role::PrivacyOfficer], &[]);
    for purpose in [None, Some("nonsense"), Some("h-efficiency"), Some("f-supplier")] {
        let answer = world.ask(GetSubject, purpose);
        assert!(answer.fields.is_empty() && answer.group.is_none());
    }
}

#[test]
fn retention_ends_at_its_hour_swept_or_not() {
    let mut world = World::new(&[Role::Reader], &["k-security"]).record(&["k-security"], "2025-11-23T10:00:00Z");
    world.now = at("2026-11-23T09:59:59Z");
    world.ask(ReadRecords, "k-security");
    world.now = at("2026-11-23T10:00:00Z");
    assert_eq!(world.refusal(ReadRecords, "k-security"), ("G12", Code::RetentionExpired));
}

#[test]
fn a_destroyed_group_key_closes_its_purposes_and_no_others() {
    let mut world =
        World::new(&[Role::Reader], &["b-service", "c-marketing"]).record(&["b-service", "c-marketing"], "2026-11-01T00:00:00Z");
    world.ask(ReadRecords, "c-marketing");
    world.kill("marketing");
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G15", Code::KeyDestroyed));
    assert_eq!(world.ask(ReadRecords, "b-service").group.as_deref(), Some("contract"));
    // The wrap is gone as well: still destroyed, since the record was collected for it.
    world.lose_wrap("marketing");
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G15", Code::KeyDestroyed));
    world.record = None;
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G15", Code::KeyDestroyed));
    world.ask(ReadRecords, "b-service");
}

#[test]
fn a_record_that_was_never_collected_for_a_group_is_not_there_for_it() {
    let world = World::new(&[Role::Reader], &["c-marketing"]).record(&["b-service"], "2026-11-01T00:00:00Z");
    assert_eq!(world.refusal(ReadRecords, "c-marketing"), ("G6", Code::PurposeIncompatible));
    // Compatible by law, and yet under no key of the purpose's own.
    let account = World::new(&[Role::Reader], &["l1-legal"]).record(&["a-account"], "2026-11-01T00:00:00Z");
    assert_eq!(account.refusal(ReadRecords, "l1-legal"), ("G15", Code::NotFound));
}

#[test]
fn rights_are_served_through_any_group_that_lives() {
    let mut world =
        World::new(&[Role::PrivacyOfficer], &["x-rights"]).record(&["a-account", "k-security"], "2020-01-01T00:00:00Z");
    assert_eq!(world.ask(ReadRecords, "x-rights").group.as_deref(), Some("identity"));
    world.kill("identity");
    // The security group's year is over.
    assert_eq!(world.refusal(ReadRecords, "x-rights"), ("G15", Code::KeyDestroyed));
    let mut world = World::new(&[Role::PrivacyOfficer], &["x-rights"]).record(&["e-ads", "b-service"], "2026-11-01T00:00:00Z");
    assert_eq!(world.ask(ReadRecords, "x-rights").group.as_deref(), Some("contract"));
    world.kill("contract");
    assert_eq!(world.ask(ReadRecords, "x-rights").group.as_deref(), Some("device"));
}

#[test]
fn each_of_several_records_is_judged_as_one_alone_would_be() {
    let mut world = World::new(&[Role::Reader], &["k-security", "b-service"]);
    world.kill("marketing");
    for (purpose, collected_for, collected_at) in [
        ("k-security", "k-security", "2026-11-01T00:00:00Z"),
        ("k-security", "k-security", "2020-11-01T00:00:00Z"),
        ("k-security", "b-service", "2026-11-01T00:00:00Z"),
        ("b-service", "b-service", "2026-11-01T00:00:00Z"),
    ] {
        let one = world.clone().record(&[collected_for], collected_at);
        assert_eq!(one.outcome_by_list(ReadRecords, purpose), one.outcome(ReadRecords, Some(purpose)).map(|answer| answer.group));
    }
}

#[test]
fn without_a_trail_nothing_is_done() {
    let mut world = World::new(&[Role::Reader, Role::Auditor], &["b-service"]);
    world.trail = false;
    assert_eq!(world.refusal(ReadRecords, "b-service"), ("G14", Code::AuditUnavailable));
    assert_eq!(world.refusal(GetCheckpoint, None), ("G14", Code::AuditUnavailable));
}

#[test]
fn an_explanation_shows_every_guard() {
    let mut world = World::new(&[Role::Reader], &["b-service"]);
    world.trail = false;
    let shown: Vec<_> = world.explanation(ReadRecords, Some("c-marketing"));
    let holds: Vec<_> = shown.iter().map(|finding| (finding.guard, finding.holds)).collect();
    let wanted = [
        ("G0", Some(true)),
        ("G1", Some(true)),
        ("G2", Some(true)),
        ("G3", Some(true)),
        ("G4", Some(false)),
        ("G5", Some(true)),
        ("G6", None),
        ("G7", Some(true)),
        ("G8", Some(true)),
        ("G9", None),
        ("G10", Some(true)),
        ("G11", None),
        ("G12", None),
        ("G13", Some(true)),
        ("G14", Some(false)),
        ("G15", Some(true)),
    ];
    assert_eq!(holds, wanted);
    assert_eq!(shown[4].code, Some(Code::PurposeNotGranted));
    assert_eq!(shown[14].code, Some(Code::AuditUnavailable));
    assert_eq!(shown[7].by, ["consent general c-marketing", "basis c-marketing"]);
}

proptest! {
    #[test]
    fn a_purpose_out_of_thin_air_is_never_published(purpose in "\\PC{0,24}|[a-z]-[a-z]{2,12}", role in 0_usize..10) {
        let mut world = World::new(&[roles::ROLES[role]], &["b-service"]);
        prop_assume!(world.tenant.purpose(&purpose).is_none());
        world.caller.purposes.insert(purpose.clone());
        world.own = true;
        for operation in [CreateSubject, LookupSubject, WriteRecord, ReadRecords, RectifyRecord] {
            let (guard, code) = world.refusal(operation, purpose.as_str());
            let by_role = (guard, code) == ("G1", Code::RoleForbidden);
            prop_assert!(by_role || (guard, code) == ("G3", Code::PurposeNotPublished), "{guard} {code:?}");
        }
    }
}
