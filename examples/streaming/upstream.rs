//! A provider on loopback that streams tokens, one by one.

use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Starts a provider and gives its base URL. One without tokens dies before the first.
pub async fn start(tokens: &'static [&'static str]) -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, tokens));
        }
    });
    Ok(format!("http://{address}/v1"))
}

async fn answer(mut stream: TcpStream, tokens: &[&str]) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for token in tokens {
        let event = format!("data: {token}\n\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        sleep(Duration::from_millis(50)).await;
    }
    if tokens.is_empty() { Ok(()) } else { stream.write_all(b"0\r\n\r\n").await }
}
