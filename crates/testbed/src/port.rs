//! Ports for the servers, each held by one testbed of this machine for as long as it lives.
//!
//! A port that the kernel gives out (bind to 0, close) is soon given to somebody else's outgoing connection,
//! which hurts most while a server is stopped to be started again. So ports come from below the usual range
//! of outgoing connections, and a locked file keeps other testbeds off; the kernel unlocks it when we end.
//! Whoever else takes one before its server does costs another start, see [`again_if_taken`].

use std::env;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, bail};

/// Below Linux's first port for outgoing connections, 32768.
const RANGE: Range<u16> = 20_000..32_000;
const TRIES: usize = 200;
/// How often a server is started.
const STARTS: usize = 5;

/// A port of 127.0.0.1 that no other testbed uses while this lives. Nothing listens on it: that is for the
/// server it is handed to.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Finds a free port and keeps it.
    ///
    /// # Errors
    /// If none is found, or the temporary directory cannot be written.
    pub fn reserve() -> Result<Self> {
        let locks = env::temp_dir().join("infra-operators-testbed-ports");
        fs::create_dir_all(&locks).with_context(|| format!("cannot create {}", locks.display()))?;
        for _ in 0..TRIES {
            // std's only source of randomness; a port needs no better.
            let random = RandomState::new().build_hasher().finish() % u64::from(RANGE.end - RANGE.start);
            let number = RANGE.start + u16::try_from(random)?;
            let lock = File::create(locks.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("found no free port of 127.0.0.1 in {RANGE:?} within {TRIES} tries")
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Starts a server, and does so again, with other ports, where somebody else took one after it was reserved and
/// before the server listened.
pub(crate) async fn again_if_taken<T>(mut start: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut starts = 0;
    loop {
        starts += 1;
        match start().await {
            // As Go has it, in the server's log.
            Err(error) if starts < STARTS && format!("{error:#}").contains("address already in use") => {
                eprintln!("testbed: a port was taken, starting again");
            }
            result => return result,
        }
    }
}
