//! The whole decision as one plain function, written from API.md and the golden matrix rather than from the guards, and
//! held against them over many random worlds.

use std::collections::BTreeSet;

use super::world::World;
use super::*;
use crate::model::field::Kind;
use crate::model::purpose::{GroupSet, Purpose};

const WORLDS: u64 = 40_000;

#[test]
fn the_guards_agree_with_a_plain_model_on_random_facts() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..WORLDS {
        let (world, operation, purpose) = random(seed);
        let purpose = purpose.as_deref();
        let outcome = world.outcome(operation, purpose);
        let short = outcome.as_ref().map(|answer| answer.group.clone()).map_err(|&refusal| refusal);
        assert_eq!(short, model(&world, operation, purpose), "seed {seed}: {operation:?} for {purpose:?}");
        let first = world.explanation(operation, purpose).into_iter().find(|finding| finding.holds == Some(false));
        let first = first.map(|finding| (finding.guard, finding.code.unwrap()));
        assert_eq!(first, outcome.as_ref().err().copied(), "seed {seed}: explained otherwise than decided");
        outcomes.insert(outcome.map_or_else(|(guard, code)| format!("{guard} {}", code.text()), |_| "allowed".to_owned()));
    }
    // The random worlds reach every refusal that there is.
    let wanted = [
        "G0 unauthenticated",
        "G1 not-found",
        "G1 role-forbidden",
        "G1 second-person-required",
        "G12 retention-expired",
        "G14 audit-unavailable",
        "G15 key-destroyed",
        "G15 not-found",
        "G2 account-closed",
        "G2 erased",
        "G2 not-found",
        "G3 aggregate-only",
        "G3 purpose-not-published",
        "G3 purpose-required",
        "G4 purpose-not-granted",
        "G5 category-not-permitted",
        "G5 subject-class-mismatch",
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

fn model(world: &World, operation: Operation, named: Option<&str>) -> Result<Option<String>, (&'static str, Code)> {
    let caller = &world.caller;
    let with_purpose = matches!(operation, CreateSubject | LookupSubject | WriteRecord | ReadRecords | RectifyRecord);
    let on_subject =
        matches!(operation, GetSubject | WriteRecord | ReadRecords | RectifyRecord | DeleteRecord | PutContract | OpenErasure);
    let on_erasure = matches!(operation, ApproveErasure | GetErasure);
    let purpose = named.filter(|_| with_purpose).and_then(|id| world.tenant.purpose(id));
    let there = world.class.filter(|_| !world.foreign);

    if world.now >= caller.expires_at {
        return Err(("G0", Code::Unauthenticated));
    }

    let sees_subjects = caller.roles.iter().any(|&role| sign(GetSubject, role) == "●");
    let knows = world.own || (!on_erasure && (!on_subject || sees_subjects));
    let approved = match world.second {
        Second::Waived => true,
        Second::OpenedBy(other) => other != caller.id && caller.kind == CallerKind::Person,
        Second::None => operation == OpenErasure,
    };
    let says = |role: &Role| match sign(operation, *role) {
        "●" => Ok(()),
        "●¹" if purpose.is_none_or(|purpose| purpose.id == "x-rights") => Ok(()),
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

    if !on_erasure && operation != ExplainDecision {
        match (there, world.state) {
            (None, _) if on_subject => return Err(("G2", Code::NotFound)),
            (Some(_), SubjectState::Erased) => return Err(("G2", if knows { Code::Erased } else { Code::NotFound })),
            (Some(_), SubjectState::Closed) if with_purpose && !matches!(named, Some("x-rights" | "l1-legal")) => {
                return Err(("G2", Code::AccountClosed));
            }
            _ => {}
        }
    }

    if !with_purpose {
        return if world.trail { Ok(None) } else { Err(("G14", Code::AuditUnavailable)) };
    }
    let purpose = match (named, purpose) {
        (None, _) => return Err(("G3", Code::PurposeRequired)),
        (_, None) => return Err(("G3", Code::PurposeNotPublished)),
        (_, Some(purpose)) if purpose.id == "h-efficiency" => return Err(("G3", Code::AggregateOnly)),
        (_, Some(purpose)) => purpose,
    };
    if !caller.purposes.contains(&purpose.id) {
        return Err(("G4", Code::PurposeNotGranted));
    }
    match there {
        None if operation == CreateSubject => return Err(("G5", Code::SubjectClassMismatch)),
        Some("consumer") if purpose.id == "f-supplier" => return Err(("G5", Code::SubjectClassMismatch)),
        _ => {}
    }
    let collects_rights = purpose.id == "x-rights" && matches!(operation, CreateSubject | WriteRecord);
    if collects_rights || world.fields.iter().any(|&number| !sees(world, operation, purpose, number)) {
        return Err(("G5", Code::CategoryNotPermitted));
    }

    let opens = matches!(operation, ReadRecords | RectifyRecord);
    let Some((collected_for, wrapped, collected_at)) = world.record.as_ref().filter(|_| opens) else {
        if !world.trail {
            return Err(("G14", Code::AuditUnavailable));
        }
        let destroyed = purpose.group.is_some_and(|group| world.dead.contains(group));
        let group = purpose.group.map(|group| world.tenant.group_name(group).to_owned());
        return if opens && destroyed { Err(("G15", Code::KeyDestroyed)) } else { Ok(group) };
    };
    let once = collected_for.iter().filter_map(|id| world.tenant.purpose(id).unwrap().group).collect::<GroupSet>();
    let candidates: Vec<_> = world
        .tenant
        .groups()
        .iter()
        .filter(|&group| once.contains(group) || wrapped.contains(group))
        .filter(|&group| purpose.group.is_none_or(|own| own == group))
        .collect();
    let kept = |&&group: &&_| world.tenant.retention_end(group, *collected_at).is_none_or(|end| world.now < end);
    if !candidates.is_empty() && candidates.iter().filter(kept).count() == 0 {
        return Err(("G12", Code::RetentionExpired));
    }
    if !world.trail {
        return Err(("G14", Code::AuditUnavailable));
    }
    let opening = candidates.iter().filter(kept).find(|&&group| wrapped.contains(group) && world.alive.contains(group));
    match opening {
        Some(&group) => Ok(Some(world.tenant.group_name(group).to_owned())),
        None if candidates.is_empty() => Err(("G15", Code::NotFound)),
        None => Err(("G15", Code::KeyDestroyed)),
    }
}

fn sees(world: &World, operation: Operation, purpose: &Purpose, number: u16) -> bool {
    let Some(field) = world.tenant.fields().iter().find(|field| field.number == number) else {
        return false;
    };
    let pseudonymous = purpose.id == "g-improve";
    let direct = field.identifiability == crate::model::field::Identifiability::Direct;
    purpose.categories.contains(&field.category)
        && !(pseudonymous && direct)
        && !(operation == ReadRecords && field.kind == Kind::Secret)
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
fn random(seed: u64) -> (World, Operation, Option<String>) {
    thread_local!(static BARE: World = World::new(&[], &[]));
    let mut dice = Dice(seed);
    let mut world = BARE.with(Clone::clone);
    let ids: Vec<String> = world.tenant.purposes().iter().map(|purpose| purpose.id.clone()).collect();
    let operation = if dice.once_in(2) { ReadRecords } else { *dice.of(Operation::ALL) };
    let purpose = match dice.below(12) {
        0 => None,
        1 => Some("z-nonsense".to_owned()),
        2 => Some("x-rights".to_owned()),
        _ => Some(dice.of(&ids).clone()),
    };
    for _ in 0..=dice.below(2) {
        world.caller.roles.insert(*dice.of(&roles::ROLES));
    }
    if dice.once_in(3) {
        world.caller.roles.insert(Role::Reader);
    }
    let not_granted = dice.once_in(10);
    world.caller.purposes = ids.iter().filter(|id| !not_granted || Some(*id) != purpose.as_ref()).cloned().collect();
    if dice.once_in(8) {
        world.caller.expires_at = world.now;
    }
    if dice.once_in(8) {
        world.caller.kind = CallerKind::Service;
    }
    if dice.once_in(10) {
        world = world.narrowed(&["name", "email", "content", "orders"]);
    }
    world.class = *dice.of(&[Some("consumer"), Some("consumer"), Some("business-contact"), Some("business-contact"), None]);
    world.state = match dice.below(10) {
        0 => SubjectState::Erased,
        1 => SubjectState::Closed,
        _ => SubjectState::Active,
    };
    world.foreign = dice.once_in(12);
    world.own = dice.once_in(2);
    let other = CallerId::from_bytes([9; 16]);
    world.second = *dice.of(&[Second::None, Second::Waived, Second::OpenedBy(other), Second::OpenedBy(world.caller.id)]);
    world.trail = !dice.once_in(10);
    let fitting: Vec<u16> = match purpose.as_deref().and_then(|id| world.tenant.purpose(id)) {
        Some(purpose) if !purpose.fields.is_empty() => purpose.fields.iter().collect(),
        _ => vec![1],
    };
    for _ in 0..dice.below(4) {
        world.fields.push(if dice.once_in(12) { dice.below(60) as u16 } else { *dice.of(&fitting) });
    }
    for group in world.tenant.groups().iter() {
        if dice.once_in(5) {
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
        let days = ["2026-11-01T00:00:00Z", "2025-10-23T12:00:00Z", "2023-11-23T12:00:00Z", "2010-01-01T00:00:00Z"];
        let collected_at = at(days[dice.below(4) as usize]);
        world.record = Some((collected_for, groups, collected_at));
    }
    (world, operation, purpose)
}
