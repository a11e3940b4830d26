//! createSubject (one and many) and getSubject.

use keys::GroupSet;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::AliasKind;
use crate::model::ids::SubjectId;
use crate::model::standing::{Notice, Standing};
use crate::model::wire::{AgeBand, CreateSubject, ShownView, SubjectView, TaskView};
use crate::policy::{Facts, SubjectFacts, SubjectState};
use crate::store::layout::RowKey;
use crate::tenant::{Tenant, normalise};

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh, key_group};
use super::idempotency::{self, Begun, Held, Owner};
use super::lifecycle::Vault;
use super::records::is_word;
use super::rows::{AliasRow, NoticeRow, SubjectRow, pack, time};
use super::{guardians, restrictions};

/// Aliases that one subject may have.
const MOST_ALIASES: usize = 16;

impl Vault {
    /// createSubject: keys of its own, its aliases in the alias tree, and nothing in the clear.
    pub async fn create_subject(&self, call: &Call, body: CreateSubject) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, Operation::CreateSubject)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let (change, answer) = prepare(core, call, body, held.as_ref())?;
        opened.committer.commit(change).await.map_err(|refused| noted(core, call, refused))?;
        Ok(answer)
    }

    /// `POST /subjects:batch`: each item stands or falls alone; what stands is one durable commit.
    pub async fn create_subjects(
        &self,
        call: &Call,
        items: Vec<Result<CreateSubject, Refused>>,
    ) -> Result<Vec<Result<Answer, Refused>>, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let mut held = Vec::new();
        let prepared = (0..).zip(items).map(|(place, item)| {
            let body = item?;
            match idempotency::begin_item(core, &self.0.in_flight, call, Operation::CreateSubject, place)? {
                Begun::Again(answer) => Ok((None, answer)),
                Begun::Plain => prepare(core, call, body, None).map(|(change, answer)| (Some(change), answer)),
                Begun::First(first) => {
                    let (change, answer) = prepare(core, call, body, Some(&first))?;
                    held.push(first);
                    Ok((Some(change), answer))
                }
            }
        });
        let prepared = prepared.collect();
        Ok(super::records::commit_each(&opened, prepared).await)
    }

    /// getSubject: state and groups alive; no personal data.
    pub async fn subject(&self, call: &Call, id: SubjectId) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, id)? else {
            return Err(core.missing(call, Operation::GetSubject, &tenant, id));
        };
        let about = person.facts(&tenant, core.clock.now());
        let facts = core.facts_about(&tenant, call, &person, &about);
        let allowed = core.decide(call, Operation::GetSubject, &facts, Some(person.tag))?;
        let mut entry = core.entry(call, Operation::GetSubject, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let admitted = core.admit(&allowed, entry).await?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(view(core, &tenant, &person)?), ..Answer::default() })
    }
}

/// A refusal that the committer found is noted too.
pub(crate) fn noted(core: &Core, call: &Call, refused: Refused) -> Refused {
    match refused.code {
        Code::AliasTaken => core.refuse(call, Operation::CreateSubject, refused.code, None),
        _ => refused,
    }
}

fn prepare(core: &Core, call: &Call, body: CreateSubject, held: Option<&Held<'_>>) -> Result<(Change, Answer), Refused> {
    let operation = Operation::CreateSubject;
    let tenant = core.tenant(&call.caller)?;
    let today = core.clock.now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    let minor = tenant.is_minor(&body.jurisdiction, body.birth_date, body.age_band, today);
    let agreed = match (&body.guardian, &body.guardian_consent) {
        (Some(guardian), Some(word)) => Some(guardians::consent(core, &tenant, None, *guardian, word)),
        _ => None,
    };
    // Of somebody of age nobody is the guardian.
    let guardian = agreed.clone().and_then(Result::ok).filter(|_| minor);
    let mut standing = Standing { guardian, ..Standing::default() };
    let about = SubjectFacts {
        class: &body.class,
        jurisdiction: &body.jurisdiction,
        minor,
        // A region that there is not is named below.
        region: body.region.as_deref().filter(|region| tenant.has_region(region)).unwrap_or_else(|| tenant.storage()),
        standing: &standing,
        ..SubjectFacts::bare(&tenant, SubjectState::Active)
    };
    let facts = Facts { subject: Some(&about), ..core.facts(&tenant) };
    let group = core.decide(call, operation, &facts, None)?.group();
    let refuse = |pointer: &str| {
        let refused = core.refuse(call, operation, Code::InvalidBody, None);
        Refused { pointer: Some(pointer.to_owned()), ..refused }
    };
    if !tenant.has_class(&body.class) {
        return Err(refuse("/class"));
    }
    if !is_jurisdiction(&body.jurisdiction) {
        return Err(refuse("/jurisdiction"));
    }
    if body.region.as_ref().is_some_and(|region| !tenant.has_region(region)) {
        return Err(refuse("/region"));
    }
    if let Some(notice) = &body.notice {
        if ![&notice.language, &notice.channel].into_iter().all(|text| is_word(text)) {
            return Err(refuse("/notice"));
        }
        // What is shown is the policy in force.
        if notice.policy_version != "current" && notice.policy_version != tenant.version() {
            return Err(refuse("/notice/policy_version"));
        }
        if !guardians::is_past(notice.shown_at, core.clock.now()) {
            return Err(refuse("/notice/shown_at"));
        }
    }
    if body.aliases.len() > MOST_ALIASES {
        return Err(refuse("/aliases"));
    }
    if body.birth_date.is_some_and(|date| date > core.clock.now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date()) {
        return Err(refuse("/birth_date"));
    }
    match (&body.guardian, &agreed) {
        (_, Some(Err(pointer))) => return Err(refuse(pointer)),
        (None, _) if body.guardian_consent.is_some() => return Err(refuse("/guardian")),
        (Some(guardian), None) if core.person(&tenant, *guardian)?.is_none() => return Err(refuse("/guardian")),
        _ => {}
    }
    if minor && standing.guardian.is_none() {
        return Err(core.refuse(call, operation, Code::GuardianConsentRequired, None));
    }
    let id = SubjectId::from_bytes(fresh()?);
    let mut aliases = Vec::with_capacity(body.aliases.len());
    let mut places = Vec::with_capacity(body.aliases.len());
    for (place, alias) in body.aliases.iter().enumerate() {
        let kind = AliasKind::named(&alias.r#type).ok_or_else(|| refuse(&format!("/aliases/{place}/type")))?;
        let normal = normalise::alias(kind, &alias.value, Some(&body.jurisdiction))
            .map_err(|_| refuse(&format!("/aliases/{place}/value")))?;
        let found_by = core.hierarchy.alias_of(tenant.id().bytes(), kind.number(), &normal);
        if places.iter().any(|(known, _, _)| *known == found_by) {
            continue;
        }
        aliases.push(AliasRow::of(&found_by));
        places.push((found_by, *id.bytes(), kind != AliasKind::Phone));
    }
    let groups = match group {
        Some(group) => GroupSet::EMPTY.with(key_group(group)?),
        None => GroupSet::EMPTY,
    };
    let subject = core.hierarchy.new_subject(*id.bytes(), groups)?;
    let keys = subject.keys().clone();
    let now = core.clock.now();
    let notice = body.notice.map(|notice| NoticeRow::of(notice, tenant.version()));
    if let Some(notice) = &notice {
        let policy_version = notice.policy_version.clone();
        standing.notices.push(Notice { id: fresh()?, policy_version, at: notice.shown_at });
    }
    let row = SubjectRow {
        tenant: *tenant.id().bytes(),
        class: body.class,
        jurisdiction: body.jurisdiction,
        region: body.region,
        birth_date: body.birth_date.map(|date| date.to_string()),
        child: body.age_band.map(|band| band == AgeBand::Child),
        aliases,
        guardian: standing.guardian.as_ref().map(|word| word.guardian),
        notice,
        created_at: now.as_microsecond(),
        erased_groups: 0,
        standing,
    };
    let key = RowKey::Subject(id).bytes();
    let sealed = keys.seal_row(&key, &pack(&row)?)?;
    let mut entry = core.entry(call, operation, Outcome::Allowed)?;
    entry.tag = Some(keys.tag(tenant.id().bytes()));
    let tag = keys.tag(&row.tenant);
    let person = Person { id, keys: keys.clone(), row, tag, as_of: 0 };
    let answer = Answer {
        decision: Some(entry.decision),
        made: true,
        body: Some(view(core, &tenant, &person)?),
        location: Some(format!("/v1/subjects/{id}")),
        etag: None,
        ..Answer::default()
    };
    let mut change = Change { entries: vec![entry], subjects: vec![subject], aliases: places, ..Change::default() };
    change.rows.push(RowChange { key, expect: Expect::Fresh, value: Some(sealed) });
    if let Some(held) = held {
        change.rows.push(held.keep(core, &Owner::Subject(id.bytes(), &keys), &answer)?);
    }
    Ok((change, answer))
}

fn view(core: &Core, tenant: &Tenant, person: &Person) -> Result<Vec<u8>, Refused> {
    let row = &person.row;
    let about = person.facts(tenant, core.clock.now());
    let standing = &row.standing;
    let notices = standing.notices.iter();
    let tasks = standing.tasks.iter();
    let view = SubjectView {
        id: person.id,
        state: match about.state {
            SubjectState::Active | SubjectState::Erased => "active",
            SubjectState::Closed => "closed",
            SubjectState::Held => "held",
        },
        jurisdiction: row.jurisdiction.clone(),
        class: row.class.clone(),
        minor: about.minor,
        groups: group_names(tenant, person.keys.groups()),
        created_at: row.created_at(),
        notices: notices
            .map(|notice| ShownView { policy_version: notice.policy_version.clone(), shown_at: time(notice.at) })
            .collect(),
        guardian: standing.guardian.as_ref().map(|word| guardians::view(word, about.minor)),
        restrictions: standing.restrictions.iter().map(restrictions::view).collect(),
        tasks: tasks
            .map(|task| TaskView { kind: task.kind.clone(), party: task.party.clone(), due_at: time(task.due_at) })
            .collect(),
    };
    serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
}

/// The names of a set of groups, in their order.
pub(crate) fn group_names(tenant: &Tenant, groups: GroupSet) -> Vec<String> {
    tenant.group_names(crate::model::purpose::GroupSet::from_bits(groups.bits()))
}

/// ISO 3166-1 alpha-2, or that and a subdivision of up to three letters or digits (ISO 3166-2).
fn is_jurisdiction(text: &str) -> bool {
    let (country, subdivision) = text.split_once('-').map_or((text, None), |(country, rest)| (country, Some(rest)));
    let upper = |part: &str| part.bytes().all(|b| b.is_ascii_uppercase());
    country.len() == 2
        && upper(country)
        && subdivision.is_none_or(|rest| {
            (1..=3).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
}
