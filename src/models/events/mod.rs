//! What happens in a registry, told to whoever listens.

mod event;

pub use event::{Event, EventKind, Operation};

use crate::log::say;
use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::broadcast::{
    Receiver, Sender,
    error::{RecvError, TryRecvError},
};

/// So many events are kept for listeners that are slow, unless another number is set: 1,024.
pub const EVENT_CAPACITY: usize = 1_024;

/// What happens in a registry, from when this was made on: transitions of breakers, changes of tier, cooldowns, exhausted
/// budgets, commands. Of the state of all keys as well. Made by [`Models::events`](crate::Models::events).
///
/// Any number of listeners get the same. Nobody waits for one: of the last
/// [`event_capacity`](crate::ModelsBuilder::event_capacity) events, 1,024 unless set, a slow listener loses the oldest, is
/// told how many ([`Missed`]), and goes on with the oldest that is left. While nobody listens an event costs the load of a
/// counter; else a few reference counts more and a short lock among those who tell.
///
/// Nothing runs inside a lock of the crate: a listener may call any command, and has a task of its own to panic in.
///
/// ```
/// use tower_failover::{Command, EventKind, Model, Models, Provider, State};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
/// let mut events = models.events();
/// let listener = tokio::spawn(async move {
///     let mut opened = 0;
///     while let Some(event) = events.recv().await {
///         match event {
///             Ok(event) => {
///                 println!("{event}");
///                 opened += u32::from(matches!(event.kind, EventKind::Transition { to: State::ForcedOpen, .. }));
///             }
///             Err(missed) => println!("{missed}"),
///         }
///     }
///     opened
/// });
///
/// // 0.001s: model "sdxl" of "nexa": command: force open
/// // 0.001s: model "sdxl" of "nexa": closed to forced open, command: force open
/// models.command("sdxl", Command::ForceOpen)?;
///
/// // It ends with the registry.
/// drop(models);
/// assert_eq!(listener.await?, 1);
/// # Ok(()) }
/// ```
///
/// # Order
///
/// What one thread does comes in the order in which it happened. Of one call or command: first the command, then what
/// became of the model's breaker, of its provider's, and of those that follow from these; a cooldown before the transition
/// that it causes; then the model's tier; and last the cooldown of a provider two of whose models were limited. What is told
/// is done: a snapshot shows it, and maybe what has happened since.
///
/// What two threads do at one moment may come in either order, even of one breaker. And a request that began before
/// [`Models::apply`](crate::Models::apply) may still tell of models and breakers as they were. Whoever keeps a copy of the
/// state compares it now and then with a [`snapshot`](crate::Models::snapshot), after [`Missed`] at the latest.
///
/// # What is not told
///
/// - That a model becomes [`Tier::Suspect`](crate::Tier::Suspect) or ceases to be: that is no state, but worked out anew
///   from the calls under way each time that somebody asks. Snapshots say it.
/// - That a breaker is new: closed, of a key that comes for the first time or comes again, or of a model that a
///   configuration has added.
/// - That an open wait or a cooldown has elapsed. The breaker is half-open when the first call comes after it, which is
///   told; and in the same way a degraded model is healthy when somebody looks.
///
/// # As a stream
///
/// ```
/// use futures::{StreamExt, stream};
/// use tower_failover::{Command, Model, Models, Provider};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
/// let events = stream::unfold(models.events(), |mut events| async move { Some((events.recv().await?, events)) });
///
/// models.command("sdxl", Command::ForceOpen)?;
/// let lines: Vec<String> = events.take(2).map(|event| event.unwrap().kind.to_string()).collect().await;
/// assert_eq!(lines, ["command: force open", "closed to forced open, command: force open"]);
/// # Ok(()) }
/// ```
#[must_use = "it hears only what happens while it is there"]
pub struct Events {
    receiver: Receiver<Event>,
    channel: Weak<Channel>,
}

impl Events {
    /// The next event, or how many were lost before it. `None` when there will be none any more: everything that has been
    /// told was received, and nobody has the registry, be it [`Models`](crate::Models), a layer or service, a request under
    /// way, or a [`Served`](crate::Served).
    ///
    /// One that is dropped while it waits has lost nothing.
    pub async fn recv(&mut self) -> Option<Result<Event, Missed>> {
        match self.receiver.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(RecvError::Closed) => None,
        }
    }

    /// The same without waiting: `None` when there is none now.
    pub fn try_recv(&mut self) -> Option<Result<Event, Missed>> {
        match self.receiver.try_recv() {
            Ok(event) => Some(Ok(event)),
            Err(TryRecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.upgrade() {
            channel.listeners.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// So many events were lost, because the listener was slow. It goes on with the oldest that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missed(u64);

impl Missed {
    /// How many, at least 1.
    pub fn count(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events missed", self.0)
    }
}

impl std::error::Error for Missed {}

/// Where a family of registries tells what happens.
#[derive(Debug)]
pub(crate) struct Channel {
    capacity: usize,
    /// How many listen, which spares those who tell a lock.
    listeners: AtomicUsize,
    /// Made for the first listener.
    sender: OnceLock<Sender<Event>>,
}

impl Channel {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, listeners: AtomicUsize::new(0), sender: OnceLock::new() }
    }

    pub(super) fn listen(self: &Arc<Self>) -> Events {
        let receiver = self.sender.get_or_init(|| Sender::new(self.capacity)).subscribe();
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Events { receiver, channel: Arc::downgrade(self) }
    }

    /// Tells an event, if somebody listens. Not to be called with a lock held: listeners are woken here.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.listeners.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(sender) = self.sender.get() {
            // The last listener may have gone just now.
            say(|| drop(sender.send(event())));
        }
    }
}

/// Wakes those who still listen, whose wakers may panic, and maybe while another panic unwinds.
impl Drop for Channel {
    fn drop(&mut self) {
        let sender = self.sender.take();
        say(move || drop(sender));
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_event_is_made_only_while_somebody_listens() {
        let channel = Arc::new(Channel::new(4));
        let made = std::cell::Cell::new(0);
        let tell = || {
            channel.tell(|| {
                made.set(made.get() + 1);
                Event { at: Duration::ZERO, key: None, kind: EventKind::Applied }
            });
            made.get()
        };
        assert_eq!((tell(), channel.sender.get().is_none()), (0, true));
        let (one, two) = (channel.listen(), channel.listen());
        assert_eq!(tell(), 1);
        drop(one);
        assert_eq!(tell(), 2);
        drop(two);
        assert_eq!(tell(), 2);
        let _three = channel.listen();
        assert_eq!(tell(), 3);
    }
}
