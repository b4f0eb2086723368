//! A TCP proxy before a simulator, which sees nothing of what it passes on and can be unkind with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    /// Passes everything on.
    Kind,
    /// Takes connections and says nothing.
    Silent,
    /// Passes on what the server says byte by byte, with so long a pause after each.
    ByteByByte(Duration),
    /// Closes a connection so long after the server said something on it, unless it is used again before; with no time
    /// at all, it is closed for certain.
    Impatient(Duration),
}

pub(crate) struct Front {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    accepted: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Front {
    /// Before `https://host:port`.
    pub(crate) async fn of(url: &str) -> Result<Self> {
        let target = url.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (manner, asked) = watch::channel(Manner::Kind);
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (target, asked) = (target.clone(), asked.clone());
                // How a connection ends is nobody's business.
                connections.spawn(async move { pass(near, &target, asked).await.unwrap_or_default() });
            }
        });
        Ok(Self { address, manner, accepted, _serving: serving })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn be(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// How often the server speaks in a handshake: the certificate, and tickets for later.
const HANDSHAKE: u32 = 2;

async fn pass(mut near: TcpStream, target: &str, manner: watch::Receiver<Manner>) -> Result<()> {
    if *manner.borrow() == Manner::Silent {
        // Until the client goes.
        tokio::io::copy(&mut near, &mut tokio::io::sink()).await?;
        return Ok(());
    }
    let mut far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut from_client, mut from_server) = (vec![0; 16384], vec![0; 16384]);
    let (mut patience, mut turns, mut asked) = (None, 0, true);
    loop {
        let ends = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = near.read(&mut from_client) => {
                let read = read?;
                if read == 0 { return Ok(()); }
                patience = None;
                asked = true;
                far.write_all(&from_client[..read]).await?;
            }
            read = far.read(&mut from_server) => {
                let read = read?;
                if read == 0 { return Ok(()); }
                let manner = *manner.borrow();
                turns += u32::from(std::mem::take(&mut asked));
                match manner {
                    Manner::ByteByByte(pause) => for byte in &from_server[..read] {
                        near.write_all(&[*byte]).await?;
                        tokio::time::sleep(pause).await;
                    },
                    _ => near.write_all(&from_server[..read]).await?,
                }
                if let Manner::Impatient(after) = manner
                    && turns > HANDSHAKE
                {
                    if after.is_zero() {
                        return Ok(());
                    }
                    patience = Some(after);
                }
            }
            () = ends => return Ok(()),
        }
    }
}
