//! Log lines, which nothing depends on.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Writes a line. A subscriber that panics has lost it, and breaks nothing of ours: neither a settlement that is half
/// done, nor a drop while another panic unwinds.
pub(crate) fn say(line: impl FnOnce()) {
    // The panic hook has told of it already.
    let _ = catch_unwind(AssertUnwindSafe(line));
}
