//! Which stripe a thread writes to, so that threads calling one model do not fight over a cache line.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Keeps what is inside on cache lines of its own. 128 bytes: two lines of 64, as adjacent ones are
/// fetched in pairs on x86-64, or one line of Apple's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// The most stripes that are made, however many cores there are.
pub(crate) const MAX_STRIPES: usize = 16;

/// How many stripes there are: a power of two, about one for each core.
pub(crate) fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cores.next_power_of_two().min(MAX_STRIPES)
    })
}

/// The stripe of the calling thread, below `stripes`, which must be a power of two.
#[inline]
pub(crate) fn mine(stripes: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let index = MINE.try_with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1));
        }
        mine.get()
    });
    // A thread that is being torn down has no stripe of its own any more; any one will do.
    index.unwrap_or(0) & (stripes - 1)
}
