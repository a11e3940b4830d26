//! Telling past recipients: who got something of a person hears of its correction, of a restriction and of its end, and of deletion
//! (GDPR Art. 19, p40).
//!
//! Each message is made and signed with the change that causes it, and kept by the same batch. It goes to the partner's callback, and
//! stands in its inbox (listDisclosures) until then. An erasure is told by a security event token of RISC, `account-purged`: the name
//! by which the partner knows the person dies with the person's keys, so the token is made while they live.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use keys::{Id, SubjectKeys};
use serde_json::json;

use crate::audit::Trusted as _;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{DeliveryId, DisclosureId, PseudonymId, SubjectId, VaultId};
use crate::model::rules::Partner;
use crate::model::states::DELIVERY;
use crate::model::wire::{UpdateEvent, UpdateView};
use crate::store::Row;
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::call::Refused;
use super::committer::{Expect, RowChange};
use super::core::{Core, Person, first16, fresh};
use super::disclosures::ledger;
use super::lifecycle::Vault;
use super::outbox::{Delivery, To, Went};
use super::rows::{DisclosureRow, RecipientRow, UpdateRow, pack, time, unpack};
use super::signers;

/// What is signed in front of an update, so that it is nothing else that the vault signs.
const UPDATE: &[u8] = b"oubliette-update/v1\n";

/// The event of an erasure (OpenID RISC Profile 1.0, 2.1).
const PURGED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";

/// The media type of a security event token (RFC 8417).
const TOKEN: &str = "application/secevent+jwt";

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Messages that are read together.
const PAGE: usize = 500;

/// How long a partner has to acknowledge what it is told.
const ACKNOWLEDGED_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long something stands in the inbox of a partner that has no callback.
const INBOX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What past recipients are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Fields were corrected.
    Update,
    /// The person's data is stored and used for nothing.
    Restriction,
    /// It is used again.
    Lifted,
    /// Fields were deleted.
    Deletion,
    /// Everything of the person was.
    Erasure,
}

impl Event {
    /// Its name.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Restriction => "restriction",
            Self::Lifted => "restriction-lifted",
            Self::Deletion => "deletion",
            Self::Erasure => "erasure",
        }
    }

    fn named(text: &str) -> Option<Self> {
        [Self::Update, Self::Restriction, Self::Lifted, Self::Deletion, Self::Erasure].into_iter().find(|one| one.text() == text)
    }
}

/// What is to be kept so that everybody is told, and who that is.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) rows: Vec<Row>,
    pub(crate) recipients: Vec<RecipientRow>,
}

/// The rows that tell everybody who got fields that `concerns` names of a disclosure.
pub(crate) fn tell(
    core: &Core,
    tenant: &Tenant,
    subject: &SubjectId,
    keys: &SubjectKeys,
    event: Event,
    concerns: impl Fn(&DisclosureRow) -> FieldSet,
) -> Result<Told, Refused> {
    let now = core.clock.now();
    let mut before = told_before(core, subject, keys)?;
    let mut past: BTreeMap<String, Past> = BTreeMap::new();
    for (id, row) in ledger(core, subject, keys)? {
        let fields = concerns(&row);
        if !fields.is_empty() {
            let secret = row.secret_until.filter(|until| *until > now.as_microsecond());
            let known = past.entry(row.recipient).or_insert(Past { disclosure: id, fields: FieldSet::EMPTY, secret });
            known.disclosure = id;
            // One disclosure that is none of its secrets is enough to name a recipient.
            known.secret = known.secret.and(secret);
            fields.iter().for_each(|number| known.fields.insert(number));
        }
    }
    let mut told = Told::default();
    for (recipient, past) in past {
        let id = message_id(now, before.remove(&recipient).unwrap_or_default())?;
        let has_callback = tenant.partner(&recipient).is_some_and(|partner| partner.callback.is_some());
        let body = if event == Event::Erasure {
            token(core, id, &recipient, pseudonym(keys, tenant.id().bytes(), &recipient))?
        } else {
            let row = UpdateRow {
                recipient: recipient.clone(),
                disclosure: *past.disclosure.bytes(),
                fields: past.fields.iter().collect(),
                at: now.as_microsecond(),
                event: Some(event.text().to_owned()),
            };
            let key = RowKey::Update(*subject, *id.bytes()).bytes();
            let value = keys.seal_row(&key, &pack(&row)?)?;
            told.rows.push((key, value));
            serde_json::to_string(&update(core, tenant, keys, id, row)?).map_err(|_| Code::Internal)?
        };
        // What stands in a person's own inbox rows needs no message; of an erased person there are none left.
        if has_callback || event == Event::Erasure {
            let mut delivery = Delivery::new(core, tenant, To::Partner(recipient.clone()), event.text());
            delivery.body = Some(body);
            delivery.due_at = now.checked_add(ACKNOWLEDGED_WITHIN).ok().map(Timestamp::as_microsecond);
            let key = RowKey::Delivery(id).bytes();
            let value = core.hierarchy.seal_row(&key, &pack(&delivery)?)?;
            told.rows.push((key, value));
        }
        told.recipients.push(RecipientRow { partner: recipient, delivery: *id.bytes(), secret_until: past.secret });
    }
    Ok(told)
}

/// How many messages about a person each partner has had, without that of an erasure.
fn told_before(core: &Core, subject: &SubjectId, keys: &SubjectKeys) -> Result<BTreeMap<String, u32>, Refused> {
    let prefix = prefix::updates(subject);
    let (mut told, mut after) = (BTreeMap::new(), None::<Vec<u8>>);
    loop {
        let page = core.store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(told) };
        after = Some(last.clone());
        for (key, value) in &page {
            let row: UpdateRow = unpack(keys.open_row(key, value)?.bytes())?;
            *told.entry(row.recipient).or_default() += 1;
        }
    }
}

/// An id that stands behind those of the messages before, so that a partner is told of a person in the order in which things
/// happened: the day, how many that partner was told of that person before, and 64 random bits. Two partners who are told of the
/// same have nothing in common by which they could join the names that they know the person by.
fn message_id(now: Timestamp, before: u32) -> Result<DeliveryId, Refused> {
    let mut bytes = fresh()?;
    let place = day(now).as_microsecond().saturating_add(i64::from(before));
    bytes[..8].copy_from_slice(&place.to_be_bytes());
    Ok(DeliveryId::from_bytes(bytes))
}

/// The beginning of the day of a time, in UTC: a partner is told no more of when something happened, since the same moment at two
/// partners is the same person.
pub(crate) fn day(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(DAY) * DAY).unwrap_or(at)
}

/// What one recipient got.
struct Past {
    disclosure: DisclosureId,
    fields: FieldSet,
    secret: Option<i64>,
}

/// The same for a person who is there, for a change of theirs.
pub(crate) fn changes(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    event: Event,
    concerns: impl Fn(&DisclosureRow) -> FieldSet,
) -> Result<Vec<RowChange>, Refused> {
    let told = tell(core, tenant, &person.id, &person.keys, event, concerns)?;
    Ok(told.rows.into_iter().map(|(key, value)| RowChange { key, expect: Expect::Fresh, value: Some(value) }).collect())
}

/// All fields of a disclosure.
pub(crate) fn all(row: &DisclosureRow) -> FieldSet {
    row.fields.iter().copied().collect()
}

/// Those of them that are among these.
pub(crate) fn among(row: &DisclosureRow, fields: &FieldSet) -> FieldSet {
    all(row).and(fields)
}

/// An event as a partner gets it, signed.
pub(crate) fn update(
    core: &Core,
    tenant: &Tenant,
    keys: &SubjectKeys,
    id: DeliveryId,
    row: UpdateRow,
) -> Result<UpdateView, Refused> {
    let event = row.event.as_deref().map_or(Some(Event::Update), Event::named).ok_or(Code::Internal)?;
    let names = row.fields.iter().filter_map(|number| tenant.field_numbered(*number)).map(|field| field.name.clone());
    let event = UpdateEvent {
        id,
        r#type: event.text(),
        disclosure: DisclosureId::from_bytes(row.disclosure),
        pseudonym: pseudonym(keys, tenant.id().bytes(), &row.recipient),
        fields: names.collect(),
        recipient: row.recipient,
        at: day(time(row.at)),
    };
    let text = serde_json_canonicalizer::to_vec(&event).map_err(|_| Code::Internal)?;
    let signature = BASE64_STANDARD.encode(core.hierarchy.sign(&[UPDATE, &text].concat()));
    Ok(UpdateView { event, signature })
}

/// The name by which one partner knows a person: two partners cannot join theirs, and it dies with the person's keys.
pub(crate) fn pseudonym(keys: &SubjectKeys, tenant: &Id, partner: &str) -> PseudonymId {
    PseudonymId::from_bytes(first16(&keys.keyed_digest("pseudonym", &[tenant, partner.as_bytes()])))
}

/// A security event token (RFC 8417) in compact serialisation (RFC 7515), signed with EdDSA (RFC 8037) by the vault's key, which
/// does not leave its hierarchy.
fn token(core: &Core, id: DeliveryId, partner: &str, pseudonym: PseudonymId) -> Result<String, Refused> {
    let public = core.hierarchy.public_key();
    let header = json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": key_id(&public)});
    let claims = json!({
        "iss": format!("urn:oubliette:vault:{}", VaultId::from_bytes(core.vault)),
        "aud": partner,
        "iat": day(core.clock.now()).as_second(),
        "jti": id,
        "sub_id": {"format": "opaque", "id": pseudonym},
        "events": {PURGED: {}},
    });
    let part = |value: &serde_json::Value| {
        let text = serde_json_canonicalizer::to_vec(value).map_err(|_| Refused::from(Code::Internal))?;
        Ok::<_, Refused>(BASE64_URL_SAFE_NO_PAD.encode(text))
    };
    let signed = format!("{}.{}", part(&header)?, part(&claims)?);
    let (by, signature) = core.hierarchy.sign_as(signed.as_bytes());
    if by != public {
        // Another key followed in this very moment: the message is made again on its next turn.
        return Err(Code::Stale.into());
    }
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// The thumbprint of a public key (RFC 7638, RFC 8037 appendix A.3).
fn key_id(public: &[u8; 32]) -> String {
    let text = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{}\"}}", BASE64_URL_SAFE_NO_PAD.encode(public));
    BASE64_URL_SAFE_NO_PAD.encode(keys::digest::sha256(&[text.as_bytes()]))
}

impl Vault {
    /// The vault's public keys as a set (RFC 7517), by which a partner checks what it is told: the one that signs, then those that signed
    /// before.
    pub fn public_keys(&self) -> Result<serde_json::Value, Refused> {
        let all = signers::public_keys(&self.opened()?.core.hierarchy);
        let key = |public: &[u8; 32]| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
                "kid": key_id(public), "x": BASE64_URL_SAFE_NO_PAD.encode(public),
            })
        };
        Ok(json!({"keys": all.keys().iter().map(key).collect::<Vec<_>>()}))
    }
}

/// Sends a message to its partner's callback. A token is acknowledged by 202 (RFC 8935, 2.2), everything else by any status of
/// success. Whatever else is answered, and nobody answering, is tried again: what is wrong may be put right.
pub(crate) async fn send(core: &Core, delivery: &Delivery) -> Result<Went, Refused> {
    let To::Partner(id) = &delivery.to else { return Err(Code::Internal.into()) };
    let tenant = core.tenants.get(&delivery.tenant()).ok_or(Code::Internal)?;
    let Some(body) = delivery.body.clone() else { return Ok(Went::GivenUp) };
    let partner = tenant.partner(id);
    let Some(callback) = partner.and_then(|partner| partner.callback.clone()) else {
        let over = core.clock.now().duration_since(time(delivery.made_at)) >= INBOX;
        return Ok(if over { Went::GivenUp } else { Went::Waits });
    };
    let is_token = delivery.template == Event::Erasure.text();
    let (post, media) = (core.post.clone(), if is_token { TOKEN } else { "application/json" });
    let sent = tokio::task::spawn_blocking(move || post.post(&callback, media, body.as_bytes()));
    let status = match sent.await.map_err(|_| Code::Internal)? {
        Ok(status) => status,
        Err(crate::post::Failed::NoSender) => return Ok(Went::Waits),
        Err(_) => return Ok(Went::Later),
    };
    Ok(match status {
        202 if is_token => Went::Acknowledged,
        200..300 if !is_token && partner.is_some_and(|partner| partner.acknowledges) => Went::Acknowledged,
        200..300 if !is_token => Went::Sent,
        _ => Went::Later,
    })
}

/// Whether a message should have been acknowledged by now and was not.
pub(crate) fn is_overdue(delivery: &Delivery, partner: Option<&Partner>, now: Timestamp) -> bool {
    let late = delivery.due_at.is_some_and(|due| due <= now.as_microsecond());
    let acknowledges = partner.is_some_and(|partner| partner.acknowledges);
    late && match DELIVERY.state(delivery.state) {
        Some("acknowledged") => false,
        Some("sent") => acknowledges || delivery.template == Event::Erasure.text(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        // RFC 8037, appendix A.2 and A.3.
        let public = BASE64_URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(key_id(&public.try_into().unwrap()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn every_event_is_found_by_its_name() {
        for event in [Event::Update, Event::Restriction, Event::Lifted, Event::Deletion, Event::Erasure] {
            assert_eq!(Event::named(event.text()), Some(event));
        }
        assert_eq!(Event::named("other"), None);
    }
}
