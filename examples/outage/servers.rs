//! Real HTTP servers on loopback which break on schedule: one host for each provider.
//! They are what both clients are measured against, so they keep a log of every request that
//! they have read; the clients' own counts are checked against it.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::schedule::{self, MODELS, Mode, PROVIDERS};

/// How long a healthy model takes.
const ANSWER_AFTER: Duration = Duration::from_millis(50);
const BACKLOG: u32 = 1024;

/// What a server did with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Answered,
    Failed,
    Ignored,
}

/// One request that a server has read to its end.
#[derive(Clone, Copy)]
pub struct Seen {
    /// Since the start of the run.
    pub at: Duration,
    pub model: usize,
    pub done: Done,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// The hosts that one client talks to.
pub struct Servers {
    /// The base URL of each provider.
    pub bases: [String; PROVIDERS.len()],
    log: Log,
    tasks: JoinSet<io::Result<()>>,
}

impl Servers {
    /// Brings all hosts up; they listen when this returns, and follow the schedule from `start`.
    pub fn start(start: Instant) -> io::Result<Self> {
        let log = Log::default();
        let mut tasks = JoinSet::new();
        let mut bases = [const { String::new() }; PROVIDERS.len()];
        for (provider, base) in bases.iter_mut().enumerate() {
            let (host, listener) = Host::bind(provider, start, Arc::clone(&log))?;
            *base = format!("http://{}", host.address);
            tasks.spawn(host.run(listener));
        }
        Ok(Self { bases, log, tasks })
    }

    /// Stops them and gives out what they have read, in order. A host that broke down for a
    /// reason that was not in the schedule is an error: the run is worth nothing then.
    pub async fn stop(mut self) -> io::Result<Vec<Seen>> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(io::Error::other)??;
        }
        self.tasks.shutdown().await;
        let mut seen = std::mem::take(&mut *lock(&self.log));
        seen.sort_by_key(|seen| seen.at);
        Ok(seen)
    }
}

struct Host {
    provider: usize,
    address: SocketAddr,
    start: Instant,
    log: Log,
    /// Bound and never listening. While the listener is closed, this makes the kernel refuse
    /// connections to the port, and keeps everybody else from getting it.
    _reserved: TcpSocket,
}

impl Host {
    fn bind(provider: usize, start: Instant, log: Log) -> io::Result<(Self, TcpListener)> {
        let reserved = bound(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = reserved.local_addr()?;
        let host = Self { provider, address, start, log, _reserved: reserved };
        Ok((host, bound(address)?.listen(BACKLOG)?))
    }

    /// Goes through the phases; the last one lasts until the task is dropped.
    async fn run(self, listener: TcpListener) -> io::Result<()> {
        let mut listener = Some(listener);
        let mut connections = JoinSet::new();
        let mut before = Mode::Answers;
        for (from, _, phase) in schedule::phases() {
            let mode = schedule::mode(self.provider, phase);
            let change = self.start + from;
            if mode == before {
                continue;
            }
            self.serve_until(change, listener.as_ref(), before, &mut connections).await;
            // Order matters: without the listener first, a client could connect again and be
            // served for a moment by a host that is said to be down.
            if mode == Mode::Refuses {
                listener = None;
            }
            connections.shutdown().await;
            if mode != Mode::Refuses && listener.is_none() {
                listener = Some(bound(self.address)?.listen(BACKLOG)?);
            }
            before = mode;
        }
        let never = self.start + schedule::length() * 10;
        self.serve_until(never, listener.as_ref(), before, &mut connections).await;
        Ok(())
    }

    async fn serve_until(
        &self,
        end: Instant,
        listener: Option<&TcpListener>,
        mode: Mode,
        connections: &mut JoinSet<()>,
    ) {
        let Some(listener) = listener else {
            return sleep_until(end).await;
        };
        let end = sleep_until(end);
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => return,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(self.connection(stream, mode));
                    }
                    // Out of file descriptors, most likely: give others time to close some.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                },
            }
        }
    }

    /// Serves one connection until its client closes it. Dropping this cuts the connection.
    fn connection(&self, stream: TcpStream, mode: Mode) -> impl Future<Output = ()> + Send + 'static {
        let (log, start, address) = (Arc::clone(&self.log), self.start, self.address);
        let service = service_fn(move |request| {
            let log = Arc::clone(&log);
            async move {
                let model = requested_model(request).await;
                let response = match model {
                    Some(model) => respond(model, mode, address, &log, start).await,
                    None => reply(StatusCode::BAD_REQUEST, &json!({"error": "which model?"})),
                };
                Ok::<_, Infallible>(response)
            }
        });
        async move {
            let _ = stream.set_nodelay(true);
            // An error here is the client going away, which it may do.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    }
}

async fn requested_model(request: Request<Incoming>) -> Option<usize> {
    let body = request.into_body().collect().await.ok()?.to_bytes();
    let body: Value = serde_json::from_slice(&body).ok()?;
    let name = body.get("model")?.as_str()?;
    MODELS.iter().position(|model| model.name == name)
}

async fn respond(model: usize, mode: Mode, address: SocketAddr, log: &Log, start: Instant) -> Response<Full<Bytes>> {
    let done = match mode {
        Mode::Hangs | Mode::Refuses => Done::Ignored,
        Mode::Fails { model: failing } if failing == model => Done::Failed,
        Mode::Fails { .. } | Mode::Answers => Done::Answered,
    };
    let number = {
        let mut log = lock(log);
        log.push(Seen { at: Instant::now().saturating_duration_since(start), model, done });
        log.len()
    };
    match done {
        Done::Ignored => pending().await,
        Done::Failed => {
            let error = json!({"error": "the model is overloaded"});
            reply(StatusCode::SERVICE_UNAVAILABLE, &error)
        }
        Done::Answered => {
            sleep(ANSWER_AFTER).await;
            let url = format!("http://{address}/{number}.png");
            let picture = json!({"model": MODELS[model].name, "url": url});
            reply(StatusCode::OK, &picture)
        }
    }
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// A socket on `address` that shares it with the other sockets of this process.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn lock(log: &Log) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
