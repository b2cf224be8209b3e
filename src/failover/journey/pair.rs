//! The models that are being asked: one, and at times another beside it.

/// Two at the most, each once.
#[derive(Debug, Default)]
pub(super) struct Pair([Option<usize>; 2]);

impl Pair {
    pub(super) fn push(&mut self, model: usize) {
        let [first, second] = &mut self.0;
        let place = if first.is_none() { first } else { second };
        debug_assert!(place.is_none(), "two at the most");
        *place = Some(model);
    }

    pub(super) fn remove(&mut self, model: usize) {
        for place in &mut self.0 {
            if *place == Some(model) {
                *place = None;
            }
        }
    }

    pub(super) fn contains(&self, model: usize) -> bool {
        self.0.contains(&Some(model))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &usize> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pair_is_a_short_list(ops in prop::collection::vec((prop::bool::ANY, 0_usize..4), 0..50)) {
            let (mut pair, mut list) = (Pair::default(), Vec::new());
            for (push, model) in ops {
                if !push {
                    pair.remove(model);
                    list.retain(|other| *other != model);
                } else if list.len() < 2 && !list.contains(&model) {
                    pair.push(model);
                    list.push(model);
                }
                let mut models: Vec<usize> = pair.iter().copied().collect();
                models.sort_unstable();
                list.sort_unstable();
                prop_assert_eq!(&models, &list);
                prop_assert!((0..4).all(|model| pair.contains(model) == list.contains(&model)));
            }
        }
    }
}
