//! Carries out a plan.

use infra_clients::capi::{self, Cluster};
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use operator_kit::{Key, Notice};
use serde_json::{Value, json};

use super::observe::api;
use super::plan::Plan;
use super::{Clusters, STATUS_ANNOTATION};
use crate::api::{HOOK_OWNER, PRE_TERMINATE_HOOK};
use crate::delivery::{CONFIG_MAP, NAMESPACE, Target, removal};
use crate::error::Error;

impl Clusters {
    pub(super) async fn carry_out(&self, cluster: &Cluster, plan: Plan) -> Result<Option<Notice>, Error> {
        match plan {
            Plan::Watch => {
                let opened = self.open(cluster).await?;
                self.sets.start(&Key::of(cluster), &opened.version, &opened.client);
                self.memory.watched(cluster, opened.version);
            }
            Plan::Hook { add, remove } => self.hook(cluster, &add, &remove).await?,
            Plan::Apply(objects) => {
                let client = self.open(cluster).await?.client;
                for object in objects {
                    let target = object.target();
                    let params = PatchParams::apply(&self.manager).force();
                    let patched = api(&client, &target)
                        .patch(&target.name, &params, &Patch::Apply(&object.object))
                        .await;
                    patched.map_err(capi::Error::from)?;
                }
            }
            Plan::DeleteConfig { stale } => {
                let client = self.open(cluster).await?.client;
                if let Some(set) = stale {
                    self.merge(
                        &client,
                        &set,
                        json!({"metadata": {"annotations": {STATUS_ANNOTATION: null}}}),
                    )
                    .await?;
                }
                if let Some(config) = removal().into_iter().find(|target| target.name == CONFIG_MAP) {
                    self.merge(&client, &config, json!({"data": {"deleteConfig": "true"}})).await?;
                }
            }
            Plan::Remove(targets) => {
                let client = self.open(cluster).await?.client;
                for target in targets {
                    remove(&client, &target).await?;
                }
            }
            Plan::Tell(about) => {
                self.memory.tell(cluster, about.as_ref().map(|(reason, _)| *reason));
                return Ok(about.map(|(reason, message)| match reason {
                    crate::api::reason::CLEANING_UP | crate::api::reason::AKO_ENDING => {
                        Notice::normal(reason, message)
                    }
                    _ => Notice::warning(reason, message),
                }));
            }
        }
        Ok(None)
    }

    async fn hook(&self, cluster: &Cluster, add: &[String], remove: &[String]) -> Result<(), Error> {
        let add = add.iter().map(|name| (name, Some(HOOK_OWNER)));
        let remove = remove.iter().map(|name| (name, None));
        for (name, value) in add.chain(remove) {
            let Some(machine) = self.machines.cache().valid(&Key::new(cluster.namespace(), name)) else {
                continue;
            };
            let patch = json!({"metadata": {"annotations": {PRE_TERMINATE_HOOK: value}}});
            // One that has changed meanwhile is patched in the next look.
            self.machines.merge(&self.manager, &machine, patch).await?;
        }
        Ok(())
    }

    async fn merge(&self, client: &Client, target: &Target, patch: Value) -> Result<(), capi::Error> {
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        api(client, target).patch(&target.name, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Deletes an object; a StatefulSet stays until its Pods are gone, so that its absence says that AKO has ended.
async fn remove(client: &Client, target: &Target) -> Result<(), capi::Error> {
    debug_assert!(target.namespace.as_deref().is_none_or(|namespace| namespace == NAMESPACE));
    match api(client, target).delete(&target.name, &DeleteParams::foreground()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
