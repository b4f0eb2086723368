//! Ports for servers. A port is reserved among all testbeds of the machine until it is dropped.
//!
//! A port from the kernel (bind to 0, close) may be assigned to an outgoing connection of any process, for example while a
//! server is stopped for a restart. Therefore ports come from below the usual range of outgoing connections, and a locked
//! file reserves each; the kernel releases the lock when the process ends. If another program takes a reserved port before
//! its server listens, the start is retried: see [`again_if_taken`].

use std::env;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, bail};

/// The range of ports, below Linux's first port for outgoing connections, 32768.
const RANGE: Range<u16> = 20_000..32_000;
/// The number of random ports to try.
const TRIES: usize = 200;
/// The maximum number of starts of a server.
const STARTS: usize = 5;

/// A port of 127.0.0.1 that no other testbed uses until this is dropped. Nothing listens on it yet.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Finds and reserves a free port.
    ///
    /// # Errors
    /// If no port is free, or the temporary directory cannot be written.
    pub fn reserve() -> Result<Self> {
        let locks = env::temp_dir().join("infra-operators-testbed-ports");
        fs::create_dir_all(&locks).with_context(|| format!("cannot create {}", locks.display()))?;
        for _ in 0..TRIES {
            // The only source of randomness in std; it is sufficient for a port.
            let random = RandomState::new().build_hasher().finish() % u64::from(RANGE.end - RANGE.start);
            let number = RANGE.start + u16::try_from(random)?;
            let lock = File::create(locks.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("found no free port of 127.0.0.1 in {RANGE:?} within {TRIES} tries")
    }

    /// Returns the port number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Runs `start`, which reserves ports and starts a server. Runs it again if another program has taken a port between
/// reservation and start.
pub(crate) async fn again_if_taken<T>(mut start: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut starts = 0;
    loop {
        starts += 1;
        match start().await {
            // Go's message, in the server's log.
            Err(error) if starts < STARTS && format!("{error:#}").contains("address already in use") => {
                eprintln!("testbed: another program has taken a port; starting the server with other ports");
            }
            result => return result,
        }
    }
}
