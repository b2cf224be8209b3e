//! A raw server on loopback that commits one fault, and counts what reached it.

use crate::{
    http2::{self, Frame},
    upstream::{Script, play},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Notify,
    time::sleep,
};
use tower_failover::{Credential, Model, Models, Provider};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Does {
    /// Nobody listens.
    Refuse,
    /// The connection is reset once the request is there.
    Reset,
    /// It is closed once the request is there.
    Close,
    /// It stays open, and nothing comes.
    Hang,
    /// What is no HTTP.
    Garbage,
    /// This status line, and further lines of a head, over the body `hello`.
    Answer(&'static str),
    /// Whatever a script says.
    Plays(Script),
    /// HTTP/2.
    Http2(&'static [Frame]),
}

pub(crate) const FINE: Does = Does::Answer("200 OK");

/// A server on a port of its own, and the requests that reached it.
#[derive(Clone)]
pub(crate) struct Server {
    at: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    told: Arc<Notify>,
    /// Bound, so that nobody else gets the port, but not listening.
    _refuses: Option<Arc<TcpSocket>>,
}

impl Server {
    pub(crate) async fn start(does: Does) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let at = socket.local_addr().expect("an address");
        let mut server = Self { at, requests: Arc::default(), told: Arc::default(), _refuses: None };
        if does == Does::Refuse {
            server._refuses = Some(Arc::new(socket));
            return server;
        }
        let listener = socket.listen(64).expect("a listener");
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.serve(stream, does).await });
            }
        });
        server
    }

    async fn serve(&self, mut stream: TcpStream, does: Does) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let asked = |request| self.requests.lock().unwrap().push(String::from_utf8(request).expect("text"));
        if let Does::Http2(frames) = does {
            return http2::serve(stream, frames, asked).await;
        }
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        asked(request);
        match does {
            Does::Refuse | Does::Http2(_) | Does::Close => Ok(()),
            Does::Plays(script) => play(script, &mut stream, &self.told).await,
            Does::Reset => stream.set_zero_linger(),
            Does::Hang => {
                sleep(Duration::from_secs(60)).await;
                Ok(())
            }
            Does::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await,
            Does::Answer(head) => {
                let head = format!("HTTP/1.1 {head}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
                stream.write_all(head.as_bytes()).await
            }
        }
    }

    /// It goes on with its script.
    pub(crate) fn tell(&self) {
        self.told.notify_one();
    }

    /// The requests that reached it, whole; of those over HTTP/2 the bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.at)
    }
}

/// The model `a` at provider `one`, then `b` at `two`.
pub(crate) fn models(one: &str, two: &str) -> Models {
    let built = Models::builder()
        .provider(Provider::new("one").base_url(one).credential(Credential::bearer("key-one")))
        .provider(Provider::new("two").base_url(two).credential(Credential::bearer("key-two")))
        .model(Model::new("a", "one"))
        .model(Model::new("b", "two"))
        .build();
    built.expect("models")
}
