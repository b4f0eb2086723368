//! A TCP proxy in front of a simulator, which cannot read what it forwards and can fail in several ways.

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
    /// Forwards everything.
    Kind,
    /// Accepts connections and sends nothing until the manner changes: then it closes them.
    Silent,
    /// Forwards what the client sends, and what the server sends until TLS is established: the server receives and
    /// does everything, and the client receives no answer for as long as this lasts.
    Holding,
    /// Forwards this many bytes of the server, counted from the change of manner, and not one more.
    Breaking(usize),
    /// Closes a connection this long after the server sent something on it, unless it is used again before; with no
    /// time at all, it is closed in any case.
    Impatient(Duration),
}

pub(crate) struct Front {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    accepted: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Front {
    /// Starts a proxy in front of `https://host:port`.
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
                // A test that waits for the count may change the manner at once.
                let silent = *asked.borrow() == Manner::Silent;
                counter.fetch_add(1, Ordering::SeqCst);
                let (target, asked) = (target.clone(), asked.clone());
                // How a connection ends does not matter.
                connections
                    .spawn(async move { pass(near, &target, asked, silent).await.unwrap_or_default() });
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

    /// Returns the number of connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// How often the server sends in a handshake: the certificate, and later tickets.
const HANDSHAKE: u32 = 2;

/// Returns whether a client that sends this has its keys: a record of application data, as which TLS 1.3 disguises
/// everything from the end of the handshake on, after the change of cipher that middleboxes expect.
fn has_keys(said: &[u8]) -> bool {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    const APPLICATION_DATA: u8 = 23;
    match said {
        [APPLICATION_DATA, ..] => true,
        [CHANGE_CIPHER_SPEC, _, _, _, _, _, next, ..] => *next == APPLICATION_DATA,
        _ => false,
    }
}

async fn pass(
    mut near: TcpStream,
    target: &str,
    mut manner: watch::Receiver<Manner>,
    silent: bool,
) -> Result<()> {
    if silent {
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            copied = tokio::io::copy(&mut near, &mut nowhere) => drop(copied?),
            other = manner.wait_for(|manner| *manner != Manner::Silent) => drop(other?),
        }
        return Ok(());
    }
    let mut far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut from_client, mut from_server) = (vec![0; 16384], vec![0; 16384]);
    let (mut patience, mut turns, mut asked, mut secured, mut passed) = (None, 0, true, false, 0);
    loop {
        let ends = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        let held = secured && *manner.borrow() == Manner::Holding;
        tokio::select! {
            read = near.read(&mut from_client) => {
                let read = read?;
                if read == 0 { return Ok(()); }
                patience = None;
                asked = true;
                secured |= has_keys(&from_client[..read]);
                far.write_all(&from_client[..read]).await?;
            }
            changed = manner.changed(), if held => changed?,
            read = far.read(&mut from_server), if !held => {
                let read = read?;
                if read == 0 { return Ok(()); }
                turns += u32::from(std::mem::take(&mut asked));
                let manner = *manner.borrow();
                let most = match manner {
                    Manner::Breaking(most) => read.min(most.saturating_sub(passed)),
                    _ => read,
                };
                passed = if matches!(manner, Manner::Breaking(_)) { passed + most } else { 0 };
                near.write_all(&from_server[..most]).await?;
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
