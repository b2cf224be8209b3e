//! Division by a number that is known long before: a multiplication.

/// What is divided by, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Divisor {
    by: u64,
    /// 2⁶⁴ of them, rounded down.
    inverse: u64,
}

impl Divisor {
    /// 0 is taken for 1.
    pub(crate) fn new(by: u64) -> Self {
        let by = by.max(1);
        Self { by, inverse: u64::MAX / by }
    }

    pub(crate) fn get(self) -> u64 {
        self.by
    }

    /// How often it goes into a number, and what is left.
    #[inline]
    pub(crate) fn divide(self, number: u64) -> (u64, u64) {
        // The inverse is too small by less than one part in 2⁶⁴, so that this is at most one too few.
        let times = ((u128::from(number) * u128::from(self.inverse)) >> 64) as u64;
        let rest = number - times * self.by;
        if rest >= self.by { (times + 1, rest - self.by) } else { (times, rest) }
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of every size.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(number, bits)| number >> bits)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_divides(number in number(), by in number()) {
            let by = by.max(1);
            prop_assert_eq!(Divisor::new(by).divide(number), (number / by, number % by));
        }

        #[test]
        fn it_divides_what_is_just_a_multiple(by in number(), times in number(), less in 0..3_u64) {
            let by = by.max(1);
            let number = (times % (u64::MAX / by)).wrapping_mul(by).wrapping_sub(less);
            prop_assert_eq!(Divisor::new(by).divide(number), (number / by, number % by));
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        for by in [1, 2, 3, u64::MAX - 1, u64::MAX] {
            for number in [0, 1, by - 1, by, by.saturating_add(1), u64::MAX] {
                assert_eq!(Divisor::new(by).divide(number), (number / by, number % by), "{number} / {by}");
            }
        }
        assert_eq!(Divisor::new(0).get(), 1);
    }
}
