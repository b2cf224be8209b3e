//! A provider on loopback that does what it is told, and remembers what it was asked.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// What a provider does with a request.
#[derive(Clone)]
pub enum Mode {
    /// Answers with the model's name.
    Well,
    /// Answers so.
    Says(fn() -> Response<Body>),
    /// Begins a stream and breaks off before its first event.
    Dies,
    /// Streams what is sent here.
    Streams(Arc<Mutex<Option<mpsc::Receiver<&'static str>>>>),
}

pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn model(&self) -> Value {
        serde_json::from_slice::<Value>(&self.body).expect("JSON")["model"].clone()
    }
}

pub struct Upstream {
    pub base: String,
    mode: Arc<Mutex<Mode>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}/base", listener.local_addr().expect("an address"));
        let (mode, seen) = (Arc::new(Mutex::new(mode)), Arc::new(Mutex::new(Vec::new())));
        let task = tokio::spawn(accept(listener, Arc::clone(&mode), Arc::clone(&seen)));
        Self { base, mode, seen, task }
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().expect("no panic") = mode;
    }

    pub fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("no panic")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, mode: Arc<Mutex<Mode>>, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (mode, seen) = (Arc::clone(&mode), Arc::clone(&seen));
        let service = service_fn(move |request: Request<Incoming>| {
            let (mode, seen) = (mode.lock().expect("no panic").clone(), Arc::clone(&seen));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("a whole body").to_bytes();
                let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
                let asked = Seen { method, uri, headers: parts.headers, body };
                let response = answer(mode, &asked);
                seen.lock().expect("no panic").push(asked);
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn answer(mode: Mode, asked: &Seen) -> Response<Body> {
    let events = |body| Response::builder().header("content-type", "text/event-stream").body(body).expect("a response");
    match mode {
        Mode::Well => {
            let model = serde_json::from_slice::<Value>(&asked.body).map_or(Value::Null, |body| body["model"].clone());
            says(200, json!({ "model": model }).to_string())
        }
        Mode::Says(says) => says(),
        Mode::Dies => events(Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::other("dead"))]))),
        Mode::Streams(tokens) => {
            let tokens = tokens.lock().expect("no panic").take().expect("one request");
            let next = |mut tokens: mpsc::Receiver<_>| async {
                let token = tokens.recv().await?;
                Some((Ok::<_, Infallible>(Bytes::from_static(str::as_bytes(token))), tokens))
            };
            events(Body::from_stream(stream::unfold(tokens, next)))
        }
    }
}

pub fn says(status: u16, body: impl Into<Body>) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(body.into()).expect("a response")
}

/// A mode and what sends its events.
pub fn stream() -> (Mode, mpsc::Sender<&'static str>) {
    let (send, receive) = mpsc::channel(1);
    (Mode::Streams(Arc::new(Mutex::new(Some(receive)))), send)
}
