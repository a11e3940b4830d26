//! Bodies of the API: any bytes give a typed body or a refusal that repeats none of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::model::wire;
use oubliette::server::body::{Media, parse, parse_items};
use oubliette::vault::call::Refused;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    match kind % 32 {
        0 => check::<wire::CreateSubject>(body),
        1 => check::<wire::WriteRecord>(body),
        2 => check::<wire::RectifyRecord>(body),
        3 => check::<wire::LookupSubject>(body),
        4 => check::<wire::PutContract>(body),
        5 => check::<wire::OpenErasure>(body),
        6 => check::<wire::OperateKeys>(body),
        7 => check::<wire::PutCaller>(body),
        8 => check::<wire::IssueToken>(body),
        9 => check::<wire::ExplainDecision>(body),
        10 => batch(body, Media::Json),
        11 => batch(body, Media::Lines),
        12 => check::<wire::QueryRecords>(body),
        13 => check::<wire::VerifySecret>(body),
        14 => check::<wire::StepUp>(body),
        15 => check::<wire::RecordStats>(body),
        16 => check::<wire::OpenRequest>(body),
        17 => check::<wire::AdvanceRequest>(body),
        18 => check::<wire::OpenCase>(body),
        19 => check::<wire::DecideCase>(body),
        20 => check::<wire::PutIncident>(body),
        21 => check::<wire::SendNotice>(body),
        22 => check::<wire::BouncedNotice>(body),
        23 => check::<wire::Disclose>(body),
        24 => check::<wire::RecordConsent>(body),
        25 => check::<wire::SetPreference>(body),
        26 => check::<wire::RestrictSubject>(body),
        27 => check::<wire::LiftRestriction>(body),
        28 => check::<wire::ApproveErasure>(body),
        29 => check::<wire::ReportIncident>(body),
        30 => check::<wire::WriteLetters>(body),
        _ => check::<wire::Notice>(body),
    }
});

/// What is taken is one whole JSON object, with objects where the API has objects: serde by itself also takes an array of the
/// members in their order. What is refused is pointed at by names that the body may have, never by its values.
fn check<T: serde::de::DeserializeOwned>(body: &[u8]) {
    match parse::<T>(body) {
        Ok(_) => {
            let value: Value = serde_json::from_slice(body).expect("what is taken is JSON");
            assert!(value.is_object(), "an array for an object");
            for member in ["action", "context", "notice", "resource", "source"] {
                assert!(!value[member].is_array(), "an array for an object");
            }
            for list in ["aliases", "filters"] {
                for one in value[list].as_array().into_iter().flatten() {
                    assert!(one.is_object(), "an array for an object");
                }
            }
        }
        Err(refused) => harmless(&refused),
    }
}

fn batch(body: &[u8], media: Media) {
    const MOST: usize = 8;
    match parse_items::<wire::BatchRecord>(body, media, MOST) {
        Ok(items) => {
            assert!((1..=MOST).contains(&items.len()));
            items.iter().filter_map(|item| item.as_ref().err()).for_each(harmless);
        }
        Err(refused) => harmless(&refused),
    }
}

fn harmless(refused: &Refused) {
    if let Some(pointer) = &refused.pointer {
        assert!(pointer.is_empty() || pointer.starts_with('/'));
    }
    assert!(refused.decision.is_none() && refused.purpose.is_none());
}
