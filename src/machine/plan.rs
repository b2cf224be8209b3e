//! In which order one request goes through its candidates, and how long each may take.

use super::{Nanos, nanos};
use smallvec::SmallVec;
use std::time::Duration;

/// The longest reserve that an attempt leaves for the next candidate: 30 s.
pub const LONGEST_RESERVE: Duration = Duration::from_secs(30);
/// The reserve as a share of the time left: a quarter.
pub const RESERVE_SHARE: u32 = 4;

/// A set of candidates or providers by number, inline up to 128.
#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    /// Those below 64, and the others.
    first: u64,
    rest: SmallVec<[u64; 1]>,
}

impl Set {
    #[inline]
    pub(crate) fn insert(&mut self, index: usize) {
        match index / 64 {
            0 => self.first |= 1 << index,
            word => self.insert_far(word - 1, index % 64),
        }
    }

    #[cold]
    fn insert_far(&mut self, word: usize, bit: usize) {
        if self.rest.len() <= word {
            self.rest.resize(word + 1, 0);
        }
        self.rest[word] |= 1 << bit;
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|word| *word == 0)
    }

    #[inline]
    pub(crate) fn contains(&self, index: usize) -> bool {
        let word = match index / 64 {
            0 => Some(&self.first),
            word => self.rest.get(word - 1),
        };
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let words = std::iter::once(&self.first).chain(&self.rest).copied().enumerate();
        words.flat_map(|(word, bits)| (0..64).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| word * 64 + bit))
    }

    fn pop_first(&mut self) -> Option<usize> {
        let words = std::iter::once(&mut self.first).chain(&mut self.rest).enumerate();
        let (word, bits) = { words }.find(|(_, bits)| **bits != 0)?;
        let bit = bits.trailing_zeros();
        *bits &= *bits - 1;
        Some(word * 64 + bit as usize)
    }
}

/// Walks the candidates in order, each once: tier after tier, and those whose provider is in trouble within this request
/// after all others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    next: usize,
    put_back: Option<usize>,
    degraded: Set,
    suspect: Set,
    in_trouble: Set,
}

/// What is found of a candidate when somebody looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is the next.
    Comes,
    /// It is passed over.
    Refuses,
    /// It waits for those of better tiers. Only a new one can.
    Degraded,
    Suspect,
}

impl Cursor {
    /// Looks at one after the other until one comes: at each once, and at one that waits a second time, when it is its turn.
    /// `look` is told whether one is new, which one whose provider was in trouble when it came is not.
    #[inline(always)]
    pub(crate) fn next(
        &mut self,
        candidates: usize,
        mut look: impl FnMut(usize, bool) -> Found,
        mut in_trouble: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        loop {
            let (index, is_new) = self.upcoming(candidates, &mut in_trouble)?;
            match look(index, is_new) {
                Found::Comes => return Some(index),
                Found::Refuses => {}
                Found::Degraded => self.degraded.insert(index),
                Found::Suspect => self.suspect.insert(index),
            }
        }
    }

    /// Who comes next, and whether its tier is still to be asked.
    #[inline]
    fn upcoming(&mut self, candidates: usize, mut in_trouble: impl FnMut(usize) -> bool) -> Option<(usize, bool)> {
        if let Some(index) = self.put_back {
            self.put_back = None;
            if !in_trouble(index) {
                return Some((index, false));
            }
            self.in_trouble.insert(index);
        }
        while self.next < candidates {
            let index = self.next;
            self.next += 1;
            if !in_trouble(index) {
                return Some((index, true));
            }
            self.in_trouble.insert(index);
        }
        while let Some(index) = self.degraded.pop_first().or_else(|| self.suspect.pop_first()) {
            if !in_trouble(index) {
                return Some((index, false));
            }
            self.in_trouble.insert(index);
        }
        Some((self.in_trouble.pop_first()?, false))
    }

    /// It has not been looked at after all, and is the next to come.
    pub(crate) fn put_back(&mut self, index: usize) {
        self.put_back = Some(index);
    }

    /// Those that have not come yet, in no particular order.
    pub(crate) fn rest(&self, candidates: usize) -> impl Iterator<Item = usize> {
        let deferred = [&self.degraded, &self.suspect, &self.in_trouble];
        let put_back = self.put_back.into_iter();
        put_back.chain(self.next..candidates).chain(deferred.into_iter().flat_map(Set::iter))
    }
}

/// When an attempt begun now must end: after its own timeout, and with a reserve for the next
/// candidate unless it is the last. That is asked only if its timeout does not end it before.
pub(crate) fn attempt_ends(now: Nanos, deadline: Nanos, timeout: Duration, last: impl FnOnce() -> bool) -> Nanos {
    let left = deadline.saturating_sub(now);
    let reserve = nanos(LONGEST_RESERVE).min(left / Nanos::from(RESERVE_SHARE));
    let timeout = nanos(timeout);
    let most = if timeout <= left - reserve || !last() { left - reserve } else { left };
    now.saturating_add(timeout.min(most))
}

#[cfg(test)]
mod tests {
    use super::{super::score::Tier, *};
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn law_15_every_attempt_but_the_last_leaves_a_reserve() {
        let timeout = Duration::from_secs(120);
        assert_eq!(attempt_ends(0, 300 * SECOND, timeout, || false), 120 * SECOND);
        assert_eq!(attempt_ends(240 * SECOND, 300 * SECOND, timeout, || false), 285 * SECOND);
        assert_eq!(attempt_ends(100 * SECOND, 250 * SECOND, timeout, || false), 220 * SECOND);
        assert_eq!(attempt_ends(240 * SECOND, 300 * SECOND, timeout, || true), 300 * SECOND);
        assert_eq!(attempt_ends(301 * SECOND, 300 * SECOND, timeout, || false), 301 * SECOND);
    }

    #[test]
    fn who_ends_before_the_reserve_is_not_asked_whether_it_is_the_last() {
        let asked = |timeout, left: Nanos| {
            let mut asked = false;
            let last = || {
                asked = true;
                true
            };
            (attempt_ends(SECOND, (1 + left) * SECOND, Duration::from_secs(timeout), last), asked)
        };
        assert_eq!(asked(120, 300), (121 * SECOND, false));
        assert_eq!(asked(270, 300), (271 * SECOND, false));
        assert_eq!(asked(271, 300), (272 * SECOND, true));
        assert_eq!(asked(400, 300), (301 * SECOND, true));
    }

    /// Whoever is new waits, unless it is healthy; nobody else may refuse.
    fn looking(
        tier: impl Fn(usize) -> Tier,
        mut refuses: impl FnMut(usize) -> bool,
    ) -> impl FnMut(usize, bool) -> Found {
        move |index, is_new| match tier(index) {
            Tier::Degraded if is_new => Found::Degraded,
            Tier::Suspect if is_new => Found::Suspect,
            _ if refuses(index) => Found::Refuses,
            _ => Found::Comes,
        }
    }

    proptest! {
        #[test]
        fn law_15_no_attempt_outlives_the_deadline(now: Nanos, left: Nanos, timeout_ms: u64, last: bool) {
            let deadline = now.saturating_add(left);
            let ends = attempt_ends(now, deadline, Duration::from_millis(timeout_ms), || last);
            prop_assert!(ends >= now && ends <= deadline);
            prop_assert!(last || deadline - ends >= (deadline - now) / 4 || deadline - ends >= 30 * SECOND);
        }

        #[test]
        fn every_candidate_comes_or_is_passed_over_once_tier_after_tier_and_those_in_trouble_last(
            candidates in prop::collection::vec((0_usize..4, 0..3, prop::bool::ANY), 0..150),
            troubled in prop::collection::vec(0_usize..4, 0..4),
        ) {
            let tier = |i: usize| [Tier::Healthy, Tier::Degraded, Tier::Suspect][candidates[i].1 as usize];
            let in_trouble = |i: usize| troubled.contains(&candidates[i].0);
            let mut cursor = Cursor::default();
            let (mut came, mut turns) = (Vec::new(), Vec::new());
            loop {
                let refuses = |i: usize| {
                    turns.push(i);
                    candidates[i].2
                };
                let next = cursor.next(candidates.len(), looking(tier, refuses), in_trouble);
                let mut seen = turns.clone();
                seen.extend(cursor.rest(candidates.len()));
                seen.sort_unstable();
                prop_assert!(seen.into_iter().eq(0..candidates.len()), "{:?}", turns);
                let Some(index) = next else { break };
                prop_assert_eq!(turns.last(), Some(&index));
                came.push(index);
            }
            let mut expected: Vec<usize> = (0..candidates.len()).collect();
            expected.sort_by_key(|i| (in_trouble(*i), if in_trouble(*i) { Tier::Healthy } else { tier(*i) }));
            prop_assert_eq!(&turns, &expected);
            expected.retain(|i| !candidates[*i].2);
            prop_assert_eq!(came, expected);
        }

        #[test]
        fn one_that_is_put_back_comes_next_unless_it_refuses_by_then(refuses: bool) {
            let mut cursor = Cursor::default();
            let mut next = |put_back: Option<usize>, refuses: bool| {
                put_back.into_iter().for_each(|index| cursor.put_back(index));
                cursor.next(3, looking(|_| Tier::Healthy, |index| index == 1 && refuses), |_| false)
            };
            prop_assert_eq!((next(None, false), next(None, false)), (Some(0), Some(1)));
            prop_assert_eq!(next(Some(1), refuses), Some(if refuses { 2 } else { 1 }));
        }

        #[test]
        fn law_21_a_provider_that_comes_into_trouble_meanwhile_waits_till_the_end(
            candidates in prop::collection::vec((0_usize..4, 0..3), 1..80),
        ) {
            let tier = |i: usize| [Tier::Healthy, Tier::Degraded, Tier::Suspect][candidates[i].1 as usize];
            // Whoever has come is in trouble from then on.
            let (mut cursor, mut troubled, mut order) = (Cursor::default(), Vec::new(), Vec::new());
            let mut look = looking(tier, |_| false);
            while let Some(index) = cursor.next(candidates.len(), &mut look, |i| troubled.contains(&candidates[i].0)) {
                let others = cursor.rest(candidates.len()).any(|rest| !troubled.contains(&candidates[rest].0));
                prop_assert!(!others || !troubled.contains(&candidates[index].0));
                troubled.push(candidates[index].0);
                order.push(index);
            }
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..candidates.len()));
        }
    }
}
