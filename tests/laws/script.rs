//! A client whose behaviour is data: what each model does with a call, and how ready each provider's client is.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tower::Service;
use tower_failover::{Attempt, Provider};

/// What can go wrong with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Reset,
    Connect,
    Local,
    Unready,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

/// What a model does with one call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Answer(u16, Duration),
    Fail(Fault, Duration),
    Hang,
    PanicInCall,
    PanicInPoll,
}

impl From<u16> for Act {
    fn from(status: u16) -> Self {
        Self::Answer(status, Duration::ZERO)
    }
}

impl From<Fault> for Act {
    fn from(fault: Fault) -> Self {
        Self::Fail(fault, Duration::ZERO)
    }
}

/// How ready a client is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Readiness {
    Now,
    After(Duration),
    Never,
    Fails,
}

/// One call as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request: u32,
    pub(crate) model: String,
    /// Calls that were under way for the same request when this one came.
    pub(crate) beside: usize,
    /// The models of all that were.
    pub(crate) among: Vec<String>,
}

#[derive(Debug, Default)]
struct Book {
    acts: HashMap<String, VecDeque<Act>>,
    readiness: HashMap<String, Readiness>,
    calls: Vec<Call>,
    under_way: Vec<(u32, String)>,
    readied: HashMap<String, usize>,
    unready_calls: usize,
}

/// All clients' script and what came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Book>>);

impl Script {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nobody panics with the book open")
    }

    /// What a model does, call by call; the last act goes on for ever. Without a script it answers 200.
    pub(crate) fn play(&self, model: &str, acts: impl IntoIterator<Item = impl Into<Act>>) {
        self.book().acts.insert(model.to_owned(), acts.into_iter().map(Into::into).collect());
    }

    pub(crate) fn ready(&self, provider: &str, readiness: Readiness) {
        self.book().readiness.insert(provider.to_owned(), readiness);
    }

    pub(crate) fn client(&self, provider: &str) -> Client {
        Client { script: self.clone(), provider: provider.to_owned(), ready: false, wait: None }
    }

    /// A client for each provider.
    pub(crate) fn clients(&self) -> impl Fn(&Provider) -> Client + Send + Sync + use<> {
        let script = self.clone();
        move |provider| script.client(provider.name())
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.book().calls.clone()
    }

    /// Nothing has been called so far.
    pub(crate) fn forget(&self) {
        self.book().calls.clear();
    }

    /// The models that were called, in order.
    pub(crate) fn called(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.model).collect()
    }

    pub(crate) fn calls_of(&self, model: &str) -> usize {
        self.called().iter().filter(|name| *name == model).count()
    }

    /// Calls whose future has not been dropped.
    pub(crate) fn under_way(&self) -> usize {
        self.book().under_way.len()
    }

    /// How often a provider's clients were asked whether they are ready.
    pub(crate) fn readied(&self, provider: &str) -> usize {
        self.book().readied.get(provider).copied().unwrap_or(0)
    }

    /// Calls on an instance that had not said that it is ready.
    pub(crate) fn unready_calls(&self) -> usize {
        self.book().unready_calls
    }
}

/// What a request must tell the script.
pub(crate) trait Numbered {
    fn number(&self) -> u32;
}

/// A client. A clone starts unready.
#[derive(Debug)]
pub(crate) struct Client {
    script: Script,
    provider: String,
    ready: bool,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Clone for Client {
    fn clone(&self) -> Self {
        self.script.client(&self.provider)
    }
}

impl<R: Numbered + Send + 'static> Service<Attempt<R>> for Client {
    type Response = u16;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<u16, Fault>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let readiness = {
            let mut book = self.script.book();
            *book.readied.entry(self.provider.clone()).or_default() += 1;
            book.readiness.get(&self.provider).copied().unwrap_or(Readiness::Now)
        };
        match readiness {
            Readiness::Now => {}
            Readiness::After(wait) => ready!(self.wait.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx)),
            Readiness::Never => return Poll::Pending,
            Readiness::Fails => return Poll::Ready(Err(Fault::Unready)),
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt<R>) -> Self::Future {
        let (request, model) = (attempt.get_ref().number(), attempt.model().name().to_owned());
        let ready = std::mem::take(&mut self.ready);
        let act = {
            let mut book = self.script.book();
            book.unready_calls += usize::from(!ready);
            let beside = book.under_way.iter().filter(|other| other.0 == request).count();
            let among = book.under_way.iter().map(|other| other.1.clone()).collect();
            book.calls.push(Call { request, model: model.clone(), beside, among });
            let acts = book.acts.entry(model.clone()).or_insert_with(|| VecDeque::from([Act::from(200)]));
            if acts.len() > 1 { acts.pop_front() } else { acts.front().copied() }
        };
        let act = act.expect("a script has an act");
        if matches!(act, Act::PanicInCall) {
            scripted_panic();
        }
        let under_way = UnderWay::new(self.script.clone(), request, model);
        Box::pin(async move {
            let _under_way = under_way;
            match act {
                Act::Answer(status, wait) => pause(wait).await.map(|()| status),
                Act::Fail(fault, wait) => pause(wait).await.and(Err(fault)),
                Act::Hang => std::future::pending().await,
                Act::PanicInCall | Act::PanicInPoll => scripted_panic(),
            }
        })
    }
}

/// A panic that prints nothing.
pub(crate) fn scripted_panic() -> ! {
    resume_unwind(Box::new("as the script says"))
}

async fn pause(wait: Duration) -> Result<(), Fault> {
    if !wait.is_zero() {
        sleep(wait).await;
    }
    Ok(())
}

/// A call under way, until its future is dropped.
struct UnderWay(Script, (u32, String));

impl UnderWay {
    fn new(script: Script, request: u32, model: String) -> Self {
        script.book().under_way.push((request, model.clone()));
        Self(script, (request, model))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut book = self.0.book();
        let place = book.under_way.iter().position(|call| *call == self.1);
        place.map(|place| book.under_way.swap_remove(place));
    }
}
