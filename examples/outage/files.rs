//! Room for the sockets. While a host hangs, the loop has some 600 calls under way, with both
//! ends of each in this process: more files than many systems let a process open unless it asks.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set in the process that was started with the higher limit.
const RAISED: &str = "OUTAGE_FILES_RAISED";
const WANTED: &str = r#"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 4096 ] || ulimit -S -n 4096 ||
    echo "cannot open 4096 files at once; the figures may suffer" >&2
exec "$0" "$@"
"#;

/// Starts this program anew under a limit of 4096 open files: a shell can raise it without a
/// line of unsafe code. Returns in the new process, or here if that could not be started.
pub fn allow_many() {
    if env::var_os(RAISED).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let error =
        Command::new("sh").args(["-c", WANTED]).arg(program).args(env::args_os().skip(1)).env(RAISED, "1").exec();
    eprintln!("cannot raise the number of open files: {error}");
}
