//! The upstreams: they are well, out of order, or do what dead hosts do.

use bytes::Bytes;
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    time::Instant,
};

/// What the healthy ones answer: who they are.
pub(crate) const PRIMARY: &str = "the primary";
pub(crate) const FALLBACK: &str = "the fallback";

/// What the unhurried one takes.
pub(crate) const TAKES: Duration = Duration::from_millis(5);

#[derive(Clone, Copy)]
enum Does {
    Answer(StatusCode, &'static str),
    /// After so long.
    AnswerAfter(Duration, &'static str),
    Hang,
}

/// Base URLs. What is behind them ends with the process.
pub(crate) struct Servers {
    pub(crate) primary: Uri,
    /// As well as the primary, and [takes](TAKES) as long as an upstream may that is quick.
    pub(crate) unhurried: Uri,
    pub(crate) fallback: Uri,
    /// Answers 503.
    pub(crate) busy: Uri,
    /// Accepts, reads, and never answers.
    pub(crate) hanging: Uri,
    /// Nobody listens here, and the port is nobody else's.
    pub(crate) refusing: Uri,
    _reserved: TcpSocket,
}

impl Servers {
    /// On the thread and the runtime that this is called on, or on a thread and a runtime of their own.
    pub(crate) fn start(apart: bool) -> Self {
        let does = [
            Does::Answer(StatusCode::OK, PRIMARY),
            Does::AnswerAfter(TAKES, PRIMARY),
            Does::Answer(StatusCode::OK, FALLBACK),
            Does::Answer(StatusCode::SERVICE_UNAVAILABLE, "out of order"),
            Does::Hang,
        ];
        let listeners = does.map(|does| {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            listener.set_nonblocking(true).expect("a socket can be");
            (does, listener)
        });
        let [primary, unhurried, fallback, busy, hanging] =
            listeners.each_ref().map(|(_, listener)| base(listener.local_addr().expect("bound")));
        let reserved = TcpSocket::new_v4().expect("a socket");
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let refusing = base(reserved.local_addr().expect("bound"));
        let listen_all = move || {
            for (does, listener) in listeners {
                tokio::spawn(listen(TcpListener::from_std(listener).expect("nonblocking"), does));
            }
        };
        if apart {
            std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    listen_all();
                    std::future::pending::<()>().await;
                });
            });
        } else {
            listen_all();
        }
        Self { primary, unhurried, fallback, busy, hanging, refusing, _reserved: reserved }
    }
}

fn base(address: SocketAddr) -> Uri {
    format!("http://{address}/v1").parse().expect("a URI")
}

async fn listen(listener: TcpListener, does: Does) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket can be");
        match does {
            Does::Answer(status, body) => _ = tokio::spawn(answer(stream, status, Duration::ZERO, body)),
            Does::AnswerAfter(takes, body) => _ = tokio::spawn(answer(stream, StatusCode::OK, takes, body)),
            Does::Hang => _ = tokio::spawn(hang(stream)),
        }
    }
}

/// Until the client closes the connection.
async fn answer(stream: TcpStream, status: StatusCode, takes: Duration, body: &'static str) {
    let service = service_fn(move |request: http::Request<Incoming>| async move {
        request.into_body().collect().await?;
        // A timer would hide what a layer adds: it fires at the next millisecond.
        let asked = Instant::now();
        while asked.elapsed() < takes {
            std::hint::spin_loop();
        }
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        *response.status_mut() = status;
        Ok::<_, hyper::Error>(response)
    });
    // An error is the client going away, which it may do.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn hang(mut stream: TcpStream) {
    let mut read = [0; 1024];
    while matches!(stream.read(&mut read).await, Ok(1..)) {}
}
