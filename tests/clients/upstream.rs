//! A raw server on loopback that plays a script to each request, and knows which connections are open.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::{sleep, timeout},
};

/// What anything that has to happen may take at the most.
pub(crate) const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// These bytes.
    Say(&'static str),
    /// Nothing for so long.
    Wait(Duration),
    /// Nothing until the client closes.
    Hang,
    /// Nothing until the test says so.
    Told,
    /// The connection is reset.
    Reset,
}

/// At the end of its script the connection is closed.
pub(crate) type Script = &'static [Step];

pub(crate) async fn play(script: Script, stream: &mut TcpStream, told: &Notify) -> io::Result<()> {
    for step in script {
        match step {
            Step::Say(bytes) => stream.write_all(bytes.as_bytes()).await?,
            Step::Wait(time) => sleep(*time).await,
            Step::Hang => while stream.read(&mut [0; 64]).await? > 0 {},
            Step::Told => told.notified().await,
            Step::Reset => stream.set_zero_linger()?,
        }
    }
    Ok(())
}

#[derive(Clone)]
pub(crate) struct Upstream {
    at: SocketAddr,
    script: Script,
    told: Arc<Notify>,
    requests: Arc<AtomicUsize>,
    open: Arc<watch::Sender<usize>>,
}

/// One connection.
struct Open(Arc<watch::Sender<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// What asks whether everything before it has been accepted.
const KNOCK: &[u8] = b"?";

impl Upstream {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let upstream = Self {
            at: listener.local_addr().expect("an address"),
            script,
            told: Arc::default(),
            requests: Arc::default(),
            open: Arc::default(),
        };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.open.send_modify(|open| *open += 1);
                let (upstream, open) = (serving.clone(), Open(serving.open.clone()));
                tokio::spawn(async move {
                    let _ = upstream.serve(stream).await;
                    drop(open);
                });
            }
        });
        upstream
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
            if request == KNOCK {
                return Ok(());
            }
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        play(self.script, &mut stream, &self.told).await
    }

    /// It goes on with its script.
    pub(crate) fn tell(&self) {
        self.told.notify_one();
    }

    /// The requests that reached it.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open, those included that have not been accepted yet.
    pub(crate) async fn idle(&self, at: &str) {
        let idle = async {
            let mut knock = TcpStream::connect(self.at).await?;
            knock.write_all(KNOCK).await?;
            knock.read_to_end(&mut Vec::new()).await?;
            self.open.subscribe().wait_for(|open| *open == 0).await.map_err(io::Error::other)?;
            io::Result::Ok(())
        };
        let open = || *self.open.borrow();
        timeout(SOON, idle)
            .await
            .unwrap_or_else(|_| panic!("{at}: {} connections are open", open()))
            .expect("loopback");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.at
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.at)
    }
}
