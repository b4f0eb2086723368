//! A simulator with a client, and the objects that cases begin with.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avi_simulator::{Control, Simulator};
use infra_clients::avi::objects::{Network, Pool, Prefix, RangeUse, StaticRange, Subnet, Tenant};
use infra_clients::avi::{
    Api, Avi, CLOUD, Config, Credentials, Error, Kind, Query, Ref, Scope, TENANT, objects::Meta,
};
use infra_clients::{Secret, Trust};

/// Limit for what is certain to happen, on a machine that is busy otherwise.
pub(crate) const SOON: Duration = Duration::from_mins(2);
/// Limit for what must not be waited for.
pub(crate) const NEVER: Duration = Duration::from_hours(1);
pub(crate) const CLOUD_NAME: &str = "Default-Cloud";

pub(crate) struct Rig {
    pub(crate) sim: Simulator,
    pub(crate) avi: Avi,
}

/// Returns the settings of a client of that simulator, as its administrator.
pub(crate) fn config(sim: &Simulator) -> Config {
    let password = Secret::new(sim.admin_password());
    let mut config = Config::new(sim.url(), Credentials::password(avi_simulator::ADMIN, password));
    config.trust = Trust::CaBundle(sim.ca_pem().into());
    config
}

impl Rig {
    pub(crate) async fn start() -> Result<Self> {
        Self::with(avi_simulator::Config::default(), |_| {}).await
    }

    pub(crate) async fn with(sim: avi_simulator::Config, change: impl FnOnce(&mut Config)) -> Result<Self> {
        let sim = Simulator::start(sim).await?;
        let mut config = config(&sim);
        change(&mut config);
        Ok(Self { avi: Avi::start(config)?, sim })
    }

    pub(crate) fn control(&self) -> Control {
        self.sim.control()
    }

    /// Returns the calls in the tenant `admin`.
    pub(crate) fn api(&self) -> Api {
        self.avi.api(Scope::admin())
    }

    /// Creates another client of the same simulator.
    pub(crate) fn client(&self, change: impl FnOnce(&mut Config)) -> Result<Avi> {
        let mut config = config(&self.sim);
        change(&mut config);
        Ok(Avi::start(config)?)
    }

    /// Creates a client that logs in with these.
    pub(crate) fn client_of(&self, user: &str, password: &str) -> Result<Avi> {
        self.client(|config| config.credentials = Credentials::password(user, Secret::new(password)))
    }

    pub(crate) async fn cloud(&self) -> Result<Ref> {
        let found = self.api().by_name(CLOUD, CLOUD_NAME, &Query::new()).await?;
        let cloud = found.at_most_one()?.context("no Default-Cloud")?;
        Ok(Ref::new("cloud", &cloud.meta.uuid))
    }

    /// Creates a tenant; returns the calls in it.
    pub(crate) async fn tenant(&self, name: &str) -> Result<Api> {
        self.api().create(TENANT, &Tenant { meta: Meta::named(name), ..Tenant::default() }).await?;
        Ok(self.avi.api(Scope::Name(name.to_owned())))
    }

    /// Returns how often requests with that method and path template were made.
    pub(crate) fn count(&self, method: &str, template: &str) -> u64 {
        self.control().counters().get(&(method.to_owned(), template.to_owned())).copied().unwrap_or(0)
    }
}

pub(crate) fn pool(name: &str) -> Pool {
    Pool { meta: Meta::named(name), created_by: Some("ako-c1".to_owned()), ..Pool::default() }
}

pub(crate) fn network(name: &str, cloud: &Ref, subnets: Vec<Subnet>) -> Network {
    Network {
        meta: Meta::named(name),
        cloud_ref: Some(cloud.clone()),
        configured_subnets: subnets,
        ..Network::default()
    }
}

/// Returns the subnet `10.0.<third>.0/24` with one range.
pub(crate) fn subnet(third: u8, usage: RangeUse) -> Subnet {
    let ip = |last| IpAddr::from([10, 0, third, last]);
    Subnet {
        prefix: Prefix::new(ip(0), 24),
        static_ip_ranges: vec![StaticRange::new(ip(5), ip(9), usage)],
        ..Subnet::default()
    }
}

/// Checks that a call ends by itself.
pub(crate) async fn ends<T>(call: impl Future<Output = Result<T, Error>>) -> Result<Result<T, Error>> {
    tokio::time::timeout(SOON, call).await.context("it hangs")
}

/// Checks that a call fails with that kind.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: Kind) -> Result<Error> {
    match result {
        Ok(value) => anyhow::bail!("{value:?} instead of a failure of kind {kind:?}"),
        Err(error) => {
            ensure!(error.kind() == kind, "{error:?} instead of a failure of kind {kind:?}");
            Ok(error)
        }
    }
}
