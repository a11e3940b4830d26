//! The shipped tenant suits the promises, and a wrong text is named by its place.

use jiff::civil::date;

use super::*;
use crate::model::field::{AliasKind, FieldSet, Identifiability, Kind, Mask, Sensitivity};

fn shipped() -> Tenant {
    Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap()
}

fn permits(tenant: &Tenant, purpose: &str, field: &str) -> bool {
    tenant.purpose(purpose).unwrap().fields.contains(tenant.field(field).unwrap().number)
}

#[test]
fn the_catalogue_has_every_category_of_p08() {
    let tenant = shipped();
    for (field, category, kind, sensitivity) in [
        ("name", "pd:Name", Kind::Text, Sensitivity::Normal),
        ("gender", "pd:Gender", Kind::Text, Sensitivity::Normal),
        ("company", "pd:CurrentEmployment", Kind::Text, Sensitivity::Normal),
        ("post", "pd:Job", Kind::Text, Sensitivity::Normal),
        ("address", "pd:PhysicalAddress", Kind::Text, Sensitivity::Normal),
        ("email", "pd:EmailAddress", Kind::Email, Sensitivity::Normal),
        ("phone", "pd:TelephoneNumber", Kind::Phone, Sensitivity::Normal),
        ("account", "pd:Username", Kind::Text, Sensitivity::Normal),
        ("password", "pd:Password", Kind::Secret, Sensitivity::High),
        ("image", "pd:Picture", Kind::Blob, Sensitivity::High),
        ("photo", "pd:Picture", Kind::Blob, Sensitivity::High),
        ("id_document", "pd:OfficialID", Kind::Object, Sensitivity::High),
        ("id_image", "pd:OfficialID", Kind::Blob, Sensitivity::High),
        ("message", "pd:Communication", Kind::FreeText, Sensitivity::High),
        ("messages", "pd:Communication", Kind::FreeText, Sensitivity::High),
        ("enquiry", "pd:Communication", Kind::FreeText, Sensitivity::High),
    ] {
        let entry = tenant.field(field).unwrap();
        assert_eq!((entry.category.as_str(), entry.kind, entry.sensitivity), (category, kind, sensitivity), "{field}");
    }
    assert_eq!(tenant.field("shoe_size").err(), Some(Code::FieldNotInCatalogue));
}

#[test]
fn numbers_of_fields_and_groups_never_change() {
    let tenant = shipped();
    let fields: Vec<_> = tenant.fields().iter().map(|field| (field.number, field.name.as_str())).collect();
    let names = [
        "name",
        "gender",
        "birth_date",
        "email",
        "phone",
        "address",
        "company",
        "post",
        "account",
        "password",
        "image",
        "photo",
        "id_document",
        "id_image",
        "order",
        "orders",
        "message",
        "messages",
        "enquiry",
        "training_results",
        "event_participation",
        "interests",
        "survey_answers",
        "content",
        "device",
        "cookie_id",
        "ip",
        "language",
        "user_agent",
        "browsing",
        "preferences",
        "error_details",
        "transaction",
        "payment",
        "invoice",
        "external_id",
        "signature",
        "bank_account",
        "consents",
        "guardian_external_id",
        "postcode",
    ];
    assert_eq!(fields, (1..).zip(names).collect::<Vec<_>>());
    for (number, name) in (1..).zip(["identity", "contract", "content", "marketing", "device", "support", "security"]) {
        assert_eq!(tenant.group(name), Group::numbered(number));
        assert_eq!(tenant.group_name(Group::numbered(number).unwrap()), name);
    }
    assert_eq!(tenant.groups().bits(), 0b1111_1110);
}

#[test]
fn every_field_of_a_person_can_be_kept_for_some_purpose() {
    let tenant = shipped();
    let collecting: Vec<_> = tenant.purposes().iter().filter(|purpose| purpose.group.is_some()).collect();
    for field in tenant.fields() {
        let class_of_all = |purpose: &&&Purpose| purpose.classes.len() == 2 || field.name == "signature";
        let kept = collecting.iter().filter(class_of_all).any(|purpose| purpose.fields.contains(field.number));
        assert!(kept, "{}", field.name);
    }
    for named in [
        "external_id",
        "birth_date",
        "name",
        "gender",
        "email",
        "phone",
        "address",
        "company",
        "post",
        "id_document",
        "orders",
        "messages",
        "device",
        "consents",
        "guardian_external_id",
    ] {
        assert!(tenant.field(named).is_ok(), "{named}");
    }
}

#[test]
fn what_a_subject_is_found_by_is_no_free_text() {
    let tenant = shipped();
    let aliases: Vec<_> = tenant.fields().iter().filter_map(|field| Some((field.name.as_str(), field.alias?))).collect();
    let wanted = [
        ("email", AliasKind::Email),
        ("phone", AliasKind::Phone),
        ("account", AliasKind::Handle),
        ("external_id", AliasKind::ExternalId),
    ];
    assert_eq!(aliases, wanted);
}

#[test]
fn sensitive_identity_data_is_masked() {
    let tenant = shipped();
    let masked: Vec<_> = tenant.fields().iter().filter(|field| field.mask != Mask::None).map(|field| &*field.name).collect();
    let whole =
        ["password", "image", "photo", "id_document", "id_image", "message", "messages", "enquiry", "signature", "bank_account"];
    assert_eq!(masked, whole);
}

#[test]
fn the_purposes_are_those_of_the_promises() {
    let tenant = shipped();
    let groups = |purpose: &Purpose| purpose.group.map(|group| tenant.group_name(group).to_owned()).unwrap_or_default();
    let purposes: Vec<_> = tenant.purposes().iter().map(|purpose| format!("{} {}", purpose.id, groups(purpose))).collect();
    let wanted = [
        "a-account identity",
        "b-service contract",
        "b-orders contract",
        "b-delivery contract",
        "b-care support",
        "b-technical contract",
        "b-training contract",
        "b-event contract",
        "c-marketing marketing",
        "c-survey marketing",
        "c-events marketing",
        "d-notice contract",
        "e-ads device",
        "e-personalise device",
        "f-supplier contract",
        "g-improve support",
        "h-efficiency ",
        "i-errors support",
        "j-sync content",
        "k-security security",
        "l1-legal contract",
        "l2-policy contract",
        "x-rights ",
    ];
    assert_eq!(purposes, wanted);
    for purpose in tenant.purposes() {
        let letter = purpose.id.split('-').next().unwrap();
        let parent = match letter {
            "b" if purpose.id != "b-service" => Some("b-service"),
            "c" if purpose.id != "c-marketing" => Some("c-marketing"),
            _ => None,
        };
        assert_eq!(purpose.parent.as_deref(), parent, "{}", purpose.id);
        assert_eq!(purpose.needs_rule, purpose.id == "l1-legal");
        assert_eq!(purpose.any_group, purpose.id == "x-rights");
        assert_eq!(purpose.aggregate_only, purpose.id == "h-efficiency");
        assert_eq!(purpose.classes.contains("consumer"), purpose.id != "f-supplier");
    }
}

#[test]
fn each_purpose_sees_what_its_promise_says() {
    let tenant = shipped();
    for (purpose, sees, never) in [
        ("a-account", "name email phone address account password", "image photo id_document id_image orders content device"),
        ("b-service", "name email phone address orders training_results messages", "id_document password content interests"),
        ("b-delivery", "name phone address", "training_results email orders messages id_document"),
        ("c-marketing", "name email phone interests", "address orders id_document browsing messages birth_date"),
        ("d-notice", "name email phone", "address orders interests id_document messages"),
        ("e-ads", "browsing preferences cookie_id", "id_document id_image name email birth_date image address"),
        ("e-personalise", "browsing preferences device", "id_document id_image name email birth_date image address"),
        ("f-supplier", "name email phone company post id_document", "orders messages content password"),
        ("i-errors", "error_details", "name email messages content"),
        ("j-sync", "content", "name email messages orders"),
        ("k-security", "external_id email account device cookie_id ip transaction", "messages content interests address"),
        ("x-rights", "name content messages orders id_document", ""),
    ] {
        for field in sees.split_whitespace() {
            assert!(permits(&tenant, purpose, field), "{purpose} sees {field}");
        }
        for field in never.split_whitespace() {
            assert!(!permits(&tenant, purpose, field), "{purpose} never sees {field}");
        }
    }
    let with_content = tenant.purposes().iter().filter(|purpose| permits(&tenant, &purpose.id, "content"));
    assert_eq!(with_content.map(|purpose| &*purpose.id).collect::<Vec<_>>(), ["j-sync", "x-rights"]);
}

#[test]
fn a_pseudonymous_purpose_sees_no_direct_identifier() {
    let tenant = shipped();
    let improve = tenant.purpose("g-improve").unwrap();
    assert!(improve.pseudonymous && !improve.fields.is_empty());
    for field in tenant.fields().iter().filter(|field| improve.fields.contains(field.number)) {
        assert_ne!(field.identifiability, Identifiability::Direct, "{}", field.name);
    }
}

#[test]
fn a_missing_field_makes_only_the_purpose_that_needs_it_unavailable() {
    let tenant = shipped();
    let present = ["name", "email", "address"].map(|name| tenant.field(name).unwrap().number).into_iter().collect();
    let missing = |purpose: &str| tenant.purpose(purpose).unwrap().missing(&present);
    assert_eq!(missing("b-delivery").iter().collect::<Vec<_>>(), [tenant.field("phone").unwrap().number]);
    assert!(missing("a-account").is_empty());
}

#[test]
fn the_groups_of_a_record_are_those_of_its_purposes() {
    let tenant = shipped();
    let groups = tenant.groups_of(&["a-account", "b-service", "c-marketing"]).unwrap();
    assert_eq!(tenant.group_names(groups), ["identity", "contract", "marketing"]);
    assert_eq!(tenant.groups_of(&["x-rights"]), Ok(GroupSet::EMPTY));
    assert_eq!(tenant.groups_of(&["a-account", "z"]), Err(Code::PurposeNotPublished));
}

#[test]
fn retention_counts_in_calendar_periods() {
    let tenant = shipped();
    let end = |group: &str, from: &str| {
        let end = tenant.retention_end(tenant.group(group).unwrap(), "DE", &FieldSet::EMPTY, from.parse().unwrap());
        end.map(|end| end.to_string())
    };
    assert_eq!(end("contract", "2026-11-23T10:00:00Z").as_deref(), Some("2036-11-23T10:00:00Z"));
    assert_eq!(end("marketing", "2024-02-29T00:00:00Z").as_deref(), Some("2026-02-28T00:00:00Z"));
    assert_eq!(end("device", "2026-11-30T00:00:00Z").as_deref(), Some("2027-12-30T00:00:00Z"));
    assert_eq!(end("security", "2026-11-23T10:00:00Z").as_deref(), Some("2027-11-23T10:00:00Z"));
    assert_eq!(end("support", "2026-11-23T10:00:00Z").as_deref(), Some("2029-11-23T10:00:00Z"));
    assert_eq!(end("identity", "1990-01-01T00:00:00Z"), None);
    assert_eq!(end("content", "1990-01-01T00:00:00Z"), None);
    assert_eq!(end("contract", "9998-01-01T00:00:00Z"), None);
    let group = tenant.group("security").unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert!(!tenant.is_expired(group, "DE", &FieldSet::EMPTY, at("2026-11-23T10:00:00Z"), at("2027-11-23T09:59:59.999999Z")));
    assert!(tenant.is_expired(group, "DE", &FieldSet::EMPTY, at("2026-11-23T10:00:00Z"), at("2027-11-23T10:00:00Z")));
}

#[test]
fn a_record_lasts_as_long_as_its_longest_lasting_field_where_the_person_is() {
    let tenant = shipped();
    let contract = tenant.group("contract").unwrap();
    let fields = |names: &[&str]| names.iter().map(|name| tenant.field(name).unwrap().number).collect::<FieldSet>();
    let end = |jurisdiction: &str, names: &[&str]| {
        let end = tenant.retention_end(contract, jurisdiction, &fields(names), "2026-11-23T10:00:00Z".parse().unwrap());
        end.unwrap().to_string()[..4].to_owned()
    };
    assert_eq!(end("DE", &["invoice"]), "2034");
    assert_eq!(end("GB", &["invoice"]), "2032");
    assert_eq!(end("US-CA", &["invoice", "payment"]), "2033", "of the country where the subdivision has none");
    assert_eq!(end("BR", &["invoice"]), "2036", "no law of ours: the group's own");
    assert_eq!(end("GB", &["invoice", "name"]), "2036", "the name lasts longer");
    assert_eq!(end("GB", &[]), "2036");
    let rule = tenant.retention_rule(contract, "DE", Some(tenant.field("invoice").unwrap().number)).unwrap();
    assert_eq!(rule.rule.as_deref(), Some("de-hgb-257"));
}

#[test]
fn the_day_of_coming_of_age_is_the_first_on_which_nobody_is_a_minor() {
    let tenant = shipped();
    for (jurisdiction, birth) in [("DE", date(2013, 6, 26)), ("BE", date(2012, 2, 29)), ("US-CA", date(2020, 12, 31))] {
        let day = tenant.comes_of_age(jurisdiction, birth).unwrap();
        assert!(tenant.is_minor(jurisdiction, Some(birth), None, day.yesterday().unwrap()), "{birth}");
        assert!(!tenant.is_minor(jurisdiction, Some(birth), None, day), "{birth}");
    }
}

#[test]
fn a_thirteen_year_old_is_a_minor_in_germany_and_not_in_belgium() {
    let tenant = shipped();
    let today = date(2026, 11, 23);
    let minor = |jurisdiction: &str, birth: Date| tenant.is_minor(jurisdiction, Some(birth), None, today);
    assert!(minor("DE", date(2013, 6, 26)));
    assert!(!minor("BE", date(2013, 6, 26)));
    for (jurisdiction, age) in [
        ("AT", 14),
        ("BE", 13),
        ("CN", 14),
        ("DE", 16),
        ("FR", 15),
        ("IT", 14),
        ("US", 13),
        ("US-CA", 13),
        ("JP", 16),
        ("??", 16),
    ] {
        assert!(!minor(jurisdiction, date(2026 - age, 11, 23)), "{jurisdiction} on the birthday");
        assert!(minor(jurisdiction, date(2026 - age, 11, 24)), "{jurisdiction} the day before");
    }
    assert!(minor("DE", date(2030, 1, 1)));
}

#[test]
fn a_leap_day_child_comes_of_age_on_the_first_of_march() {
    let tenant = shipped();
    let born = Some(date(2012, 2, 29));
    assert!(tenant.is_minor("CN", born, None, date(2026, 2, 28)));
    assert!(!tenant.is_minor("CN", born, None, date(2026, 3, 1)));
}

#[test]
fn a_band_that_says_child_protects_whatever_the_date_says() {
    let tenant = shipped();
    let today = date(2026, 11, 23);
    assert!(tenant.is_minor("DE", Some(date(1980, 1, 1)), Some(AgeBand::Child), today));
    assert!(tenant.is_minor("DE", Some(date(2020, 1, 1)), Some(AgeBand::Adult), today));
    assert!(tenant.is_minor("DE", None, Some(AgeBand::Child), today));
    assert!(!tenant.is_minor("DE", None, Some(AgeBand::Adult), today));
    assert!(!tenant.is_minor("DE", None, None, today));
}

/// The error of the shipped texts with `from` in one of them made `to`.
fn broken(file: &str, from: &str, to: &str) -> String {
    let shipped = Sources::SHIPPED;
    let text = |name: &str, text: &str| if name == file { text.replacen(from, to, 1) } else { text.to_owned() };
    let (tenant, fields) = (text("tenant", shipped.tenant), text("fields", shipped.fields));
    let (purposes, retention) = (text("purposes", shipped.purposes), text("retention", shipped.retention));
    let (rules, transfers) = (text("rules", shipped.rules), text("transfers", shipped.transfers));
    let contacts = text("contacts", shipped.contacts);
    let requests = text("requests", shipped.requests);
    let notices = text("notices", shipped.notices);
    let incidents = text("incidents", shipped.incidents);
    let sources = Sources {
        notices: &notices,
        contacts: &contacts,
        requests: &requests,
        incidents: &incidents,
        tenant: &tenant,
        fields: &fields,
        purposes: &purposes,
        retention: &retention,
        rules: &rules,
        transfers: &transfers,
    };
    match Tenant::read(TenantId::from_bytes([1; 16]), &sources) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_wrong_text_is_named_by_its_place() {
    for (file, from, to, error) in [
        ("tenant", "identity = 1", "identity = 2", "tenant.toml: group `identity`: number 2 is used twice"),
        ("tenant", "identity = 1", "identity = 31", "tenant.toml: group `identity`: its number is not 1 to 30"),
        ("tenant", "default = 16", "default = 160", "tenant.toml: age `default`: is not 0 to 99"),
        ("tenant", "default = 16", "", "tenant.toml: ages: there is no default"),
        ("tenant", "\"2026-11-1\"", "\"\"", "tenant.toml: version: is not a short word"),
        ("tenant", "\"business-contact\"", "\"consumer\"", "tenant.toml: classes: `consumer` stands there twice"),
        ("fields", "number = 2", "number = 1", "fields.toml: field `gender`: number 1 is used twice"),
        ("fields", "number = 2", "number = 256", "fields.toml: field `gender`: number 256 is not 1 to 255"),
        ("fields", "retired = []", "retired = [2]", "fields.toml: field `gender`: number 2 is retired"),
        ("fields", "\"gender\"", "\"name\"", "fields.toml: field `name`: its name is used twice"),
        ("fields", "\"gender\"", "\"Gender\"", "fields.toml: field `Gender`: its name is not a short word"),
        ("fields", "pd:Gender", "Gender", "fields.toml: field `gender`: category `Gender` has no known prefix"),
        ("fields", "[\"number\"]", "[\"no\"]", "fields.toml: field `id_document`: masked member `no` is not among its members"),
        ("purposes", "pd:Gender", "pd:Gendre", "purposes.toml: purpose `a-account`: unknown category `pd:Gendre`"),
        ("purposes", "\"identity\"", "\"idntity\"", "purposes.toml: purpose `a-account`: unknown group `idntity`"),
        ("purposes", "[\"name\"]", "[\"nmae\"]", "purposes.toml: purpose `a-account`: unknown field `nmae`"),
        (
            "purposes",
            "[\"name\"]",
            "[\"orders\"]",
            "purposes.toml: purpose `a-account`: required field `orders` is not permitted",
        ),
        ("purposes", "\"b-service\"", "\"a-account\"", "purposes.toml: purpose `a-account`: its id is used twice"),
        ("purposes", "\"b-service\"", "\"b\"", "purposes.toml: purpose `b-orders`: parent `b-service` does not stand before it"),
        ("purposes", "[\"business-contact\"]", "[\"firm\"]", "purposes.toml: purpose `f-supplier`: unknown class `firm`"),
        (
            "purposes",
            "aggregate_only = true",
            "aggregate_only = false",
            "purposes.toml: purpose `h-efficiency`: it needs one of: a group, aggregate_only, any_group",
        ),
        ("retention", "\"contract\"", "\"contrakt\"", "retention.toml: group `contrakt`: unknown group"),
        ("retention", "\"contract\"", "\"identity\"", "retention.toml: group `identity`: its id is used twice"),
        ("retention", "P10Y", "PT10H", "retention.toml: group `contract`: its period is no calendar period"),
        ("retention", "P10Y", "P0D", "retention.toml: group `contract`: its period is no calendar period"),
        ("retention", "P10Y", "-P10Y", "retention.toml: group `contract`: its period is no calendar period"),
        ("requests", "tries = 3", "tries = 0", "requests.toml: requests: its tries, minutes or days are out of bounds"),
        ("requests", "erasure = 1\n", "", "requests.toml: levels: there is none for `erasure`"),
        (
            "requests",
            "days = 30",
            "days = 31",
            "requests.toml: sla `requests`: it is not answered within 30 days, or put off for too long",
        ),
        ("requests", "[50, 80, 100]", "[50, 80]", "requests.toml: sla `requests`: its alarms do not rise to 100"),
        ("requests", "days = 30", "days = 30\nareas = [\"DE\"]", "requests.toml: sla: none holds for every type everywhere"),
        (
            "requests",
            "window_days = 90",
            "window_days = 366",
            "requests.toml: ground `too_many_requests`: its window is longer than what is remembered",
        ),
    ] {
        assert_eq!(broken(file, from, to), error);
    }
    let without_a_rule = broken("retention", "[[retention]]\ngroup = \"content\"\nperiod = \"none\"\n", "");
    assert_eq!(without_a_rule, "retention.toml: group `content`: it has no rule");
}

#[test]
fn an_unknown_or_misspelt_key_is_named_by_its_line() {
    let error = broken("fields", "kind = \"text\"", "knid = \"text\"");
    assert!(error.starts_with("fields.toml: line 12: unknown field `knid`"), "{error}");
    let error = broken("tenant", "[groups]", "[grups]");
    assert!(error.starts_with("tenant.toml: line 7: unknown field `grups`"), "{error}");
    let error = broken("purposes", "needs_rule = true", "needs_rule = \"yes\"");
    assert!(error.starts_with("purposes.toml: line ") && error.contains("invalid type"), "{error}");
}
