//! Random operations, crashes among them, against a plain table; in the end the adversary gets exactly what lives.

use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::attacker::{Effort, attack};
use super::{Known, Vault, known};
use crate::context::{GroupSet, Id};
use crate::root::RootKey;
use crate::{Alias, Inserts, Shred};

#[derive(Debug, Clone)]
enum Op {
    Insert {
        count: usize,
        crowded: bool,
        groups: u32,
    },
    AddGroups {
        who: usize,
        groups: u32,
    },
    AddAlias {
        who: usize,
        alias: u8,
    },
    /// Several shreds in one transition.
    Shred {
        shreds: Vec<(usize, Cut)>,
        end: End,
    },
    Reopen,
    Checkpoint(u64),
    RotateRoot,
    ForgetCaches,
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    All,
    Drop(u32),
    Renew(u32),
    Alias(u8),
}

/// How a transition ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Abandoned,
    CrashBeforeCommit,
    CrashAfterCommit,
}

fn op() -> impl Strategy<Value = Op> {
    let bits = || 0_u32..16;
    let cut = prop_oneof![
        3 => Just(Cut::All),
        2 => bits().prop_map(Cut::Drop),
        2 => bits().prop_map(Cut::Renew),
        2 => (0_u8..6).prop_map(Cut::Alias),
    ];
    let end = prop_oneof![
        4 => Just(End::Finished),
        1 => Just(End::Abandoned),
        1 => Just(End::CrashBeforeCommit),
        1 => Just(End::CrashAfterCommit),
    ];
    let shreds = proptest::collection::vec((any::<usize>(), cut), 0..6);
    prop_oneof![
        4 => (1_usize..40, any::<bool>(), bits()).prop_map(|(count, crowded, groups)| Op::Insert { count, crowded, groups }),
        2 => (any::<usize>(), bits()).prop_map(|(who, groups)| Op::AddGroups { who, groups }),
        3 => (any::<usize>(), 0_u8..6).prop_map(|(who, alias)| Op::AddAlias { who, alias }),
        5 => (shreds, end).prop_map(|(shreds, end)| Op::Shred { shreds, end }),
        1 => Just(Op::Reopen),
        1 => (1_u64..100).prop_map(Op::Checkpoint),
        1 => Just(Op::RotateRoot),
        1 => Just(Op::ForgetCaches),
    ]
}

/// Bits 0..4 of a random number as groups 1..=4.
fn set(bits: u32) -> GroupSet {
    GroupSet::from_bits((bits & 15) << 1).unwrap()
}

#[derive(Default, Clone)]
struct Model {
    subjects: HashMap<Id, Known>,
    /// In the order of insertion, erased ones too: some operations are about people who are gone.
    order: Vec<Id>,
    aliases: BTreeSet<(u8, Id)>,
    every_key: HashSet<[u8; 32]>,
    trail: Option<(u64, [u8; 32])>,
}

impl Model {
    fn know(&mut self, id: Id, keys: Known) {
        self.every_key.extend(keys.values().map(|(_, key)| *key));
        self.subjects.insert(id, keys);
    }

    fn who(&self, number: usize) -> Id {
        self.order.get(number % self.order.len().max(1)).copied().unwrap_or([0; 16])
    }
}

fn tag(vault: &Vault, alias: u8) -> Alias {
    vault.keys().alias_of(&[1; 16], 1 + alias % 2, &format!("person {alias}"))
}

fn run(vault: &mut Vault, model: &mut Model, op: Op) {
    match op {
        Op::Insert { count, crowded, groups } => {
            let mut ids = super::ids(count);
            if crowded {
                // Many in one corner of the tree, so that it grows deep.
                ids.iter_mut().for_each(|id| (id[0], id[1]) = (0x5a, id[1] & 3));
            }
            let new = vault.add_subjects(&ids, set(groups));
            model.order.extend(ids);
            new.into_iter().for_each(|(id, keys)| model.know(id, keys));
        }
        Op::AddGroups { who, groups } => {
            let who = model.who(who);
            let added = vault.add(Inserts { groups: vec![(who, set(groups))], ..Inserts::default() });
            assert_eq!(added.len(), usize::from(model.subjects.contains_key(&who)));
            for (id, keys) in added {
                let keys = known(&keys);
                assert!(model.subjects[&id].iter().all(|(class, key)| keys[class] == *key));
                let expected = set(groups).iter().map(|group| u16::from(group.number()));
                assert!(expected.chain(model.subjects[&id].keys().copied()).all(|class| keys.contains_key(&class)));
                model.know(id, keys);
            }
        }
        Op::AddAlias { who, alias } => {
            let who = model.who(who);
            vault.add(Inserts { aliases: vec![(tag(vault, alias), who)], ..Inserts::default() });
            model.aliases.insert((alias, who));
        }
        Op::Shred { shreds, end } => shred(vault, model, &shreds, end),
        Op::Reopen => vault.reopen(),
        Op::Checkpoint(size) => {
            vault.keys().checkpoint(size, [size as u8; 32]).unwrap();
            model.trail = Some((size, [size as u8; 32]));
        }
        Op::RotateRoot => {
            let new = RootKey::random().unwrap();
            vault.keys().rotate_root(new.duplicate(), || Ok(())).unwrap();
            vault.root = new;
        }
        Op::ForgetCaches => vault.keys().opened.forget(),
    }
    assert_eq!(vault.keys().last_checkpoint(), model.trail);
}

fn shred(vault: &mut Vault, model: &mut Model, shreds: &[(usize, Cut)], end: End) {
    let mut after = model.clone();
    let mut renewed: HashMap<Id, GroupSet> = HashMap::new();
    let mut list = Vec::new();
    for (who, cut) in shreds {
        let who = model.who(*who);
        list.push(match *cut {
            Cut::All => Shred::Subject(who),
            Cut::Drop(bits) => Shred::Groups(who, set(bits)),
            Cut::Renew(bits) => Shred::Renew(who, set(bits)),
            Cut::Alias(alias) => Shred::Alias(tag(vault, alias), who),
        });
        match *cut {
            Cut::All => drop(after.subjects.remove(&who)),
            Cut::Drop(bits) => {
                if let Some(keys) = after.subjects.get_mut(&who) {
                    keys.retain(|class, _| !set(bits).iter().any(|group| u16::from(group.number()) == *class));
                }
            }
            Cut::Renew(bits) => {
                let all = renewed.entry(who).or_default();
                *all = all.union(set(bits));
            }
            Cut::Alias(alias) => drop(after.aliases.remove(&(alias, who))),
        }
    }
    let transition = vault.keys().begin(&vault.memory, &list).unwrap();
    for (who, groups) in renewed {
        let Some(keys) = after.subjects.get_mut(&who) else { continue };
        let new = known(transition.keys_after(&who).unwrap());
        for group in groups.iter() {
            if let Some((generation, key)) = keys.get_mut(&u16::from(group.number())) {
                let (next, fresh) = new[&u16::from(group.number())];
                assert!(next == *generation + 1 && fresh != *key);
                (*generation, *key) = (next, fresh);
                after.every_key.insert(fresh);
            }
        }
    }
    let epoch = vault.keys().epoch();
    match end {
        End::Finished | End::CrashAfterCommit => {
            vault.memory.commit(transition.writes());
            *model = after;
            if end == End::Finished {
                vault.keys().finish(transition).unwrap();
            } else {
                drop(transition);
                vault.reopen();
            }
            assert_eq!(vault.keys().epoch(), epoch + 1);
        }
        End::Abandoned => vault.keys().abandon(transition).unwrap(),
        End::CrashBeforeCommit => {
            drop(transition);
            vault.reopen();
            assert_eq!(vault.keys().epoch(), epoch);
        }
    }
}

fn agrees(vault: &Vault, model: &Model) {
    for id in &model.order {
        assert_eq!(vault.read(id).as_ref(), model.subjects.get(id));
    }
    for alias in 0..6 {
        let owners: Vec<_> = model.aliases.iter().filter(|(a, _)| *a == alias).map(|(_, id)| *id).collect();
        assert_eq!(vault.keys().alias(&vault.memory, &tag(vault, alias)).unwrap(), owners);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_history_leaves_exactly_what_a_plain_table_would(ops in proptest::collection::vec(op(), 1..40)) {
        let mut vault = Vault::new();
        let mut model = Model::default();
        for op in ops {
            run(&mut vault, &mut model, op);
            agrees(&vault, &model);
        }
        vault.reopen();
        agrees(&vault, &model);

        let loot = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::ByPlace);
        let living: HashSet<_> = model.subjects.values().flat_map(|keys| keys.values().map(|(_, key)| *key)).collect();
        prop_assert!(living.is_subset(&loot.subject_keys));
        for key in model.every_key.difference(&living) {
            prop_assert!(!loot.subject_keys.contains(key), "a key that was destroyed was recovered");
        }
        let aliases: HashSet<_> = model.aliases.iter().map(|(alias, id)| (tag(&vault, *alias).first().unwrap(), *id)).collect();
        prop_assert_eq!(loot.aliases, aliases);
    }
}
