//! Carries out a plan.

use infra_clients::capi::Cluster;
use k8s_openapi::api::core::v1::Endpoints as CoreEndpoints;
use kube::Api;
use kube::api::{DeleteParams, Patch};
use operator_kit::{Foreign, Key, Kind, Notice, Objects};
use serde::Serialize;
use serde_json::{Value, json};

use super::Endpoints;
use super::objects::service_name;
use super::plan::{Plan, Report};
use super::settings::HOST_VARIABLE;
use crate::api::condition;
use crate::conditions;
use crate::error::Error;

impl Endpoints {
    pub(super) async fn carry_out(
        &self,
        cluster: &Foreign<Cluster>,
        plan: Plan,
    ) -> Result<Option<Notice>, Error> {
        let name = service_name(cluster);
        let key = Key::new(cluster.namespace(), &name);
        match plan {
            Plan::CreateService(service) => self.create(&self.services, &key, &*service).await?,
            Plan::ChangeService(patch) => self.change(&self.services, &key, patch).await?,
            Plan::CreateSlice(slice) => self.create(&self.slices, &key, &*slice).await?,
            Plan::ChangeSlice(patch) => self.change(&self.slices, &key, patch).await?,
            Plan::SetEndpoint(endpoint) => {
                self.write(cluster, |newest| {
                    let is_unset = newest.control_plane_endpoint().is_none();
                    Ok(if is_unset { newest.set_control_plane_endpoint(&endpoint) } else { None })
                })
                .await?;
            }
            Plan::SetVariable(host) => {
                let value = [(HOST_VARIABLE, json!(host))];
                self.write(cluster, |newest| Ok(newest.set_variables(value.clone())?)).await?;
            }
            Plan::RemoveEndpoints => {
                let api: Api<CoreEndpoints> = Api::namespaced(self.client.clone(), cluster.namespace());
                match api.delete(&name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    deleted => drop(deleted?),
                }
            }
            Plan::Report(Report { said, notice }) => {
                let remove: &[_] = if said.is_none() { &[condition::ENDPOINT_READY] } else { &[] };
                self.condition_writer().write(cluster, said.as_slice(), remove).await?;
                return Ok(notice);
            }
        }
        Ok(None)
    }

    /// Creates an object. One of its name that the watch does not bring, because it is of another type, is in the cache then.
    async fn create<K: Kind + Serialize>(
        &self,
        objects: &Objects<K>,
        key: &Key,
        object: &K,
    ) -> Result<(), Error> {
        match objects.create(&self.manager, object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let found = objects.find(key.namespace(), "", |one| Key::of(one) == *key).await?;
                found.ok_or(kube::Error::Api(status))?;
            }
            created => drop(created?),
        }
        Ok(())
    }

    /// Changes an object. Its watch brings the change, or what came in between.
    async fn change<K: Kind>(&self, objects: &Objects<K>, key: &Key, patch: Value) -> Result<(), Error> {
        if let Some(live) = objects.cache().valid(key) {
            objects.merge(&self.manager, &live, patch).await?;
        }
        Ok(())
    }

    /// Changes the Cluster.
    async fn write(
        &self,
        cluster: &Cluster,
        patch: impl Fn(&Cluster) -> Result<Option<Patch<Value>>, Error>,
    ) -> Result<(), Error> {
        let Some(newest) = conditions::newest(&self.clusters, cluster).await? else { return Ok(()) };
        if let Some(patch) = patch(&newest)? {
            // One that has changed meanwhile is written in the next look.
            self.clusters.change(&self.manager, &newest, &patch).await?;
        }
        Ok(())
    }
}
