//! The registry of requests without a key, those of all keys, and what changes them together.

use super::{
    catalogue::{Catalogue, Seeds},
    keys::Keys,
    registry::{Common, Registry},
};
#[cfg(feature = "metrics")]
use crate::lane::Lane;
use crate::{
    lane::Swap,
    sync::{Mutex, lock},
};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Family {
    root: Swap<Registry>,
    pub(super) keys: Keys,
    seeds: Arc<Seeds>,
    pub(super) common: Arc<Common>,
    applying: Mutex<()>,
}

impl Family {
    pub(super) fn new(root: Swap<Registry>, keys: Keys, seeds: Arc<Seeds>, common: Arc<Common>) -> Self {
        Self { root, keys, seeds, common, applying: Mutex::new(()) }
    }

    /// All of them go on with another catalogue. Once this has returned, no request comes to the one of before.
    pub(super) fn apply(&self, catalogue: Catalogue, max_keys: usize) {
        let one_at_a_time = lock(&self.applying);
        let before = self.root.local();
        let catalogue = Arc::new(catalogue.follow(&before.catalogue));
        catalogue.succeed(&self.root, &self.seeds);
        self.keys.apply(&catalogue, max_keys);
        drop(one_at_a_time);
        before.meters().retire(catalogue.meters());
    }

    /// The registry of requests without a key.
    #[cfg(feature = "metrics")]
    pub(super) fn root(&self) -> Lane<Registry> {
        self.root.local()
    }
}
