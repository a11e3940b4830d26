//! Letters to people: what is told to whom, when, where it goes, and what became of it.

use std::path::PathBuf;

use jiff::SignedDuration;
use oubliette::model::caller::Role;
use oubliette::store::Store;
use oubliette::vault::Delivered;
use serde_json::{Value, json};

use crate::canary::{Canary, absent, absent_under};
use crate::house::{House, files, notice};
use crate::https::Reply;

/// A mail, its headers and its text read back.
pub(crate) struct Mail {
    head: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) raw: String,
}

impl Mail {
    /// Reads a mail strictly: CRLF, ASCII, known headers, quoted-printable or plain.
    pub(crate) fn read(raw: &str) -> Self {
        assert!(raw.is_ascii(), "{raw}");
        let (head, body) = raw.split_once("\r\n\r\n").expect("a head and a body");
        assert!(raw.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])), "{raw}");
        let unfolded = head.replace("\r\n ", " ");
        let head: Vec<(String, String)> = unfolded
            .split("\r\n")
            .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).expect("a header"))
            .collect();
        let mut mail = Self { head, text: String::new(), raw: raw.to_owned() };
        mail.text = match mail.header("Content-Transfer-Encoding") {
            "quoted-printable" => quoted_printable(body),
            "base64" => base64_text(body),
            _ => body.to_owned(),
        };
        mail
    }

    /// The one header of that name.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut own = self.head.iter().filter(|(known, _)| known == name);
        let (one, more) = (own.next(), own.next());
        assert!(more.is_none(), "{name} stands twice");
        one.map_or_else(|| panic!("{name} is not in {:?}", self.head), |(_, value)| value)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.head.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn quoted_printable(body: &str) -> String {
    let joined = body.replace("=\r\n", "");
    let (mut bytes, mut rest) = (Vec::new(), joined.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'=' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn base64_text(body: &str) -> String {
    use base64::Engine as _;
    let joined: String = body.split_whitespace().collect();
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(joined).unwrap()).unwrap()
}

impl House {
    /// One round over the outbox.
    pub(crate) fn deliver(&self) -> Delivered {
        self.wait(self.vault.deliver()).unwrap()
    }

    /// What lies in the maildir, by address.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        let folder: PathBuf = self.home.path().join("letters");
        if !folder.exists() {
            return Vec::new();
        }
        let mut mails: Vec<Mail> =
            files(&folder.join("new")).iter().map(|path| Mail::read(&std::fs::read_to_string(path).unwrap())).collect();
        assert!(files(&folder.join("tmp")).is_empty(), "no half of a letter");
        mails.sort_by(|one, other| one.header("To").cmp(other.header("To")));
        mails
    }

    /// A new person with an address of their own, for these purposes.
    pub(crate) fn addressee(&self, purposes: &[&str]) -> (String, String) {
        let subject = self.ada();
        let email = format!("reader{}@letters.example", self.number());
        self.write(&subject, purposes, json!({"name": "Griselda Vogelsang", "email": email}));
        (subject, email)
    }

    /// Has a letter sent.
    pub(crate) fn send_notice(&self, subject: &str, kind: &str, template: &str) -> Reply {
        let body = json!({"subject": subject, "kind": kind, "template": template, "language": "de-AT", "channel": "email"});
        self.post("/v1/notices", &body).by(&self.holder(Role::Writer)).send()
    }

    /// What became of a person's letters.
    pub(crate) fn notices(&self, subject: &str) -> Vec<Value> {
        let path = format!("/v1/subjects/{subject}/notices");
        let list = self.get(&path).by(&self.holder(Role::PrivacyOfficer)).send().expect(200).json();
        list["notices"].as_array().unwrap().clone()
    }

    /// State and reason of a person's one letter.
    #[track_caller]
    pub(crate) fn fate(&self, subject: &str) -> (String, String) {
        let notices = self.notices(subject);
        assert_eq!(notices.len(), 1, "{notices:?}");
        let text = |member: &str| notices[0][member].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }

    /// Rows that wait in the outbox, or stay there: the files alone say so.
    fn in_the_outbox(self) -> (usize, Self) {
        let home = self.close();
        let store = home.store().unwrap();
        let count = store.scan(b"w", None, 1_000).unwrap().len();
        drop(store);
        (count, Self::open(home).unwrap())
    }
}

#[test]
fn promise_p16_a_security_letter_reaches_who_wants_no_marketing_at_the_address_of_their_records() {
    let house = House::start();
    let (ada, email) = house.addressee(&["b-service"]);
    house.switch(&ada, "marketing", false).expect(200);
    let (ben, other) = house.addressee(&["b-service"]);
    let queued = house.send_notice(&ada, "security", "security").expect(201).json();
    assert!(house.mails().is_empty(), "nothing leaves before a round");
    assert_eq!(house.fate(&ada), ("queued".into(), String::new()));
    assert_eq!(house.deliver(), Delivered { due: 1, sent: 1, ..Delivered::default() });
    let mails = house.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!(mail.header("To"), email);
    assert_eq!(mail.header("From"), house.tenant(0).controller().officer);
    assert_eq!(mail.header("Date"), "Mon, 23 Nov 2026 10:00:00 +0000");
    assert_eq!(mail.header("Content-Language"), "de", "de-AT falls back to de");
    assert_eq!(mail.header("Content-Type"), "text/plain; charset=utf-8");
    let id = queued["id"].as_str().unwrap();
    assert_eq!(mail.header("Message-ID"), format!("<{id}@localhost>"));
    let mut names = mail.names();
    names.sort_unstable();
    let usual = ["Auto-Submitted", "Content-Language", "Content-Transfer-Encoding", "Content-Type", "Date", "From"];
    assert_eq!(names, [&usual[..], &["MIME-Version", "Message-ID", "Reply-To", "Subject", "To"]].concat());
    assert!(mail.text.contains("Sicherheit Ihres Kontos") && !mail.text.contains(['{', '}']), "{}", mail.text);
    assert!(mail.text.contains("Beschwerden nimmt entgegen: Bundesbeauftragte"), "{}", mail.text);
    for foreign in [ada.as_str(), ben.as_str(), other.as_str(), "Griselda", "Vogelsang"] {
        assert!(!mail.raw.contains(foreign) && !mail.text.contains(foreign), "{foreign}");
    }
    assert_eq!(house.fate(&ada), ("sent".into(), String::new()));
    assert_eq!(house.deliver(), Delivered::default(), "once");
    // The reading of the address stands in the trail like every other.
    let read: Vec<Value> =
        house.events("&purpose=d-notice").into_iter().filter(|event| event.to_string().contains("readRecords")).collect();
    assert_eq!(read.len(), 1, "{read:?}");
    let (left, _house) = house.in_the_outbox();
    assert_eq!(left, 0, "what left is not kept on its way");
}

#[test]
fn a_letter_leaves_neither_address_nor_name_nor_text_behind() {
    let house = House::start();
    let (ada, email) = house.addressee(&["b-service"]);
    house.send_notice(&ada, "security", "security").expect(201);
    house.send_notice(&ada, "service", "service").expect(201);
    assert_eq!(house.deliver().sent, 2);
    let canaries = [
        Canary::of(&email),
        Canary::of("Griselda"),
        Canary::of("Vogelsang"),
        Canary::of("Es geht um die Sicherheit Ihres Kontos"),
    ];
    absent(&canaries, "the states", Value::from(house.notices(&ada)).to_string().as_bytes());
    let events = Value::from(house.events(""));
    absent(&canaries, "the trail", events.to_string().as_bytes());
    assert!(house.mails().iter().any(|mail| canaries[0].is_in(mail.raw.as_bytes())), "the letter itself has it");
    let home = house.close();
    absent_under(&canaries, &home.path().join("data"));
    absent_under(&canaries, &home.path().join("keys"));
}

#[test]
fn whom_a_letter_cannot_reach_it_does_not_reach_for_a_reason_that_is_kept() {
    let house = House::start();
    let silent = house.ada();
    house.send_notice(&silent, "service", "service").expect(201);
    house.deliver();
    assert_eq!(house.fate(&silent), ("given-up".into(), "no-address".into()));
    // Collected for the account alone: the purpose of notices does not reach it, but what the law asks to be told does.
    let (account, _) = house.addressee(&["a-account"]);
    house.send_notice(&account, "service", "service").expect(201);
    house.deliver();
    assert_eq!(house.fate(&account).0, "given-up");
    house.send_notice(&account, "security", "security").expect(201);
    assert_eq!(house.deliver().sent, 1);

    let (stopped, email) = house.addressee(&["b-service"]);
    let body = json!({"kind": "art18"});
    let path = format!("/v1/subjects/{stopped}/restrictions");
    house.post(&path, &body).by(&house.holder(Role::PrivacyOfficer)).send().expect(201);
    house.send_notice(&stopped, "service", "service").expect(201);
    house.deliver();
    assert_eq!(house.fate(&stopped), ("given-up".into(), "restricted".into()));
    house.send_notice(&stopped, "security", "security").expect(201);
    assert_eq!(house.deliver().sent, 1);
    assert!(house.mails().iter().any(|mail| mail.header("To") == email));

    let (closed, email) = house.addressee(&["b-service"]);
    house.send_notice(&closed, "service", "service").expect(201);
    let closure = json!({"type": "account-closure", "subject": closed});
    house.post("/v1/requests", &closure).by(&house.holder(Role::Writer)).send().expect(201);
    house.deliver();
    assert_eq!(house.fate(&closed), ("given-up".into(), "account-closed".into()), "it was queued before");
    house.send_notice(&closed, "service", "service").refused(410, "account-closed");
    house.send_notice(&closed, "security", "security").expect(201);
    assert_eq!(house.deliver().sent, 1);
    assert!(house.mails().iter().any(|mail| mail.header("To") == email));
}

#[test]
fn an_erasure_takes_the_letters_that_wait_and_what_is_known_of_those_that_left() {
    let house = House::start();
    let (ada, email) = house.addressee(&["b-service"]);
    house.send_notice(&ada, "security", "security").expect(201);
    assert_eq!(house.deliver().sent, 1);
    house.send_notice(&ada, "security", "security").expect(201);
    let (waiting, house) = house.in_the_outbox();
    assert_eq!(waiting, 1);
    house.erase_subject(&ada);
    let (waiting, house) = house.in_the_outbox();
    assert_eq!(waiting, 0, "no row names somebody who was erased");
    house.home.turn(SignedDuration::from_hours(1));
    assert_eq!(house.deliver(), Delivered::default());
    assert_eq!(house.mails().iter().filter(|mail| mail.header("To") == email).count(), 1);
    house.get(&format!("/v1/subjects/{ada}/notices")).by(&house.holder(Role::PrivacyOfficer)).send().refused(410, "erased");
}

#[test]
fn a_letter_that_came_back_is_noted_once_and_only_by_its_person() {
    let house = House::start();
    let (ada, _) = house.addressee(&["b-service"]);
    let (ben, _) = house.addressee(&["b-service"]);
    let id = house.send_notice(&ada, "service", "service").expect(201).member("id");
    let bounce = |subject: &str, id: &str, body: Value, role: Role| {
        house.post(&format!("/v1/subjects/{subject}/notices/{id}/bounces"), &body).by(&house.holder(role)).send()
    };
    bounce(&ada, &id, json!({}), Role::Writer).refused(409, "state-conflict");
    assert_eq!(house.deliver().sent, 1);
    bounce(&ben, &id, json!({}), Role::Writer).refused(404, "not-found");
    bounce(&ada, &id, json!({}), Role::Reader).refused(403, "role-forbidden");
    bounce(&ada, &id, json!({"status": "ada@example.org is unknown"}), Role::Writer).refused(422, "invalid-body");
    let noted = bounce(&ada, &id, json!({"status": "5.1.1"}), Role::Writer).expect(200).json();
    assert_eq!((&noted["state"], &noted["reason"]), (&json!("bounced"), &json!("5.1.1")));
    bounce(&ada, &id, json!({}), Role::Writer).refused(409, "state-conflict");
    assert_eq!(house.fate(&ada), ("bounced".into(), "5.1.1".into()));
}

#[test]
fn the_letters_of_a_person_are_listed_in_pages_for_officers_and_the_person_and_for_no_partner() {
    let house = House::start();
    let (ada, _) = house.addressee(&["b-service"]);
    for _ in 0..3 {
        house.send_notice(&ada, "service", "service").expect(201);
    }
    let path = format!("/v1/subjects/{ada}/notices");
    let first = house.get(&format!("{path}?limit=2")).by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json();
    assert_eq!(first["notices"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest =
        house.get(&format!("{path}?limit=2&cursor={cursor}")).by(&house.holder(Role::PrivacyOfficer)).send().expect(200).json();
    assert_eq!((rest["notices"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    house.get(&format!("{path}?cursor={cursor}")).by(&house.second(Role::PrivacyOfficer)).send().refused(400, "bad-cursor");
    let portal = house.portal(&["a-account", "x-rights"]);
    let own = house.own_token(&portal, &ada);
    let mine = house.get("/v1/subjects/me/notices").by(&own).send().expect(200).json();
    assert_eq!(mine["notices"].as_array().unwrap().len(), 3);
    house.get(&path).by(&house.holder(Role::Partner)).send().refused(404, "not-found");
}

#[test]
fn promise_p07_what_a_third_party_gave_is_owed_until_the_person_was_told() {
    let house = House::start();
    let (ada, email) = house.addressee(&["b-service"]);
    let (ben, _) = house.addressee(&["b-service"]);
    let given = |subject: &str, party: &str| {
        let source = json!({"type": "third-party", "party": party, "basis": "eu-gdpr:A6-1-f"});
        let body = json!({"kind": "contact", "purposes": ["b-service"], "fields": {"name": "Ada"}, "source": source});
        house.record(subject, "b-service", &body).expect(201);
    };
    house.send_notice(&ada, "service", "art14").refused(409, "state-conflict");
    given(&ada, "broker-7");
    given(&ada, "broker-8");
    given(&ben, "broker-7");
    let owed = |subject: &str| house.subject(subject).expect(200).json()["tasks"].as_array().unwrap().len();
    house.send_notice(&ada, "service", "art14").expect(201);
    given(&ada, "broker-9");
    assert_eq!(owed(&ada), 3, "a letter that waits tells nobody");
    assert_eq!(house.deliver().sent, 1);
    let mails = house.mails();
    let mail = mails.iter().find(|mail| mail.header("To") == email).unwrap();
    assert!(mail.text.contains("`broker-7, broker-8`"), "{}", mail.text);
    assert_eq!(owed(&ada), 1, "of the third party nothing was said");
    // Shown is told too.
    let mut shown = notice();
    shown
        .as_object_mut()
        .unwrap()
        .extend(json!({"subject": ben, "kind": "shown", "template": "art14"}).as_object().unwrap().clone());
    assert_eq!(owed(&ben), 1);
    house.post("/v1/notices", &shown).by(&house.holder(Role::Writer)).send().expect(201);
    assert_eq!(owed(&ben), 0);

    // What is overdue is said to the officer, once.
    house.home.turn(SignedDuration::from_hours(24 * 32));
    house.sweep();
    house.sweep();
    assert_eq!(house.deliver().sent, 1);
    let officer = house.tenant(0).controller().officer.clone();
    let alarms: Vec<Mail> = house.mails().into_iter().filter(|mail| mail.header("To") == officer).collect();
    assert_eq!(alarms.len(), 1);
    assert!(alarms[0].text.contains("overdue-task") && alarms[0].text.contains("party: broker-9"), "{}", alarms[0].text);
    assert!(!alarms[0].raw.contains(&ada) && !alarms[0].raw.contains(&email));
    house.home.turn(SignedDuration::from_hours(24));
    house.sweep();
    assert_eq!(house.deliver(), Delivered::default());
}

#[test]
fn promise_p61_a_policy_that_lets_more_be_done_is_told_to_everybody_and_asks_again() {
    let house = House::start();
    let people: Vec<(String, String)> = (0..3).map(|_| house.addressee(&["b-service", "c-marketing"])).collect();
    let (closed, _) = house.addressee(&["b-service"]);
    house.post("/v1/requests", &json!({"type": "account-closure", "subject": closed})).by(&house.holder(Role::Writer)).send();
    let decliner = house.newcomer("consumer");
    house.contract(&decliner, "ord-0", "active").expect(201);
    house.contact(&decliner);

    // What lets nothing more be done is told to nobody.
    let mut title = house.entry("purposes", "c-marketing");
    title["title"] = json!("Offers by letter");
    house.draft("purposes", "c-marketing", &title).expect(200);
    assert_eq!(house.publish()["material"], false);
    assert_eq!(house.deliver(), Delivered::default());

    let mut wider = house.entry("purposes", "c-marketing");
    wider["categories"].as_array_mut().unwrap().push("pd:PhysicalAddress".into());
    house.draft("purposes", "c-marketing", &wider).expect(200);
    let published = house.publish();
    assert_eq!((&published["material"], &published["reconsent"]), (&json!(true), &json!(["c-marketing"])));
    house.home.turn(SignedDuration::from_secs(1));
    let late = house.ada();
    house.contact(&late);
    let version = published["version"].as_str().unwrap();
    // A restart between the publication and the letters loses nothing.
    let house = house.restart();
    let delivered = house.deliver();
    assert_eq!((delivered.told, delivered.sent), (4, 4), "{delivered:?}");
    assert_eq!(house.deliver(), Delivered::default(), "nobody is told twice");
    let house = house.restart();
    assert_eq!(house.deliver(), Delivered::default());
    let mails = house.mails();
    assert_eq!(mails.len(), 4);
    for (subject, email) in &people {
        let mail = mails.iter().find(|mail| mail.header("To") == email).unwrap();
        assert!(mail.text.contains(version) && mail.text.contains("2026-11-23"), "{}", mail.text);
        let own = house.notices(subject);
        let told = own.iter().find(|notice| notice["kind"] == "policy-change").unwrap();
        assert_eq!((&told["state"], &told["policy_version"]), (&json!("sent"), &json!(version)));
        let ledger = house.consents(subject);
        let last = ledger.iter().rfind(|event| event["purpose"] == "c-marketing").unwrap();
        assert_eq!((&last["state"], &last["policy_version"]), (&json!("requested"), &json!(version)), "{ledger:?}");
        assert_eq!(ledger.iter().filter(|event| event["state"] == "requested").count(), 1);
        // What is new waits, what was agreed to goes on.
        house.read(subject, "c-marketing", "address").refused(403, "reconsent-required");
        house.read(subject, "c-marketing", "email").expect(200);
    }
    assert!(house.consents(&decliner).iter().all(|event| event["state"] != "requested"), "who gave none is asked for none");
    assert!(house.notices(&late).is_empty() && house.notices(&closed).is_empty());
    let ada = &people[0].0;
    house.consent(ada, "c-marketing", "given").expect(201);
    house.read(ada, "c-marketing", "email").expect(200);
    house.write(ada, &["c-marketing"], json!({"address": "Unter den Linden 1"}));
    house.read(ada, "c-marketing", "address").expect(200);
}

#[test]
fn promise_p61_a_consent_whose_recipients_widen_counts_for_nothing_until_it_is_given_again() {
    let house = House::start();
    let (ada, _) = house.addressee(&["b-service", "c-marketing"]);
    let mut partner = house.entry("partners", "parcel");
    partner["id"] = json!("printer");
    partner["purposes"].as_array_mut().unwrap().push("c-marketing".into());
    partner["fields"].as_array_mut().unwrap().push("email".into());
    house.draft("partners", "printer", &partner).expect(200);
    let published = house.publish();
    assert_eq!(published["reconsent"], json!(["c-marketing"]), "{published}");
    house.read(&ada, "c-marketing", "email").expect(200);
    assert_eq!(house.deliver().told, 1);
    house.read(&ada, "c-marketing", "email").refused(403, "reconsent-required");
    house.consent(&ada, "c-marketing", "given").expect(201);
    house.read(&ada, "c-marketing", "email").expect(200);
}

#[test]
fn promise_p02_a_notice_is_of_a_version_that_was_published() {
    let house = House::start();
    let ada = house.ada();
    let show = |version: &str| {
        let mut body = notice();
        let rest = json!({"subject": ada, "kind": "shown", "policy_version": version});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        house.post("/v1/notices", &body).by(&house.holder(Role::Writer)).send()
    };
    let first = house.tenant(0).version().to_owned();
    for unknown in ["2019-1", "next", "Ada", ""] {
        show(unknown).refused(422, "invalid-body");
    }
    show(&first).expect(201);
    // More versions than a person's row remembers: the newest stay.
    let mut last = first.clone();
    for number in 0..9 {
        let mut entry = house.entry("purposes", "c-marketing");
        entry["title"] = json!(format!("Offers {number}"));
        house.draft("purposes", "c-marketing", &entry).expect(200);
        last = house.publish()["version"].as_str().unwrap().to_owned();
        show("current").expect(201);
    }
    let shown = house.subject(&ada).expect(200).json()["notices"].as_array().unwrap().clone();
    assert_eq!((shown.len(), &shown[7]["policy_version"]), (8, &json!(last)));
    show(&first).expect(201);
}
