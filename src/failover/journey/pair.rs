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
