//! The rules that open a breaker, as one configuration has them.

use super::{Counted, Counter, Rate, Trip};
use std::{fmt, ops::Deref};

/// Some rules in their order.
#[derive(Clone, PartialEq)]
pub(crate) struct Rules {
    rules: Box<[Trip]>,
    /// One for each rule on a rate, in their order.
    rates: Box<[Rate]>,
}

impl Rules {
    /// What each rule on a rate counts, in their order.
    pub(super) fn counters(&self, stripes: usize) -> Box<[Counter]> {
        let on_rates = self.rules.iter().filter(|rule| rule.is_rate()).zip(&self.rates);
        let mut counters = Vec::with_capacity(self.rates.len());
        counters.extend(on_rates.map(|(rule, rate)| Counter::new(rule, rate, stripes)));
        counters.into_boxed_slice()
    }

    /// What they have counted, which were made from these.
    #[inline]
    pub(super) fn counted<'a>(&'a self, counters: &'a [Counter]) -> impl Iterator<Item = Counted<'a>> {
        self.rates.iter().zip(counters).map(|(rate, counter)| Counted { rate, counter })
    }

    /// The same where there is but one.
    #[inline]
    pub(super) fn counted_only<'a>(&'a self, counters: &'a [Counter]) -> Option<Counted<'a>> {
        match (&*self.rates, counters) {
            ([rate], [counter]) => Some(Counted { rate, counter }),
            _ => None,
        }
    }
}

impl FromIterator<Trip> for Rules {
    fn from_iter<I: IntoIterator<Item = Trip>>(rules: I) -> Self {
        let rules: Box<[Trip]> = rules.into_iter().collect();
        let rates = rules.iter().filter_map(Rate::of).collect();
        Self { rules, rates }
    }
}

impl Deref for Rules {
    type Target = [Trip];

    fn deref(&self) -> &[Trip] {
        &self.rules
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}
