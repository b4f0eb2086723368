//! Reads what is known of a Cluster. Writes nothing.

use std::sync::Arc;

use infra_clients::Failure as _;
use infra_clients::capi::{self, Cluster, ClusterBootstrap, Kind, TanzuKubernetesRelease, secret_name};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use operator_kit::Key;

use super::Clusters;
use super::account::is_set_up;
use super::addon::{self, Bootstrap, Owner, is_addon};
use super::definitions::{self, Definitions};
use super::glance::{Known, avi_name, deletes_config, matters};
use super::live::{Live, api};
use super::moves::is_leaving;
use super::seen::{Delivery, Left, Obstacle, Purge, Seen, Want, Workload};
use super::works::works;
use crate::adc::seen::Answer;
use crate::api::{AkoDeploymentConfig, SYSTEM_NAMESPACE, Works, asks_for, reason, unrecorded};
use crate::delivery::addon::{PACKAGE, secret};
use crate::delivery::{Ako, Install, Object, Target, Way, awaited_kinds, form_of, objects};
use crate::endpoint::objects::service_name;
use crate::error::Error;
use crate::problem::Problem;
use crate::secrets::Admin;
use crate::selection::Configs;
use crate::user::account::Account;
use crate::validation::validate;

/// A client of a workload cluster, and the version of the kubeconfig that it was made of.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) version: String,
}

/// What may be delivered to a Cluster.
#[derive(Clone)]
pub(super) struct Offered {
    /// What is delivered.
    pub(super) install: Install,
    /// What has to be done before: until then the credentials have no password.
    pub(super) account: Account,
    /// The administrator's credentials.
    pub(super) admin: Admin,
}

/// A Cluster whose workload cluster is open.
struct Comparison<'a> {
    cluster: &'a Cluster,
    owner: &'a Owner,
    /// The AKODeploymentConfig that AKO is delivered from; without one, AKO is not to be there.
    adc: Option<&'a AkoDeploymentConfig>,
    /// Client of the workload cluster.
    client: &'a Client,
    /// The add-on Secret.
    addon: Option<DynamicObject>,
}

impl Clusters {
    pub(super) fn known<'a>(&self, cluster: &'a Cluster) -> Known<'a> {
        let adcs = Configs::from(&self.adcs);
        Known {
            cluster,
            machines: self.by_cluster.get(&Key::of(cluster)),
            is_purged: self.memory.is_purged(cluster),
            is_balanced: self.endpoints.is_provider(cluster),
            has_service: self.services.get(&Key::new(cluster.namespace(), &service_name(cluster))).is_some(),
            deadline: self.deadline,
            can_serve: self.memory.can_serve(cluster),
            works: self.answers.found(cluster.metadata.uid.as_deref().unwrap_or_default()),
            unrecorded: unrecorded(self.clusters.cache().all().iter().map(|cluster| &***cluster), &adcs.read),
            adcs,
        }
    }

    /// Returns whether a Cluster is to have AKO.
    pub(super) fn want(&self, cluster: &Cluster) -> Want {
        self.known(cluster).want()
    }

    /// Returns the AKODeploymentConfig that has recorded that AKO is delivered to a Cluster.
    pub(super) fn recorded(&self, cluster: &Cluster) -> Option<Arc<AkoDeploymentConfig>> {
        self.known(cluster).recorded().cloned()
    }

    pub(super) async fn look(&self, cluster: &Cluster) -> Result<Seen, Error> {
        // It is as new as the pass.
        self.memory.serves(cluster, None);
        let seen = self.look_once(cluster).await?;
        // Where AKO works, as was found now, may have it leave.
        if self.want(cluster) == seen.want { Ok(seen) } else { self.look_once(cluster).await }
    }

    async fn look_once(&self, cluster: &Cluster) -> Result<Seen, Error> {
        let known = self.known(cluster);
        let mut seen = known.glance();
        if let Some(adc) = known.adc().filter(|_| !seen.is_held && seen.want == Want::Ako) {
            seen.offer = self.check_offer(cluster, adc, None);
        }
        let owner = self.owner(cluster);
        let is_leaving = seen.is_deleting || seen.want == Want::Nothing;
        let mut addon = None;
        if seen.is_held && is_leaving && !seen.is_paused {
            seen.user = self.find_user(cluster, seen.is_recorded).await?;
            if !self.may_be_on_avi(cluster).await? {
                // What has its names and marks there is of another management cluster.
                (seen.user, seen.purge) = (Left::No, Purge::Done);
            }
            addon = self.addon(&owner).await?.filter(is_addon);
            seen.addon = addon.iter().map(|_| owner.secret()).collect();
        }
        if !matters(&seen) {
            return Ok(seen);
        }
        if !is_leaving && *self.ways.of(cluster) == Way::Addon {
            addon = self.addon(&owner).await?;
        }
        let opened = match self.open(cluster).await {
            Ok(opened) => opened,
            Err(error) => {
                seen.workload = describe_failure(&error);
                return Ok(seen);
            }
        };
        seen.needs_watch = !self.memory.is_watched(cluster, &opened.version);
        let adc = known.adc().filter(|_| !is_leaving);
        let adc = adc.map(|adc| &**adc);
        let comparison = Comparison { cluster, owner: &owner, adc, client: &opened.client, addon };
        self.compare(comparison, &mut seen).await?;
        Ok(seen)
    }

    /// Returns the Cluster as the owner of an add-on Secret.
    fn owner(&self, cluster: &Cluster) -> Owner {
        Owner {
            namespace: cluster.namespace().to_owned(),
            name: cluster.name().to_owned(),
            avi_name: avi_name(cluster),
            reference: self.reference(cluster),
            form: form_of(cluster),
        }
    }

    /// Returns the add-on Secret.
    async fn addon(&self, owner: &Owner) -> Result<Option<DynamicObject>, Error> {
        let target = owner.secret();
        Ok(api(&self.client, &target).get_opt(&target.name).await?)
    }

    /// Returns what is known of a Cluster's ClusterBootstrap; `None` where it has no topology.
    async fn bootstrap(&self, cluster: &Cluster) -> Result<Option<Bootstrap>, Error> {
        if !cluster.is_class_based() {
            return Ok(None);
        }
        let bootstraps: Api<ClusterBootstrap> = Api::namespaced(self.client.clone(), cluster.namespace());
        let Some(read) = found(bootstraps.get(cluster.name()).await)? else {
            return Ok(Some(Bootstrap::default()));
        };
        let release = &read.status.resolved_tkr;
        let mut package = None;
        if read.additional_package(PACKAGE).is_none() && !release.is_empty() {
            let releases: Api<TanzuKubernetesRelease> = Api::all(self.client.clone());
            let release = found(releases.get(release).await)?;
            package = release.and_then(|release| release.package(PACKAGE).map(str::to_owned));
        }
        Ok(Some(Bootstrap { read: Some(read), package }))
    }

    /// Returns whether a Cluster that AKO leaves has a user on AVI, or a Secret for it.
    async fn find_user(&self, cluster: &Cluster, is_recorded: bool) -> Result<Left, Error> {
        if cluster.namespace() == SYSTEM_NAMESPACE || self.memory.is_user_removed(cluster) {
            return Ok(Left::No);
        }
        Ok(match (is_recorded, self.has_user_secret(cluster).await?) {
            // A person may have deleted the Secret: AVI is asked by the name of the user.
            (true, _) => Left::Removable,
            (false, true) => Left::Unknown,
            (false, false) => Left::No,
        })
    }

    /// Compares the workload cluster, and the add-on Secret, with what is to be there.
    async fn compare(&self, comparison: Comparison<'_>, seen: &mut Seen) -> Result<(), Error> {
        let Comparison { cluster, owner, adc, client, addon } = comparison;
        let install = match (adc, &seen.ip_family) {
            (None, _) => None,
            (Some(_), Some(Err(message))) => Some(Err(Obstacle::Lasting(Problem {
                reason: reason::IP_FAMILY_UNSUPPORTED,
                message: message.clone(),
            }))),
            (Some(adc), _) => Some(self.install(cluster, adc).await?),
        };
        if let Some(adc) = adc {
            let install = install.as_ref().and_then(|install| install.as_ref().ok());
            seen.offer = self.check_offer(cluster, adc, install);
        }
        let arrival = adc.filter(|adc| asks_for(cluster, adc)).zip(install.clone());
        let is_addon = *self.ways.of(cluster) == Way::Addon;
        let offered = install.as_ref().and_then(|install| install.as_ref().ok()).cloned();
        let (mut found, mut delivered) = (None, None);
        seen.workload = if is_addon && install.is_some() {
            let bootstrap = self.bootstrap(cluster).await?;
            let wanted = install.map(|install| {
                let secret = install.and_then(|of| Ok(secret(&of.install, owner.form)?))?;
                Ok(addon::WantedAddon { secret, bootstrap })
            });
            read(client, owner, addon, Vec::new()).await.map(|live| {
                found = Some(works(&live, owner, is_leaving(cluster)));
                delivered = live.password();
                owner.state(&live, wanted)
            })
        } else {
            let wanted = install.map(|install| install.and_then(|of| Ok(objects(&of.install)?)));
            let others = wanted.iter().flatten().flat_map(|wanted| &wanted.objects).map(Object::target);
            let live = read(client, owner, addon, others.collect()).await;
            live.map(|live| {
                found = Some(works(&live, owner, is_leaving(cluster)));
                delivered = live.password();
                match wanted {
                    None if owner.has_addon(&live) => owner.state(&live, None),
                    wanted => {
                        live.state(&seen.avi_name, wanted, &self.memory.stored(cluster, self.clock.now()))
                    }
                }
            })
        }
        .map_or_else(|error| describe_failure(&error), |state| Workload::Open(Box::new(state)));
        if let Some(offered) = offered {
            seen.account = self.with_delivered(cluster, &offered, delivered.as_deref());
        }
        if let Some(works) = found {
            self.compare_place(cluster, &works, arrival, client, seen).await;
        }
        if let (Some(adc), false) = (adc, is_addon)
            && let Err(error) = self.look_at_definitions(cluster, adc, client, seen).await
        {
            seen.workload = describe_failure(&error);
        }
        Ok(())
    }

    /// Compares where AKO works with where it is to. `arrival`: the AKODeploymentConfig that a person has asked for, and its offer.
    async fn compare_place(
        &self,
        cluster: &Cluster,
        works: &Works,
        arrival: Option<(&AkoDeploymentConfig, Result<Offered, Obstacle>)>,
        client: &Client,
        seen: &mut Seen,
    ) {
        self.remember_place(cluster, works);
        if let Some((adc, offered)) = arrival.filter(|(adc, _)| self.known(cluster).may_move_to(adc)) {
            let can_serve = self.check_arrival(cluster, adc, &offered, client).await;
            self.memory.serves(cluster, Some(can_serve));
            seen.offer = self.check_offer(cluster, adc, offered.as_ref().ok());
        }
        self.hold_place(cluster, works, seen);
    }

    /// Remembers where AKO works, if that decides what becomes of it, and wakes the AKODeploymentConfigs that record it.
    fn remember_place(&self, cluster: &Cluster, works: &Works) {
        let (known, uid) = (self.known(cluster), cluster.metadata.uid.as_deref().unwrap_or_default());
        let Some(adc) = known.adc().filter(|_| known.needs_works()) else {
            // What was found before AKO was delivered is true no longer.
            return self.answers.forget_works(uid);
        };
        if self.answers.works(uid, works.clone()) {
            for adc in [adc].into_iter().chain(known.find_elsewhere(adc)) {
                self.adc_triggers.wake(&Key::of(&**adc));
            }
        }
    }

    /// Holds the delivery to a Cluster back whose AKO works elsewhere than its record says, or that is in no record.
    fn hold_place(&self, cluster: &Cluster, works: &Works, seen: &mut Seen) {
        let known = self.known(cluster);
        if let (Workload::Open(state), Want::Ako, Some(adc)) = (&mut seen.workload, &seen.want, known.adc())
            && let Some(obstacle) = known.refuse(works, adc)
        {
            state.delivery = Delivery::Refused(obstacle);
        }
    }

    /// Looks at the definitions of AKO's kinds where that matters: before AKO is delivered, when the bundle changes, and once an hour.
    async fn look_at_definitions(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        client: &Client,
        seen: &mut Seen,
    ) -> Result<(), capi::Error> {
        let Workload::Open(state) = &mut seen.workload else { return Ok(()) };
        let Delivery::Of(difference) = &mut state.delivery else { return Ok(()) };
        let is_there = state.installed.set.is_some();
        let is_next = seen.offer.is_ok() && matches!(seen.account, Account::Ready | Account::Other);
        if !difference.foreign.is_empty() || !(is_there || is_next) {
            return Ok(());
        }
        let (bundle, awaited) =
            (self.bundle.as_ref().and_then(|files| files.current().ok()), awaited_kinds(&adc.spec));
        let basis = format!("{:?} {awaited:?}", bundle.as_ref().map(|bundle| &bundle.hash));
        let now = self.clock.now();
        if is_there && self.memory.is_defined(cluster, &basis, now) {
            return Ok(());
        }
        let live = Live::find(client, definitions::targets(bundle.as_deref(), &awaited)).await?;
        difference.definitions = Definitions::compare(bundle.as_deref(), &awaited, &live);
        self.memory.defined(cluster, difference.definitions.is_right().then_some(basis), now);
        Ok(())
    }

    /// Returns whether an AKODeploymentConfig and AVI are ready for a delivery as it would be now; the error says what is missing.
    fn check_offer(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        of: Option<&Offered>,
    ) -> Result<(), Obstacle> {
        if let Some(obstacle) = self.known(cluster).refuse_elsewhere(adc) {
            return Err(obstacle);
        }
        if let (Way::Direct(_), Some(Err(problem))) =
            (self.ways.of(cluster), self.bundle.as_ref().map(|files| files.current()))
        {
            return Err(Obstacle::Lasting(problem));
        }
        let unready = || not_ready(adc);
        let is_recorded = adc.has_recorded(&Key::of(cluster));
        let of = of.filter(|_| is_recorded && adc.is_ready()).ok_or_else(unready)?;
        let answer = self.answer(adc, &of.admin.version).ok_or_else(unready)?;
        let is_set_up = is_set_up(cluster, adc, &answer, &of.account)?;
        if is_set_up { Ok(()) } else { Err(unready()) }
    }

    /// Returns the last answer of AVI, if it is about the present AKODeploymentConfig and credentials of this version.
    pub(super) fn answer(&self, adc: &AkoDeploymentConfig, version: &str) -> Option<Arc<Answer>> {
        let answer = self.answers.answer(adc.metadata.uid.as_deref().unwrap_or_default());
        answer.filter(|answer| {
            answer.basis.generation == adc.metadata.generation && answer.basis.credentials == version
        })
    }

    /// Returns the client of a workload cluster. Sends nothing to it.
    pub(super) async fn open(&self, cluster: &Cluster) -> Result<Opened, capi::Error> {
        let (namespace, name) = (cluster.namespace(), secret_name(cluster.name()));
        let Some(secret) = self.secrets.get(&Key::new(namespace, &name)).await? else {
            self.clients.retire(namespace, cluster.name());
            let message = format!("Secret {namespace}/{name} does not exist");
            return Err(capi::Error::new(Kind::NoKubeconfig, message));
        };
        let version = format!("{:?}/{:?}", secret.uid(), secret.resource_version());
        Ok(Opened { client: self.clients.client_from(&secret)?, version })
    }

    /// Returns the Kubernetes version of a Cluster: that of its topology, else of one of its Machines.
    fn kubernetes_version(&self, cluster: &Cluster) -> Option<String> {
        let of_machines = || {
            let machines = self.by_cluster.get(&Key::of(cluster));
            machines.iter().find_map(|machine| machine.spec.version.clone())
        };
        cluster.topology_version().map(str::to_owned).or_else(of_machines)
    }

    /// Returns what is to be delivered, or why it cannot be said.
    async fn install(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
    ) -> Result<Result<Offered, Obstacle>, Error> {
        let spec = adc.spec.clone();
        let refused = |reason, message| Ok(Err(Obstacle::Lasting(Problem { reason, message })));
        let wrong = validate(&adc.name_any(), &spec, None);
        if !wrong.is_empty() {
            let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            return refused(reason::INVALID_SPEC, format!("AKODeploymentConfig: {}", wrong.join("; ")));
        }
        let status = adc.status.as_ref();
        let asked = spec.controller_version.clone();
        let known = status.and_then(|status| status.controller_version.clone());
        let Some(controller_version) = asked.or(known) else {
            return Ok(Err(not_ready(adc)));
        };
        let admin = match self.secrets.admin(&adc.spec).await? {
            Ok(admin) => admin,
            Err(message) => return refused(reason::CREDENTIALS_MISSING, message),
        };
        let (account, credentials) = self.account(cluster, adc, &admin).await?;
        let install = Install {
            spec,
            namespace: cluster.namespace().to_owned(),
            name: cluster.name().to_owned(),
            credentials,
            controller_version,
            kubernetes_version: self.kubernetes_version(cluster),
            ako: match self.ways.of(cluster) {
                Way::Direct(ako) => ako.clone(),
                Way::Addon => Ako::default(),
            },
            is_management: cluster.namespace() == SYSTEM_NAMESPACE,
            delete_config: deletes_config(cluster),
        };
        Ok(Ok(Offered { install, account, admin }))
    }
}

/// Returns why an AKODeploymentConfig cannot be used yet.
fn not_ready(adc: &AkoDeploymentConfig) -> Obstacle {
    let name = adc.name_any();
    let problem = |why: String| {
        let message = format!(
            "the AKODeploymentConfig {name:?} is not ready{why}: AKO is installed, or changed, once it is"
        );
        Problem { reason: reason::ADC_NOT_READY, message }
    };
    match adc.ready().filter(|ready| ready.status != "True") {
        Some(ready) => Obstacle::Passing(problem(format!(" ({}: {})", ready.reason, ready.message))),
        None => Obstacle::Brief(problem(String::new())),
    }
}

/// Reads a workload cluster; `addon`: the add-on Secret of the management cluster.
async fn read(
    client: &Client,
    owner: &Owner,
    addon: Option<DynamicObject>,
    mut others: Vec<Target>,
) -> Result<Live, capi::Error> {
    others.push(owner.data_values());
    let mut live = Live::read(client, others).await?;
    if let Some(addon) = addon {
        live.add(owner.secret(), addon);
    }
    Ok(live)
}

/// Returns an object of TKG, whose kinds may be missing.
fn found<K>(read: Result<K, kube::Error>) -> Result<Option<K>, kube::Error> {
    match read {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        read => read.map(Some),
    }
}

fn describe_failure(error: &capi::Error) -> Workload {
    Workload::Closed { reason: error.reason(), message: format!("{error}: {}", error.remedy()) }
}
