//! A raw server on loopback that takes an upload as it comes, and can be watched while it does.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Does {
    /// Answers with this status line when it has the whole.
    Answer(&'static str),
    /// Answers with this status line when it has so many bytes of the body, and reads on.
    AnswerEarly(usize, &'static str),
    /// Resets the connection when it has so many bytes of the body.
    Reset(usize),
}

/// A request, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
    pub(crate) whole: bool,
}

/// A server on a port of its own, and the requests that reached it.
pub(crate) struct Server {
    at: SocketAddr,
    received: watch::Receiver<Vec<Received>>,
}

const LONG: Duration = Duration::from_secs(20);

impl Server {
    pub(crate) async fn start(does: Does) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let (sender, received) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, does, sender.clone()));
            }
        });
        Self { at, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.at)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until so many bytes of one body are there.
    pub(crate) async fn has(&self, bytes: usize) {
        let mut received = self.received.clone();
        let has = |all: &Vec<Received>| all.iter().any(|one| one.body.len() >= bytes);
        timeout(LONG, received.wait_for(has)).await.expect("in time").expect("it runs");
    }
}

async fn serve(mut stream: TcpStream, does: Does, received: Arc<watch::Sender<Vec<Received>>>) -> io::Result<()> {
    let mut raw = Vec::new();
    let mut index = None;
    let mut answered = false;
    loop {
        if stream.read_buf(&mut raw).await? == 0 {
            return Ok(());
        }
        let Some(request) = read(&raw) else { continue };
        let (length, whole) = (request.body.len(), request.whole);
        received.send_modify(|all| {
            let index = *index.get_or_insert(all.len());
            all.resize_with(all.len().max(index + 1), Received::default);
            all[index] = request;
        });
        let answer = match does {
            Does::Answer(status) if whole => Some(status),
            Does::AnswerEarly(bytes, status) if length >= bytes => Some(status),
            Does::Reset(bytes) if length >= bytes => return stream.set_zero_linger(),
            _ => None,
        };
        if let (Some(status), false) = (answer, answered) {
            answered = true;
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nhello").as_bytes()).await?;
        }
    }
}

/// Head and body so far, chunked or not; `None` before the end of the head.
fn read(raw: &[u8]) -> Option<Received> {
    let end = find(raw, b"\r\n\r\n")? + 4;
    let head = String::from_utf8(raw[..end].to_vec()).expect("text").to_ascii_lowercase();
    let mut request = Received { head, ..Received::default() };
    let mut rest = &raw[end..];
    let length = request.head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    if !request.head.contains("transfer-encoding: chunked") {
        request.body = rest.to_vec();
        request.whole = rest.len() >= length.unwrap_or(0);
        return Some(request);
    }
    while let Some(line) = find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("the size of a chunk");
        rest = &rest[line + 2..];
        if size == 0 {
            request.whole = rest == b"\r\n" || find(rest, b"\r\n\r\n").is_some();
            request.trailers = String::from_utf8(rest.to_vec()).expect("text");
            break;
        }
        request.body.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(after) = rest.get(size + 2..) else { break };
        rest = after;
    }
    Some(request)
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}
