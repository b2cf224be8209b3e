//! The atomics and the lock of the state machines: loom's under its own cfg, the standard ones otherwise.

#[cfg(not(tower_failover_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64},
};

#[cfg(tower_failover_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64},
};

pub(crate) use std::sync::atomic::Ordering;

/// Takes a lock inside which nothing can panic, so that poison carries no meaning.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
