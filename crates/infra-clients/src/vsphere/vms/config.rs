//! The settings of a watch over virtual machines. Reads no environment and no files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Failure;
use crate::vsphere::{Error, MoRef};

/// A VM that was made under the root folder and is recorded somewhere.
#[derive(Clone, Debug)]
pub struct RecordedVm {
    /// Its reference.
    pub moref: MoRef,
    /// The instanceUuid of its vCenter, where that is recorded: in another one the reference names something else.
    pub vcenter: Option<String>,
    /// Key and value of the `extraConfig` entry that tells the VM from one of others.
    pub marker: (&'static str, String),
}

/// Returns the VMs that were made under the root folder and are recorded somewhere.
#[derive(Clone)]
pub struct Recorded(Arc<dyn Fn() -> BoxFuture<'static, Record> + Send + Sync>);

/// The VMs of a record, or why it cannot be read and what to do.
type Record = Result<Vec<RecordedVm>, String>;

impl Recorded {
    /// Creates one that calls a function, which may wait until the record can be read, and says in an error why it cannot be read and
    /// what to do.
    pub fn new<F: Future<Output = Result<Vec<RecordedVm>, String>> + Send + 'static>(
        list: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move || list().boxed()))
    }

    pub(super) async fn list(&self) -> Record {
        (self.0)().await
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

/// Settings of [`Vms`](super::Vms).
#[derive(Debug, Clone)]
pub struct Config {
    /// Name or inventory path of the datacenter; not needed when there is one.
    pub datacenter: Option<String>,
    /// Resource pool for new VMs: a cluster's name (its root pool), a pool's name, or `cluster/Resources/pool`; not
    /// needed when there is one cluster.
    pub resource_pool: Option<String>,
    /// The folder that holds everything this client watches and creates: a path below `<datacenter>/vm`, such as `a`
    /// or `a/b`, with `/` in a name written `%2f`. Every level is created when missing.
    pub root_folder: String,
    /// The VMs that are recorded. While one of them exists and has its marker, the vCenter cannot tell, or the record cannot be read, a
    /// root folder that is missing is not created: it may have been renamed or moved. Default: none.
    pub recorded: Option<Recorded>,
    /// Only `extraConfig` keys that begin so are kept in the inventory.
    pub marker_prefix: String,
    /// Longest wait of one poll for a change, rounded up to seconds. Default: 25 s. At rest there is one poll in this
    /// time.
    pub poll_wait: Duration,
    /// How much later than `poll_wait` the answer to a poll may come. Default: 20 s. A vCenter that stops answering
    /// is found within the sum of both.
    pub poll_grace: Duration,
    /// Polls that may follow each other without `poll_interval` between them, after a quiet time. Default: 10.
    pub poll_burst: u32,
    /// Time that adds one poll to the allowance, up to `poll_burst`. Default: a third of a second. In any time `t` there
    /// are at most `poll_burst + t / poll_interval` polls: with the defaults 40 in any 10 seconds. The pages of one
    /// answer count as one poll.
    pub poll_interval: Duration,
    /// Time between two complete reports that are compared with the inventory, because a vCenter may lose an update.
    /// Default: 10 minutes.
    pub audit: Duration,
    /// Returns what a person can do about an error, for the log. Default: [`Failure::remedy`]. A program knows the names of
    /// its settings, which this client does not.
    pub remedy: fn(&Error) -> String,
}

impl Config {
    /// Creates settings with every default.
    #[must_use]
    pub fn new(root_folder: impl Into<String>) -> Self {
        Self {
            datacenter: None,
            resource_pool: None,
            root_folder: root_folder.into(),
            recorded: None,
            marker_prefix: String::new(),
            poll_wait: Duration::from_secs(25),
            poll_grace: Duration::from_secs(20),
            poll_burst: 10,
            poll_interval: Duration::from_secs(1) / 3,
            audit: Duration::from_mins(10),
            remedy: |error| error.remedy().to_owned(),
        }
    }
}
