//! Bundles over HTTPS: what is in them, who gets them, how often, and for how long.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use jiff::SignedDuration;
use keys::digest::sha256;
use oubliette::audit::manifest::{Manifest, ManifestError, verify_manifest};
use oubliette::audit::view::hex;
use oubliette::model::caller::Role;
use serde_json::{Value, json};

use crate::house::{House, Token};
use crate::https::Reply;

/// A request that was fulfilled.
pub(crate) struct Fulfilled {
    pub(crate) id: String,
    /// What the bundle can be fetched with once.
    pub(crate) code: String,
}

impl House {
    /// A request for a person, as far as `accept`; the level is what an officer saw.
    pub(crate) fn accepted(&self, subject: &str, kind: &str, level: u8) -> String {
        let officer = self.second(Role::PrivacyOfficer);
        let opened = self.post("/v1/requests", &json!({"type": kind, "subject": subject})).by(&officer).send().expect(201);
        let id = opened.member("request_id");
        let shown = json!({"action": "verify", "level": level, "evidence": {"kind": "passport", "digest": "ab".repeat(32)}});
        self.advance(&self.holder(Role::PrivacyOfficer), &id, &shown).expect(200);
        self.advance(&self.holder(Role::PrivacyOfficer), &id, &json!({"action": "accept"})).expect(200);
        id
    }

    /// A request for a person, fulfilled, after a document was seen.
    pub(crate) fn fulfilled(&self, subject: &str, kind: &str) -> Fulfilled {
        let id = self.accepted(subject, kind, 2);
        let code = self
            .advance(&self.holder(Role::PrivacyOfficer), &id, &json!({"action": "fulfil"}))
            .expect(200)
            .member("download_code");
        Fulfilled { id, code }
    }

    /// A part of a bundle, for the holder of its code.
    pub(crate) fn part(&self, bundle: &Fulfilled, part: &str) -> Reply {
        let path = format!("/v1/requests/{}/result?part={part}", bundle.id);
        self.get(&path).header("vault-claim", &bundle.code).send()
    }

    /// The data of a person, as a bundle has it.
    pub(crate) fn bundle(&self, subject: &str, kind: &str) -> Value {
        let bundle = self.fulfilled(subject, kind);
        self.part(&bundle, "data").expect(200).json()
    }

    /// A person's own token, through a portal.
    pub(crate) fn me(&self, subject: &str) -> Token {
        self.own_token(&self.portal(&["x-rights", "a-account"]), subject)
    }
}

/// All fields of a bundle by name, each with its record.
pub(crate) fn fields(bundle: &Value) -> BTreeMap<String, Vec<(Value, Value)>> {
    let mut all: BTreeMap<String, Vec<(Value, Value)>> = BTreeMap::new();
    for record in bundle["records"].as_array().unwrap() {
        for field in record["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap().to_owned();
            all.entry(name).or_default().push((record.clone(), field.clone()));
        }
    }
    all
}

/// Where a value does not fit a schema, as far as JSON Schema goes that the one of bundles needs.
pub(crate) fn misfits(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |holds: bool, what: &str| found.extend((!holds).then(|| format!("{place}: {what}")));
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "null" => value.is_null(),
        other => panic!("{other} is not known here"),
    };
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) => expect(kinds.iter().any(is), "another type"),
        kind => expect(is(kind), "another type"),
    }
    if let Some(only) = schema.get("const") {
        expect(value == only, "another value");
    }
    if let Some(some) = schema["enum"].as_array() {
        expect(some.contains(value), "none of the values");
    }
    if let Some(start) = schema["pattern"].as_str() {
        let start = start.strip_prefix('^').expect("patterns here are beginnings");
        expect(value.as_str().is_some_and(|text| text.starts_with(start)), "another beginning");
    }
    if let Some(least) = schema["minimum"].as_u64() {
        expect(value.as_u64().is_some_and(|number| number >= least), "too small");
    }
    if value.is_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            expect(value.get(name.as_str().unwrap()).is_some(), &format!("no {name}"));
        }
        if schema["additionalProperties"] == json!(false) {
            for (name, _) in value.as_object().into_iter().flatten() {
                expect(schema["properties"].get(name).is_some(), &format!("{name} is not known"));
            }
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(member) = value.get(name) {
            found.extend(misfits(inner, member, &format!("{place}/{name}")));
        }
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate().filter(|_| schema.get("items").is_some()) {
        found.extend(misfits(&schema["items"], item, &format!("{place}/{number}")));
    }
    for both in schema["allOf"].as_array().into_iter().flatten() {
        if misfits(&both["if"], value, place).is_empty() {
            found.extend(misfits(&both["then"], value, place));
        }
    }
    found
}

fn schema(house: &House) -> Value {
    house.get("/schemas/subject-bundle").send().expect(200).json()
}

#[test]
fn both_kinds_fit_the_published_schema_and_the_schema_can_say_no() {
    let house = House::start();
    let ada = house.customer();
    house.disclose(&ada, "parcel", "b-delivery", &[]).expect(201);
    house.put(&format!("/v1/subjects/{ada}/preferences/cookies"), &json!({"on": true})).by(&house.holder(Role::Writer)).send();
    let schema = schema(&house);
    let (access, portable) = (house.bundle(&ada, "access"), house.bundle(&ada, "portability"));
    for bundle in [&access, &portable] {
        assert_eq!(misfits(&schema, bundle, ""), Vec::<String>::new());
    }
    assert!(access["preferences"].as_array().unwrap().len() == 1 && portable.get("preferences").is_none());
    for (place, value) in [("/kind", json!("other")), ("/records/0/fields/0/shown", json!("bare")), ("/reads/0/at", json!(1))] {
        let mut wrong = access.clone();
        *wrong.pointer_mut(place).unwrap() = value;
        assert!(!misfits(&schema, &wrong, "").is_empty(), "{place}");
    }
    for name in ["reads", "recipients", "retention", "subject"] {
        let mut wrong = access.clone();
        wrong.as_object_mut().unwrap().remove(name);
        assert!(!misfits(&schema, &wrong, "").is_empty(), "{name}");
    }
}

#[test]
fn the_data_goes_once_the_copy_and_the_manifest_until_then() {
    let house = House::start();
    let ada = house.customer();
    let bundle = house.fulfilled(&ada, "access");
    let (copy, manifest) = (house.part(&bundle, "copy").expect(200), house.part(&bundle, "manifest").expect(200));
    assert_eq!(copy.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(copy.header("content-security-policy"), Some(crate::protocol::NOTHING_ELSE));
    assert!(copy.text().contains("ada@example.org") && !copy.text().contains("<script"));
    assert_eq!(house.part(&bundle, "copy").expect(200).bytes, copy.bytes);
    let data = house.part(&bundle, "data").expect(200);
    assert_eq!(data.header("content-type"), Some("application/json"));
    // Each part is the one that the manifest names.
    let stated = verify_manifest(&manifest.bytes, &house.home.public_key()).unwrap();
    assert_eq!((stated.kind.as_str(), stated.request.to_string()), ("access", bundle.id.clone()));
    for (part, bytes) in stated.parts.iter().zip([&data.bytes, &copy.bytes]) {
        assert_eq!((part.bytes, &part.sha256), (bytes.len() as u64, &hex(&sha256(&[bytes]))));
    }
    for part in ["data", "copy", "manifest"] {
        house.part(&bundle, part).refused(410, "result-gone");
    }
    let path = format!("/v1/requests/{}/result", bundle.id);
    house.get(&path).by(&house.me(&ada)).send().refused(410, "result-gone");
    // Neither a restart nor anything on the disk brings it back.
    let house = house.restart();
    house.part(&bundle, "data").refused(410, "result-gone");
}

#[test]
fn a_bundle_waits_for_its_days_and_no_longer_swept_or_not() {
    let house = House::start();
    let ada = house.customer();
    let (bundle, second) = (house.fulfilled(&ada, "access"), house.fulfilled(&ada, "portability"));
    house.home.turn(SignedDuration::from_hours(14 * 24) - SignedDuration::from_secs(1));
    house.part(&bundle, "copy").expect(200);
    house.home.turn(SignedDuration::from_secs(1));
    for part in ["data", "copy", "manifest"] {
        house.part(&bundle, part).refused(410, "result-gone");
    }
    house.wait(house.vault.sweep()).unwrap();
    // The sweep destroyed it: turning the clock back does not help.
    house.home.turn(SignedDuration::from_hours(-24));
    house.part(&bundle, "copy").refused(410, "result-gone");
    house.part(&second, "data").refused(410, "result-gone");
}

#[test]
fn it_is_the_persons_an_officers_for_rights_or_the_holders_of_the_code() {
    let house = House::start();
    let (ada, ben) = (house.customer(), house.customer());
    let bundle = house.fulfilled(&ada, "access");
    let path = format!("/v1/requests/{}/result?part=copy", bundle.id);
    house.get(&path).by(&house.me(&ada)).send().expect(200);
    house.get(&path).by(&house.me(&ben)).send().refused(404, "not-found");
    let officer = house.holder(Role::PrivacyOfficer);
    house.get(&path).by(&officer).send().refused(400, "purpose-required");
    house.get(&path).by(&officer).purpose("a-account").send().refused(403, "role-forbidden");
    house.get(&path).by(&officer).purpose("x-rights").send().expect(200);
    for role in [Role::Writer, Role::Reader, Role::Auditor, Role::SecurityOfficer, Role::KeyAdmin, Role::PolicyAuthor] {
        house.get(&path).by(&house.holder(role)).purpose("x-rights").send().refused(403, "role-forbidden");
    }
    let mut wrong = bundle.code.clone();
    let last = if wrong.ends_with('0') { "1" } else { "0" };
    wrong.replace_range(wrong.len() - 1.., last);
    house.get(&path).header("vault-claim", &wrong).send().refused(404, "not-found");
    let other = house.fulfilled(&ben, "access");
    house.get(&path).header("vault-claim", &other.code).send().refused(404, "not-found");
    house.get(&path).send().refused(401, "unauthenticated");
    house.get(&path).header("vault-claim", &bundle.code).send().expect(200);
    // Each of them is in the trail, under the person's tag.
    let seen =
        house.events("").into_iter().filter(|event| event["operation"] == "getRequestResult" && event["outcome"] == "allowed");
    assert_eq!(seen.filter(|event| event["subject_tag"].is_string()).count(), 3);
}

#[test]
fn there_is_no_result_before_a_request_is_fulfilled_and_none_of_other_types() {
    let house = House::start();
    let ada = house.customer();
    let open = house.accepted(&ada, "access", 2);
    let me = house.me(&ada);
    house.get(&format!("/v1/requests/{open}/result")).by(&me).send().refused(409, "state-conflict");
    let question = house.post("/v1/requests", &json!({"type": "question", "subject": ada, "message": "why?"}));
    let question = question.by(&house.holder(Role::PrivacyOfficer)).send().expect(201).member("request_id");
    house.get(&format!("/v1/requests/{question}/result")).by(&me).send().refused(409, "state-conflict");
    house.get(&format!("/v1/requests/{open}/result?part=all")).by(&me).send().refused(400, "malformed-request");
}

#[test]
fn the_copy_is_what_a_browser_gets() {
    let house = House::shared();
    let ada = house.customer();
    let bundle = house.fulfilled(&ada, "access");
    let path = format!("/v1/requests/{}/result", bundle.id);
    let browser = house.get(&path).header("vault-claim", &bundle.code).header("accept", "text/html,*/*;q=0.8").send().expect(200);
    assert_eq!(browser.header("content-type"), Some("text/html; charset=utf-8"));
    let program = house.get(&path).header("vault-claim", &bundle.code).header("accept", "application/json").send().expect(200);
    assert_eq!(program.json()["format"], "oubliette-subject-bundle");
}

#[test]
fn a_value_is_text_in_the_copy_and_never_markup() {
    let house = House::shared();
    let ada = house.ada();
    house.write(&ada, &["a-account"], json!({"name": "<img src=x onerror=alert(1)>", "company": "\"&'</td>"}));
    let bundle = house.fulfilled(&ada, "access");
    let copy = house.part(&bundle, "copy").expect(200).text();
    assert!(copy.contains("&lt;img src=x onerror=alert(1)&gt;") && copy.contains("&quot;&amp;&#39;&lt;/td&gt;"));
    assert!(!copy.contains("<img"));
}

#[test]
fn what_is_destroyed_after_a_bundle_was_made_takes_the_bundle_along() {
    let house = House::start();
    let officer = house.holder(Role::PrivacyOfficer);
    for destroy in [
        |house: &House, ada: &str, _: &str, _: &Token| {
            house.erase(&json!({"subject": ada, "scope": "groups", "groups": ["marketing"], "cause": "withdrawal"}));
        },
        |house: &House, ada: &str, record: &str, officer: &Token| {
            house.delete(&format!("/v1/subjects/{ada}/records/{record}")).by(officer).send().expect(204);
        },
        |house: &House, ada: &str, _: &str, _: &Token| {
            house.erase_subject(ada);
        },
    ] {
        let ada = house.ada();
        let record = house.contact(&ada);
        let bundle = house.fulfilled(&ada, "access");
        house.part(&bundle, "copy").expect(200);
        destroy(&house, &ada, &record, &officer);
        let refused = house.part(&bundle, "copy");
        assert!(matches!(refused.status, 404 | 410), "{}", refused.text());
    }
}

#[test]
fn a_manifest_or_a_part_that_was_changed_does_not_hold() {
    let house = House::shared();
    let ada = house.customer();
    let bundle = house.fulfilled(&ada, "access");
    let manifest = house.part(&bundle, "manifest").expect(200).text();
    let key = house.home.public_key();
    let stated: Manifest = verify_manifest(manifest.as_bytes(), &key).unwrap();
    for (from, to) in
        [("\"access\"", "\"portability\""), ("data.json", "date.json"), (&stated.parts[0].sha256[..], &"0".repeat(64))]
    {
        let changed = manifest.replacen(from, to, 1);
        assert_ne!(changed, manifest);
        assert_eq!(verify_manifest(changed.as_bytes(), &key), Err(ManifestError::Signature));
    }
    let mut stranger = key;
    stranger[0] ^= 1;
    assert_eq!(verify_manifest(manifest.as_bytes(), &stranger), Err(ManifestError::Signature));
    // The command says the same.
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("manifest.json"), &manifest).unwrap();
    std::fs::write(file("copy.html"), house.part(&bundle, "copy").expect(200).bytes).unwrap();
    let mut data = house.part(&bundle, "data").expect(200).bytes;
    std::fs::write(file("data.json"), &data).unwrap();
    let verify = |path: std::path::PathBuf| {
        let arguments = ["oubliette", "bundle", "verify", "--json", "--key"].map(std::ffi::OsString::from).into_iter();
        let code = oubliette::cli::run(arguments.chain([house.home.path().join("vault.pub").into(), path.into()]));
        format!("{code:?}")
    };
    let holds = verify(dir.path().into());
    assert_eq!(holds, format!("{:?}", std::process::ExitCode::from(0)));
    assert_eq!(verify(file("manifest.json")), holds);
    *data.last_mut().unwrap() ^= 1;
    std::fs::write(file("data.json"), &data).unwrap();
    assert_eq!(verify(dir.path().into()), format!("{:?}", std::process::ExitCode::from(3)));
    std::fs::remove_file(file("data.json")).unwrap();
    assert_eq!(verify(dir.path().into()), holds, "the copy alone holds, and it is said that the data is not there");
    std::fs::remove_file(file("copy.html")).unwrap();
    assert_ne!(verify(dir.path().into()), holds);
}

#[test]
fn the_trail_has_the_decision_for_rights_before_anything_is_opened_and_says_what_was_masked() {
    let house = House::start();
    let ada = house.ada();
    house.contact(&ada);
    house.write(&ada, &["b-service"], json!({"bank_account": "DE89370400440532013000"}));
    let before = house.events("").len();
    let id = house.accepted(&ada, "access", 1);
    let code =
        house.advance(&house.holder(Role::PrivacyOfficer), &id, &json!({"action": "fulfil"})).expect(200).member("download_code");
    let events = house.events("");
    let read = events[before..].iter().find(|event| event["operation"] == "readRecords").expect("the decision");
    assert_eq!((&read["purpose"], &read["outcome"], &read["records"]), (&json!("x-rights"), &json!("allowed"), &json!(2)));
    let tenant = house.tenant(0);
    let bank = tenant.field("bank_account").unwrap().number;
    assert_eq!(read["obligations"]["masked"], json!([bank]));
    let kept = events[before..].iter().position(|event| event["operation"] == "keepBundle").unwrap();
    assert!(events[before..].iter().position(|event| event["id"] == read["id"]).unwrap() < kept);
    // A code that came back shows that an address is theirs; a document, who they are.
    let shown = |bundle: &Value| fields(bundle)["bank_account"][0].1.clone();
    let masked = shown(&house.part(&Fulfilled { id, code }, "data").expect(200).json());
    assert_eq!((&masked["shown"], &masked["value"]), (&json!("masked"), &json!("****3000")));
    let clear = shown(&house.bundle(&ada, "access"));
    assert_eq!((&clear["shown"], &clear["value"]), (&json!("clear"), &json!("DE89370400440532013000")));
}

/// The first lines of an answer.
fn head(received: &[u8]) -> Option<(String, usize)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8(received[..end].to_vec()).unwrap(), end + 4))
}

/// A person with so many records of so many bytes.
fn with_records(house: &House, count: usize, bytes: usize) -> String {
    let ada = house.ada();
    let text = "x".repeat(bytes);
    for start in (0..count).step_by(500) {
        let record = |number: usize| {
            let fields = json!({"address": format!("{number} {text}")});
            json!({"subject": ada, "record": {"kind": "contact", "purposes": ["b-service"], "fields": fields}})
        };
        let items: Vec<Value> = (start..count.min(start + 500)).map(record).collect();
        let writer = house.holder(Role::Writer);
        house.post("/v1/records:batch", &json!(items)).by(&writer).purpose("b-service").send().expect(200);
    }
    ada
}

#[test]
fn a_download_that_breaks_off_takes_nothing_away_and_two_at_once_are_one() {
    let house = House::start();
    let ada = with_records(&house, 2_000, 4_000);
    let bundle = house.fulfilled(&ada, "access");
    let path = format!("/v1/requests/{}/result?part=data", bundle.id);
    let ask = || house.get(&path).header("vault-claim", &bundle.code);
    for _ in 0..3 {
        // The server hears that the one before broke off with the next piece that it cannot send.
        let connection = loop {
            let mut connection = house.connect();
            connection.write(&ask().bytes()).unwrap();
            let mut received = connection.some().unwrap();
            while head(&received).is_none() {
                received.extend(connection.some().unwrap());
            }
            if head(&received).unwrap().0.starts_with("HTTP/1.1 200") {
                break connection;
            }
        };
        // While one takes it nobody else does.
        ask().send().refused(409, "state-conflict");
        drop(connection);
    }
    let whole = loop {
        let reply = ask().send();
        if reply.status != 409 {
            break reply.expect(200);
        }
    };
    assert_eq!(whole.json()["records"].as_array().unwrap().len(), 2_000);
    house.part(&bundle, "data").refused(410, "result-gone");
}

/// Kilobytes of a line of this process's status.
fn kilobytes(line: &str) -> usize {
    let mut status = String::new();
    std::fs::File::open("/proc/self/status").unwrap().read_to_string(&mut status).unwrap();
    let found = status.lines().find_map(|own| own.strip_prefix(line)).unwrap();
    found.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

/// What `work` makes the process's peak of resident memory grow by, in kilobytes.
fn growth(work: impl FnOnce()) -> usize {
    std::fs::File::create("/proc/self/clear_refs").unwrap().write_all(b"5").unwrap();
    let before = kilobytes("VmRSS");
    work();
    kilobytes("VmHWM").saturating_sub(before)
}

/// In a process of its own, since memory is the whole process's.
#[test]
fn ten_thousand_records_go_into_a_bundle_and_out_of_it_in_bounded_memory() {
    const ALONE: &str = "OUBLIETTE_BUNDLE_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "bundles::ten_thousand_records_go_into_a_bundle_and_out_of_it_in_bounded_memory";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let done = alone.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
        assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        return;
    }
    // However much else the machine has to do.
    let house = House::start_with(|config| config.limits.request_seconds = 600);
    let ada = with_records(&house, 10_000, 5_000);
    // What a first bundle leaves in caches is not what a bundle takes.
    let warm = with_records(&house, 1_000, 5_000);
    house.fulfilled(&warm, "access");
    let id = house.accepted(&ada, "access", 2);
    let mut code = String::new();
    let made = growth(|| {
        code = house
            .advance(&house.holder(Role::PrivacyOfficer), &id, &json!({"action": "fulfil"}))
            .expect(200)
            .member("download_code")
    });
    let bundle = Fulfilled { id, code };
    let take = |part: &str| {
        let mut length = 0;
        let grown = growth(|| length = drained(&house, &bundle, part));
        (length, grown)
    };
    // Caches and the allocator take their part now and then: what a download itself holds shows every time.
    let copies: Vec<(usize, usize)> = (0..4).map(|_| take("copy")).collect();
    let copy = copies[0].0;
    let (least, most) = copies.iter().fold((usize::MAX, 0), |(least, most), (_, grown)| (least.min(*grown), most.max(*grown)));
    let (data, taken) = take("data");
    house.part(&bundle, "data").refused(410, "result-gone");
    assert!(copy > 50_000_000 && data > 50_000_000);
    assert!(made < 24_000 && least < 12_000 && most < 45_000 && taken < 45_000, "{made}, {least}, {most}, {taken} kB");
}

/// Takes a part as it comes, keeping nothing of it: its length.
fn drained(house: &House, bundle: &Fulfilled, part: &str) -> usize {
    let mut connection = house.connect();
    let path = format!("/v1/requests/{}/result?part={part}", bundle.id);
    connection.write(&house.get(&path).header("vault-claim", &bundle.code).bytes()).unwrap();
    let mut received = connection.some().unwrap();
    while head(&received).is_none() {
        received.extend(connection.some().unwrap());
    }
    let (lines, begins) = head(&received).unwrap();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a known length").parse().unwrap();
    let mut got = received.len() - begins;
    while got < length {
        got += connection.some().expect("the rest").len();
    }
    assert_eq!(got, length);
    length
}
