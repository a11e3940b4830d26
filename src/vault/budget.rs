//! Limits that are counted while the vault is unsealed: how many people a token reads in an hour, and how often something
//! that could be guessed is tried.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::{SignedDuration, Timestamp};
use keys::Id;
use parking_lot::Mutex;

use crate::model::ids::TokenId;

/// The window of a read budget.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Keys that are remembered before those whose window is over are forgotten.
const MANY: usize = 4_096;

/// How many distinct people each token has read since its window began. A hoover takes people, not calls: somebody who reads
/// the same person all day spends one.
pub(crate) struct Budget {
    /// People in an hour; 0 is no limit.
    most: usize,
    spent: Mutex<HashMap<TokenId, Spent>>,
}

struct Spent {
    since: Timestamp,
    people: HashSet<Id>,
}

impl Budget {
    /// A budget of so many people an hour for each token.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, spent: Mutex::default() }
    }

    /// Counts a person; where that would be one too many, the seconds until the window ends.
    pub(crate) fn take(&self, token: TokenId, person: &Id, now: Timestamp) -> Result<(), u32> {
        if self.most == 0 {
            return Ok(());
        }
        let mut all = self.spent.lock();
        if all.len() > MANY {
            all.retain(|_, spent| now.duration_since(spent.since) < HOUR);
        }
        let spent = all.entry(token).or_insert_with(|| Spent { since: now, people: HashSet::new() });
        if now.duration_since(spent.since) >= HOUR {
            *spent = Spent { since: now, people: HashSet::new() };
        }
        if spent.people.contains(person) {
            return Ok(());
        }
        if spent.people.len() >= self.most {
            return Err(left(HOUR, now.duration_since(spent.since)));
        }
        spent.people.insert(*person);
        Ok(())
    }
}

/// How often each key was tried within its window.
pub(crate) struct Attempts<K> {
    most: u32,
    window: SignedDuration,
    tried: Mutex<HashMap<K, (Timestamp, u32)>>,
}

impl<K: Hash + Eq> Attempts<K> {
    /// So many tries in a window.
    pub(crate) fn new(most: u32, window: SignedDuration) -> Self {
        Self { most, window, tried: Mutex::default() }
    }

    /// Counts a try; where it is one too many, the seconds until the next may come.
    pub(crate) fn count(&self, key: K, now: Timestamp) -> Result<(), u32> {
        let mut all = self.tried.lock();
        if all.len() > MANY {
            all.retain(|_, (since, _)| now.duration_since(*since) < self.window);
        }
        let (since, count) = all.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= self.window {
            (*since, *count) = (now, 0);
        }
        if *count >= self.most {
            return Err(left(self.window, now.duration_since(*since)));
        }
        *count += 1;
        Ok(())
    }
}

fn left(window: SignedDuration, gone: SignedDuration) -> u32 {
    u32::try_from((window - gone).as_secs()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_reads_so_many_people_an_hour_and_the_same_ones_again() {
        let budget = Budget::new(2);
        let (one, other) = (TokenId::from_bytes([1; 16]), TokenId::from_bytes([2; 16]));
        for person in [1, 2, 1, 2] {
            assert_eq!(budget.take(one, &[person; 16], at(10)), Ok(()));
        }
        assert_eq!(budget.take(one, &[3; 16], at(70)), Err(3_540));
        assert_eq!(budget.take(one, &[1; 16], at(70)), Ok(()));
        assert_eq!(budget.take(other, &[3; 16], at(70)), Ok(()));
        assert_eq!(budget.take(one, &[3; 16], at(3_609)), Err(1));
        assert_eq!(budget.take(one, &[3; 16], at(3_610)), Ok(()));
    }

    #[test]
    fn a_budget_of_nothing_is_none() {
        let budget = Budget::new(0);
        assert!((0..100).all(|person| budget.take(TokenId::from_bytes([1; 16]), &[person; 16], at(0)).is_ok()));
    }

    #[test]
    fn tries_are_counted_for_each_key_and_forgotten_after_their_window() {
        let tries = Attempts::new(2, SignedDuration::from_mins(1));
        assert_eq!([tries.count(1, at(0)), tries.count(1, at(1)), tries.count(1, at(59))], [Ok(()), Ok(()), Err(1)]);
        assert_eq!(tries.count(2, at(59)), Ok(()));
        assert_eq!(tries.count(1, at(60)), Ok(()));
        for key in 10..10 + MANY as i64 {
            assert_eq!(tries.count(key, at(60)), Ok(()));
        }
        assert_eq!(tries.count(9, at(200)), Ok(()));
        assert_eq!(tries.tried.lock().len(), 1, "old windows are kept");
    }
}
