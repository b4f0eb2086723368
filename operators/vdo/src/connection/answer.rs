//! What vCenters have answered, as long as this process lives.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_clients::vsphere::checks::{Checks, Datacenter};
use infra_clients::vsphere::{self, Config, Session};
use infra_clients::{SettingError, Trust as Checked};
use jiff::Timestamp;

use super::Login;
use crate::config::{Trust, Vcenter};
use crate::plan::Hold;
use crate::preflight::swapped;
use crate::version::{Vsphere, from_about};

/// How long a vCenter may take for one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a vCenter has answered to one account.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The [login](super::Login) that it is for.
    pub(crate) identity: String,
    /// When it was asked.
    pub(crate) at: Timestamp,
    /// Its version, as it says it.
    pub(crate) release: String,
    /// Its version, if that is one of vSphere.
    pub(crate) version: Option<Vsphere>,
    /// Datacenters that are named, and that the account does not see.
    pub(crate) missing: Vec<String>,
    /// UUIDs of the machines that the account sees in the datacenters that are named, in lower case.
    pub(crate) machines: HashSet<String>,
}

impl Answer {
    /// Returns whether a driver can use this account in all datacenters that are named.
    pub(crate) fn verifies(&self, login: &Login) -> bool {
        self.identity == login.identity && self.missing.is_empty()
    }

    /// Returns whether the account sees the machine with this UUID.
    pub(crate) fn sees(&self, uuid: &str) -> bool {
        let uuid = uuid.to_ascii_lowercase();
        self.machines.contains(&uuid) || swapped(&uuid).is_some_and(|other| self.machines.contains(&other))
    }
}

/// Asks a vCenter.
pub(crate) async fn ask(
    vcenter: &Vcenter,
    identity: String,
    at: Timestamp,
) -> Result<Answer, vsphere::Error> {
    let session = session(vcenter)?;
    let answered = answered(&Checks::new(session.clone()), vcenter, identity, at).await;
    // Else the vCenter keeps it until it idles out.
    let _ = tokio::time::timeout(PATIENCE, session.close()).await;
    answered
}

/// Creates a session, which logs in with its first call.
pub(crate) fn session(vcenter: &Vcenter) -> Result<Session, vsphere::Error> {
    let host = if vcenter.server.contains(':') {
        format!("[{}]:{}", vcenter.server, vcenter.port)
    } else {
        format!("{}:{}", vcenter.server, vcenter.port)
    };
    let config = Config {
        trust: trust(&vcenter.trust)?,
        agent: ("vdo", env!("CARGO_PKG_VERSION")),
        call_timeout: PATIENCE,
        ..Config::new(host, &*vcenter.account.username, vcenter.account.password.clone())
    };
    Session::start(config)
}

async fn answered(
    checks: &Checks,
    vcenter: &Vcenter,
    identity: String,
    at: Timestamp,
) -> Result<Answer, vsphere::Error> {
    let about = checks.about().await?;
    let all = checks.datacenters().await?;
    let is = |of: &Datacenter, name: &String| of.name == *name || of.path == name.trim_matches('/');
    let names = &vcenter.datacenters;
    let is_used = |of: &&Datacenter| names.is_empty() || names.iter().any(|name| is(of, name));
    let mut machines = HashSet::new();
    for datacenter in all.iter().filter(is_used) {
        let census = checks.census(datacenter).await?;
        machines.extend(census.into_iter().map(|brief| brief.uuid.to_ascii_lowercase()));
    }
    machines.remove("");
    let missing = names.iter().filter(|name| !all.iter().any(|of| is(of, name))).cloned().collect();
    let version = from_about(&about.version, Some(&about.api_version), Some(&about.build)).ok();
    Ok(Answer { identity, at, release: about.version, version, missing, machines })
}

fn trust(trust: &Trust) -> Result<Checked, SettingError> {
    Ok(match trust {
        Trust::Insecure => Checked::Insecure,
        Trust::Fingerprint(text) => Checked::Thumbprint(text.parse()?),
        Trust::Authority(pem) => Checked::ca_bundle(pem.as_bytes().to_vec())?,
        Trust::Image => Checked::System,
    })
}

/// The newest answers, by the UID of the connection.
#[derive(Default)]
pub(crate) struct Answers(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    answer: Option<Arc<Answer>>,
    is_stale: bool,
    refusal: Option<Refusal>,
}

/// A login that a vCenter has refused. It is not tried again soon: the vCenter would lock the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The [login](super::Login) that was refused.
    pub(crate) identity: String,
    pub(crate) at: Timestamp,
    pub(crate) hold: Hold,
}

impl Answers {
    /// Returns the answer to a connection; perhaps one to an earlier account.
    pub(crate) fn get(&self, uid: &str) -> Option<Arc<Answer>> {
        self.all().get(uid).and_then(|entry| entry.answer.clone())
    }

    /// Returns the login of a connection that was refused last.
    pub(crate) fn refusal(&self, uid: &str) -> Option<Refusal> {
        self.all().get(uid).and_then(|entry| entry.refusal.clone())
    }

    pub(crate) fn refuse(&self, uid: &str, refusal: Refusal) {
        self.all().entry(uid.to_owned()).or_default().refusal = Some(refusal);
    }

    /// Returns whether a newer answer is requested.
    pub(crate) fn is_stale(&self, uid: &str) -> bool {
        self.all().get(uid).is_some_and(|entry| entry.is_stale)
    }

    /// Requests a newer answer.
    pub(crate) fn outdate(&self, uid: &str) {
        if let Some(entry) = self.all().get_mut(uid) {
            entry.is_stale = true;
        }
    }

    pub(crate) fn set(&self, uid: &str, answer: Answer) {
        let entry = Entry { answer: Some(Arc::new(answer)), ..Entry::default() };
        self.all().insert(uid.to_owned(), entry);
    }

    pub(super) fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
