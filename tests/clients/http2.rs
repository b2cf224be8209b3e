//! The server's side of HTTP/2, by hand: as much of RFC 9113 as it takes to commit a fault.

use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What the server sends, on the request's stream or about it. After the last the connection stays open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Frame {
    /// HEADERS: this status, of those that HPACK knows by a number, over server-sent events.
    Head(Status),
    /// DATA.
    Data(&'static str),
    /// The end of the stream.
    End,
    /// RST_STREAM.
    Reset(Code),
    /// GOAWAY, with the last stream that has been processed.
    GoAway(u32, Code),
    /// No frame: the connection is closed.
    Close,
}

/// Its place in HPACK's static table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Status {
    Ok = 8,
    Bad = 14,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Code {
    NoError = 0,
    Internal = 2,
    RefusedStream = 7,
    EnhanceYourCalm = 11,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Plays these frames to every request. `asked` is told the body of each, once it is whole.
pub(crate) async fn serve(mut tcp: TcpStream, frames: &[Frame], mut asked: impl FnMut(Vec<u8>)) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    tcp.read_exact(&mut preface).await?;
    assert_eq!(preface, PREFACE, "no HTTP/2");
    send(&mut tcp, SETTINGS, 0, 0, &[]).await?;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await?;
        let [l0, l1, l2, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        tcp.read_exact(&mut payload).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => send(&mut tcp, SETTINGS, ACK, 0, &[]).await?,
            DATA => body.extend(payload),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            asked(std::mem::take(&mut body));
            for frame in frames {
                frame.play(&mut tcp, u32::from_be_bytes(id)).await?;
            }
        }
    }
}

impl Frame {
    async fn play(self, tcp: &mut TcpStream, stream: u32) -> io::Result<()> {
        match self {
            Self::Head(status) => send(tcp, HEADERS, END_HEADERS, stream, &head(status)).await,
            Self::Data(data) => send(tcp, DATA, 0, stream, data.as_bytes()).await,
            Self::End => send(tcp, DATA, END_STREAM, stream, &[]).await,
            Self::Reset(code) => send(tcp, RST_STREAM, 0, stream, &(code as u32).to_be_bytes()).await,
            Self::GoAway(last, code) => {
                let payload = [last.to_be_bytes(), (code as u32).to_be_bytes()].concat();
                send(tcp, GOAWAY, 0, 0, &payload).await
            }
            Self::Close => {
                tcp.shutdown().await?;
                // What is unread at the end would make a reset of the close.
                while tcp.read(&mut [0; 64]).await? > 0 {}
                Ok(())
            }
        }
    }
}

/// The status indexed; the rest literal, without indexing, by a new name.
fn head(status: Status) -> Vec<u8> {
    let mut block = vec![0x80 | status as u8, 0];
    for text in ["content-type", "text/event-stream"] {
        block.push(text.len() as u8);
        block.extend(text.as_bytes());
    }
    block
}

async fn send(tcp: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    tcp.write_all(&frame).await
}
