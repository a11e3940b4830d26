//! An entry as an event of the Open Cybersecurity Schema Framework, version 1.8.0, for whoever collects events of many systems.
//!
//! Which class and activity an operation is stands in one table, [`shape`]; docs/OCSF.md has it in words. What the schema has no
//! place for stands in `unmapped`. No network address of a caller is in it: the trail keeps none. Nothing personal is in it either.

use serde_json::{Map, Value, json};

use super::entry::{Entry, Note, Outcome};
use super::view::EventView;
use crate::model::caller::Operation;
use crate::model::code::Code;

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// Profiles that every event applies.
const PROFILES: [&str; 2] = ["datetime", "security_control"];

/// What the program is called.
const PRODUCT: &str = "Oubliette";

/// What the program is called as an endpoint, a service and a database.
const SERVICE: &str = "oubliette";

/// A class of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 3001: who may use the vault.
    AccountChange,
    /// 3002: who shows who they are.
    Authentication,
    /// 3004: people and what goes on about them.
    EntityManagement,
    /// 6002: what the vault does by itself.
    ApplicationLifecycle,
    /// 6003: the vault's own business.
    ApiActivity,
    /// 6005: what is read and written of people.
    DatastoreActivity,
}

impl Class {
    /// Its number, with that of its category.
    pub const fn uid(self) -> (u32, u32) {
        match self {
            Self::AccountChange => (3_001, 3),
            Self::Authentication => (3_002, 3),
            Self::EntityManagement => (3_004, 3),
            Self::ApplicationLifecycle => (6_002, 6),
            Self::ApiActivity => (6_003, 6),
            Self::DatastoreActivity => (6_005, 6),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AccountChange => "Account Change",
            Self::Authentication => "Authentication",
            Self::EntityManagement => "Entity Management",
            Self::ApplicationLifecycle => "Application Lifecycle",
            Self::ApiActivity => "API Activity",
            Self::DatastoreActivity => "Datastore Activity",
        }
    }
}

/// The activity that no other fits.
const OTHER: u32 = 99;

/// Class, activity and what it is about, where no person is, of each operation.
pub const fn shape(operation: Operation) -> (Class, u32, &'static str) {
    use Class::*;
    use Operation::*;
    match operation {
        ReadRecords | VerifySecret | Disclose | GetRequestResult | GetConsentReceipt => (DatastoreActivity, 1, ""),
        RectifyRecord => (DatastoreActivity, 2, ""),
        LookupSubject | QueryRecords | ReadStats => (DatastoreActivity, 4, ""),
        WriteRecord | RecordStats => (DatastoreActivity, 5, ""),
        DeleteRecord => (DatastoreActivity, 7, ""),
        ListConsents | ListDisclosures | ListRequests => (DatastoreActivity, 8, ""),
        CreateSubject => (EntityManagement, 1, "subject"),
        OpenRequest => (EntityManagement, 1, "request"),
        OpenCase => (EntityManagement, 1, "case"),
        OpenErasure => (EntityManagement, 1, "erasure"),
        SendNotice => (EntityManagement, 1, "notice"),
        GetSubject => (EntityManagement, 2, "subject"),
        GetRequest => (EntityManagement, 2, "request"),
        GetCase => (EntityManagement, 2, "case"),
        GetErasure => (EntityManagement, 2, "erasure"),
        GetIncident => (EntityManagement, 2, "incident"),
        RecordConsent | SetPreference | PutContract | RestrictSubject | LiftRestriction => (EntityManagement, 3, "subject"),
        AdvanceRequest => (EntityManagement, 3, "request"),
        ApproveCase => (EntityManagement, 3, "case"),
        PutIncident => (EntityManagement, 3, "incident"),
        ApproveErasure => (EntityManagement, 4, "subject"),
        PutCaller | IssueToken => (AccountChange, OTHER, ""),
        StepUp => (Authentication, 1, ""),
        ExplainDecision | GetPolicyVersion | ReadConfig | GetRopa | ListKeys | ListAuditEvents | GetCheckpoint => {
            (ApiActivity, 2, "")
        }
        PublishPolicy | DraftConfig | OperateKeys => (ApiActivity, 3, ""),
    }
}

/// The same of what the vault does by itself, by the name of the event.
fn own_shape(event: &str) -> (Class, u32, &'static str) {
    match event {
        "createVault" => (Class::ApplicationLifecycle, 1, ""),
        "authenticate" => (Class::Authentication, 1, ""),
        "bootstrapCaller" | "bootstrapToken" => (Class::AccountChange, 1, ""),
        _ => (Class::ApplicationLifecycle, OTHER, ""),
    }
}

/// The event of the entry at `index` of the trail `origin`.
pub fn event(origin: &str, index: u64, entry: &Entry) -> Value {
    let operation = Operation::named(&entry.operation);
    let (class, activity, about) = operation.map_or_else(|| own_shape(&entry.operation), shape);
    let (class_uid, category_uid) = class.uid();
    let view = EventView::of(index, entry);
    let (status, action, disposition) = match &entry.outcome {
        Outcome::Allowed | Outcome::Done => (1, 1, 1),
        Outcome::Refused { .. } => (2, 2, 2),
        Outcome::Void => (99, 3, 0),
    };
    let mut event = json!({
        "class_uid": class_uid,
        "class_name": class.name(),
        "category_uid": category_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "severity_id": severity(entry),
        "time": entry.at.as_millisecond(),
        "time_dt": entry.at,
        "message": format!("{} {}", entry.operation, view.outcome),
        "status_id": status,
        "status": view.outcome,
        "action_id": action,
        "disposition_id": disposition,
        "policy": {"uid": entry.policy, "is_applied": true},
        "metadata": {
            "version": VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION"), "uid": origin},
            "profiles": PROFILES,
            "uid": entry.decision,
            "sequence": index,
            "log_name": "trail",
            "event_code": entry.operation,
        },
        "unmapped": unmapped(&view),
    });
    let Some(members) = event.as_object_mut() else { return event };
    let mut add = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    if activity == OTHER {
        add("activity_name", entry.operation.clone().into());
    }
    if let Some(code) = view.code {
        add("status_code", code.into());
    }
    if let Some(guard) = &view.guard {
        add("status_detail", guard.clone().into());
    }
    let who = match entry.caller {
        Some(caller) => {
            let mut user = json!({"uid": caller, "type_id": 0});
            if let Some(token) = entry.token {
                user["credential_uid"] = json!(token);
            }
            user
        }
        None => Value::Null,
    };
    let person = || view.subject_tag.clone();
    if class != Class::ApplicationLifecycle {
        add("actor", if who.is_null() { json!({"app_name": SERVICE}) } else { json!({"user": who}) });
        let from = entry.caller.map_or_else(|| json!({"svc_name": SERVICE}), |caller| json!({"uid": caller}));
        add("src_endpoint", from);
    }
    match class {
        Class::ApplicationLifecycle => add("app", json!({"name": PRODUCT, "uid": origin, "version": env!("CARGO_PKG_VERSION")})),
        Class::ApiActivity => add("api", json!({"operation": entry.operation, "request": {"uid": entry.decision}})),
        Class::DatastoreActivity => {
            add("type_id", 1.into());
            add("database", json!({"name": SERVICE, "uid": origin, "type_id": 99, "type": "vault"}));
            if let Some(tag) = person() {
                add("table", json!({"name": "subject", "uid": tag}));
            }
        }
        Class::EntityManagement => {
            let entity = person().map_or_else(|| json!({"name": about}), |tag| json!({"uid": tag, "name": about}));
            add("entity", entity);
        }
        // Whose account it is does not stand in the entry.
        Class::AccountChange => add("user", json!({"name": "not-recorded", "type_id": 0})),
        Class::Authentication => {
            add("service", json!({"name": SERVICE, "uid": origin}));
            add("user", if who.is_null() { json!({"name": "unknown", "type_id": 0}) } else { who.clone() });
            add("is_mfa", (operation == Some(Operation::StepUp)).into());
        }
    }
    event
}

/// From informational (1) to critical (5).
fn severity(entry: &Entry) -> u32 {
    match (&entry.note, &entry.outcome) {
        (Note::LostTail { .. }, _) => 5,
        (Note::TornTail { .. }, _) => 3,
        (_, Outcome::Refused { code: Code::Unauthenticated, .. }) => 3,
        (_, Outcome::Refused { .. } | Outcome::Void) => 2,
        _ => 1,
    }
}

/// What the schema has no place for.
fn unmapped(view: &EventView) -> Map<String, Value> {
    let all = [
        ("purpose", json!(view.purpose)),
        ("subject_tag", json!(view.subject_tag)),
        ("fields", json!(view.fields)),
        ("obligations", json!(view.obligations)),
        ("records", json!(view.records)),
        ("note", json!(view.note)),
    ];
    all.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::audit::codec::tests::entries;

    const ORIGIN: &str = "oubliette.local/vlt_00000000000000000000000000";

    /// The part of the schema that the view uses; `$comment` in it says where it is from.
    fn schema() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/ocsf-1.8.0.json")).unwrap()
    }

    /// What of a value the schema does not allow, by place.
    fn wrong_by(schema: &Value, shape: &Value, value: &Value, place: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let members = value.as_object().unwrap();
        let attributes = shape["attributes"].as_object().unwrap();
        for (name, rule) in attributes.iter().filter(|(_, rule)| rule["required"] == true) {
            if !members.contains_key(name) {
                wrong.push(format!("{place}/{name} is required ({rule})"));
            }
        }
        if let Some(some) = shape["constraints"]["at_least_one"].as_array()
            && !some.iter().any(|name| members.contains_key(name.as_str().unwrap()))
        {
            wrong.push(format!("{place} needs one of {some:?}"));
        }
        for (name, value) in members {
            let place = format!("{place}/{name}");
            let Some(rule) = attributes.get(name) else {
                wrong.push(format!("{place} is unknown"));
                continue;
            };
            let fits = match rule["type"].as_str().unwrap() {
                _ if rule["array"] == true => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
                "integer_t" | "long_t" | "timestamp_t" => value.is_i64() || value.is_u64(),
                "boolean_t" => value.is_boolean(),
                "datetime_t" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                "object" => value.is_object(),
                other if other.ends_with("_t") => value.as_str().is_some_and(|text| !text.is_empty()),
                object => {
                    let shape = &schema["objects"][object];
                    assert!(shape.is_object(), "the object {object} is not in the fixture");
                    wrong.extend(wrong_by(schema, shape, value, &place));
                    true
                }
            };
            let listed = rule["enum"].as_array().is_none_or(|all| all.contains(value));
            if !fits || !listed {
                wrong.push(format!("{place} does not fit {rule}: {value}"));
            }
        }
        wrong
    }

    fn wrong(schema: &Value, event: &Value) -> Vec<String> {
        let class = event["class_uid"].to_string();
        let shape = &schema["classes"][&class];
        if !shape.is_object() {
            return vec![format!("the class {class} is not in the fixture")];
        }
        let mut wrong = wrong_by(schema, shape, event, "");
        let number = |name: &str| event[name].as_u64().unwrap_or_default();
        if event["category_uid"] != shape["category_uid"] {
            wrong.push("the category is another class's".to_owned());
        }
        if number("type_uid") != number("class_uid") * 100 + number("activity_id") {
            wrong.push("the type does not follow from class and activity".to_owned());
        }
        if event["metadata"]["version"] != schema["version"] {
            wrong.push("the version is another".to_owned());
        }
        wrong
    }

    fn events_of_the_vault() -> Vec<&'static str> {
        vec![
            "createVault",
            "authenticate",
            "bootstrapCaller",
            "bootstrapToken",
            "epoch",
            "certificate",
            "void",
            "sweep",
            "commit",
            "keepDisclosure",
            "openGroups",
            "forgetAnswers",
            "incidentClock",
            "signingKeyFollows",
            "rotateSigning",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_entry_of_every_operation_and_event_is_valid(entry in entries(), which in any::<prop::sample::Index>()) {
            let mut names: Vec<&str> = Operation::ALL.iter().map(|operation| operation.text()).collect();
            names.extend(events_of_the_vault());
            let name = names[which.index(names.len())];
            let entry = Entry { operation: Cow::Borrowed(name), ..entry };
            let found = event(ORIGIN, 7, &entry);
            let wrong = wrong(&schema(), &found);
            prop_assert!(wrong.is_empty(), "{name}: {wrong:#?}");
        }
    }

    #[test]
    fn every_operation_has_a_valid_event_with_and_without_everything() {
        use crate::model::ids::{CallerId, DecisionId, TokenId};
        let schema = schema();
        let names = Operation::ALL.iter().map(|operation| operation.text()).chain(events_of_the_vault());
        for name in names {
            let id = DecisionId::from_bytes([1; 16]);
            let bare = Entry::new(jiff::Timestamp::UNIX_EPOCH, id, name, Outcome::Allowed, "1");
            let refused = Outcome::Refused { guard: Some("G3".into()), code: Code::PurposeNotPublished };
            let full = Entry {
                caller: Some(CallerId::from_bytes([2; 16])),
                token: Some(TokenId::from_bytes([3; 16])),
                tag: Some([4; 16]),
                purpose: Some("a-account".into()),
                fields: vec![1, 2],
                outcome: refused,
                ..bare.clone()
            };
            for entry in [bare, full] {
                let wrong = wrong(&schema, &event(ORIGIN, 0, &entry));
                assert!(wrong.is_empty(), "{name}: {wrong:#?}");
            }
        }
    }

    #[test]
    fn a_refused_read_says_who_what_and_why() {
        use crate::model::ids::{CallerId, DecisionId, TokenId};
        let outcome = Outcome::Refused { guard: Some("G7".into()), code: Code::ConsentMissing };
        let at = "2026-11-23T10:00:00.000123Z".parse().unwrap();
        let entry = Entry {
            caller: Some(CallerId::from_bytes([0; 16])),
            token: Some(TokenId::from_bytes([0; 16])),
            tag: Some([0xab; 16]),
            purpose: Some("c-marketing".into()),
            ..Entry::new(at, DecisionId::from_bytes([0; 16]), "readRecords", outcome, "7")
        };
        let event = event(ORIGIN, 9, &entry);
        assert_eq!((&event["type_uid"], &event["severity_id"], &event["status_id"]), (&json!(600_501), &json!(2), &json!(2)));
        assert_eq!((&event["status_code"], &event["status_detail"]), (&json!("consent-missing"), &json!("G7")));
        assert_eq!((&event["time"], &event["time_dt"]), (&json!(1_795_428_000_000_i64), &json!("2026-11-23T10:00:00.000123Z")));
        assert_eq!(event["actor"]["user"]["uid"], "clr_00000000000000000000000000");
        assert_eq!(event["actor"]["user"]["credential_uid"], "tok_00000000000000000000000000");
        assert_eq!(event["table"]["uid"], "abababababababababababababababab");
        assert_eq!((&event["unmapped"]["purpose"], &event["metadata"]["sequence"]), (&json!("c-marketing"), &json!(9)));
    }

    #[test]
    fn the_check_against_the_schema_can_fail() {
        let schema = schema();
        let id = crate::model::ids::DecisionId::from_bytes([1; 16]);
        let good = event(ORIGIN, 0, &Entry::new(jiff::Timestamp::UNIX_EPOCH, id, "readRecords", Outcome::Allowed, "1"));
        for (pointer, value) in [
            ("/severity_id", Value::Null),
            ("/severity_id", json!(7)),
            ("/actor", json!({})),
            ("/activity_id", json!(77)),
            ("/metadata/version", json!("1.7.0")),
            ("/database", json!({"type_id": 99})),
            ("/time", json!("today")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(!wrong(&schema, &bad).is_empty(), "{pointer}");
        }
        for name in ["actor", "src_endpoint", "metadata", "time"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(name);
            assert!(!wrong(&schema, &bad).is_empty(), "{name}");
        }
        let mut bad = good;
        bad["colour"] = json!("red");
        assert!(!wrong(&schema, &bad).is_empty());
    }
}
