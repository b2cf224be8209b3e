//! The readers that wait for one source.

use smallvec::SmallVec;
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

/// By the number of the reader. No lock is held while a waker runs or is dropped.
type Wakers = SmallVec<[(u64, Waker); 2]>;

/// Who waits for the source. It is itself the waker that the source knows, and wakes them all, so that it matters to nobody
/// which of them is dropped.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Wakers>);

impl Waiting {
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, id: u64, waker: Waker) {
        let mut wakers = self.wakers();
        let before = match wakers.iter_mut().find(|(waits, _)| *waits == id) {
            Some((_, before)) => Some(mem::replace(before, waker)),
            None => {
                wakers.push((id, waker));
                None
            }
        };
        drop(wakers);
        drop(before);
    }

    pub(super) fn remove(&self, id: u64) {
        let mut wakers = self.wakers();
        let found = wakers.iter().position(|(waits, _)| *waits == id);
        let removed = found.map(|index| wakers.swap_remove(index));
        drop(wakers);
        drop(removed);
    }

    pub(super) fn wake_all_but(&self, id: Option<u64>) {
        let mut wakers = self.wakers();
        let (stay, wake) = mem::take(&mut *wakers).into_iter().partition(|(waits, _)| Some(*waits) == id);
        *wakers = stay;
        drop(wakers);
        let wake: Wakers = wake;
        for (_, waker) in wake {
            waker.wake();
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all_but(None);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all_but(None);
    }
}
