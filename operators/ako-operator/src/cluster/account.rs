//! The AVI user of a Cluster: looks at its Secret, and carries out its steps. What has to be done is decided by [`account`].

use infra_clients::Failure as _;
use infra_clients::avi::{Avi, Kind as Refusal};
use infra_clients::capi::Cluster;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use operator_kit::{KitError, Notice, ReconcileError as _};
use serde_json::{Value, json};

use super::Clusters;
use super::glance::avi_name;
use super::observe::Offered;
use crate::adc::seen::{Answer, Facts};
use crate::adc::tenants;
use crate::api::{AkoDeploymentConfig, Place, ROTATE_ANNOTATION, SYSTEM_NAMESPACE, may_have_had_ako, reason};
use crate::delivery::Credentials;
use crate::error::Error;
use crate::problem::Problem;
use crate::secrets::Admin;
use crate::user::account::{self, Account, Known, Step};
use crate::user::avi::{self, Done, Ensured, WantedUser};
use crate::user::mark::{Marks, Whose};
use crate::user::{
    MARK_ANNOTATION, NEXT_PASSWORD, PASSWORD, SECRET_TYPE, password, role, secret_name, user_name,
};

impl Clusters {
    /// Returns what has to be done about a Cluster's user, and the credentials that AKO gets: without a password until it is done.
    pub(super) async fn account(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        admin: &Admin,
    ) -> Result<(Account, Credentials), Error> {
        if cluster.namespace() == SYSTEM_NAMESPACE {
            return Ok((Account::Other, admin.credentials.clone()));
        }
        let ca_pem = admin.credentials.ca_pem.clone();
        let user = user_of(cluster);
        let none = Credentials { username: user.clone(), password: String::new().into(), ca_pem };
        if let Some(of) = &adc.spec.workload_credential_ref {
            return Ok(match self.secrets.workload(of, &none.ca_pem).await? {
                Ok(credentials) => (Account::Other, credentials),
                Err(message) => {
                    (Account::Refused(Problem { reason: reason::CREDENTIALS_MISSING, message }), none)
                }
            });
        }
        let secret = self.users(cluster).get_opt(&secret_name(cluster.name())).await?;
        let basis = secret.as_ref().map(|secret| basis(secret, adc, &admin.version));
        let now = self.clock.now();
        let refusal = basis.as_ref().and_then(|basis| self.memory.refusal(cluster, basis, now));
        let known = Known {
            user: &user,
            secret: secret.as_ref(),
            authority: &none.ca_pem,
            rotate: cluster.annotation(ROTATE_ANNOTATION),
            is_checked: basis.as_ref().is_some_and(|basis| self.memory.is_checked(cluster, basis, now)),
            refusal: refusal.as_ref(),
        };
        let account = account::decide(&known);
        let password = secret.as_ref().and_then(|secret| account::text(secret, PASSWORD));
        Ok(match (&account, password) {
            (Account::Ready, Some(password)) => (account, Credentials { password: password.into(), ..none }),
            _ => (account, none),
        })
    }

    /// Carries out a step. The next look says what follows.
    pub(super) async fn step(&self, cluster: &Cluster, step: Step) -> Result<Option<Notice>, Error> {
        // It was known a moment ago: the next pass says what is missing.
        let known = self.known(cluster);
        let Some(adc) = known.adc() else { return Err(KitError::StillChanging.into()) };
        let admin = self.secrets.admin(&adc.spec).await?.map_err(Error::Credentials)?;
        let secret = self.users(cluster).get_opt(&secret_name(cluster.name())).await?;
        match (step, secret) {
            (Step::Begin, None) => {
                let client =
                    self.connections.client(&adc.uid().unwrap_or_default(), &adc.spec.controller, &admin)?;
                if avi::whose(&client, &user_of(cluster), &self.marks(cluster, None)).await? == Whose::Others
                {
                    return Err(Error::UserTaken(describe_taken(cluster)));
                }
                self.draw(cluster, None, &admin.credentials.ca_pem).await
            }
            (Step::Draw, secret) => self.draw(cluster, secret.as_ref(), &admin.credentials.ca_pem).await,
            (Step::Ensure, Some(secret)) => self.ensure(cluster, adc, &admin, &secret).await,
            (Step::Begin, Some(_)) | (Step::Ensure, None) => Err(KitError::StillChanging.into()),
        }
    }

    async fn draw(
        &self,
        cluster: &Cluster,
        secret: Option<&Secret>,
        authority: &str,
    ) -> Result<Option<Notice>, Error> {
        let user = user_of(cluster);
        let next = password::generate().map_err(Error::Randomness)?;
        let id = password::new_id().map_err(Error::Randomness)?;
        let patch = account::drawn(&user, authority, &next, &id, cluster.annotation(ROTATE_ANNOTATION));
        if let Some(secret) = secret {
            self.patch_secret(cluster, secret, patch).await?;
            return Ok(None);
        }
        let mut new = json!({
            "metadata": {
                "name": secret_name(cluster.name()), "namespace": cluster.namespace(),
                // Moves with the Cluster to another management cluster, and goes with it at the latest.
                "ownerReferences": [self.reference(cluster)],
            },
            "type": SECRET_TYPE,
        });
        let annotations = patch["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        let annotations: serde_json::Map<_, _> =
            annotations.into_iter().filter(|(_, value)| !value.is_null()).collect();
        new["metadata"]["annotations"] = annotations.into();
        new["metadata"]["annotations"][MARK_ANNOTATION] = json!(self.id);
        new["data"] = patch["data"].clone();
        let new: Secret = serde_json::from_value(new).map_err(|_| KitError::StillChanging)?;
        let params = PostParams { field_manager: Some(self.manager.clone()), ..PostParams::default() };
        self.users(cluster).create(&params, &new).await?;
        Ok(None)
    }

    /// Returns the owner reference to a Cluster.
    pub(super) fn reference(&self, cluster: &Cluster) -> Value {
        json!({ "apiVersion": self.version, "kind": "Cluster", "name": cluster.name(), "uid": cluster.metadata.uid })
    }

    async fn ensure(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        admin: &Admin,
        secret: &Secret,
    ) -> Result<Option<Notice>, Error> {
        let uid = adc.uid().unwrap_or_default();
        let answer = self.answers.answer(&uid).ok_or(KitError::StillChanging)?;
        let marks = self.marks(cluster, Some(secret));
        let wanted = wanted(cluster, adc, &answer, secret, marks).ok_or(KitError::StillChanging)?;
        let client = self.connections.client(&uid, &adc.spec.controller, admin)?;
        let Ensured { done, password: id } = match avi::ensure(&client, &wanted).await {
            Ok(ensured) => ensured,
            Err(error) if wanted.is_changed && error.kind() == Refusal::Invalid && !error.in_doubt() => {
                // A write of the Secret would wake the Cluster again at once, however long AVI refuses.
                let (error, basis) = (Error::from(error), basis(secret, adc, &admin.version));
                let problem = Problem { reason: error.reason(), message: error.to_string() };
                self.memory.refused(cluster, basis, problem, self.clock.now());
                return Err(error);
            }
            Err(error) => return Err(error.into()),
        };
        match done {
            Done::Refused => return Err(Error::UserTaken(describe_taken(cluster))),
            Done::Outdated => return self.draw(cluster, Some(secret), &admin.credentials.ca_pem).await,
            Done::Made | Done::Corrected | Done::Nothing => {}
        }
        if done == Done::Made || wanted.is_changed {
            self.memory.password_set(cluster, &wanted.password);
        }
        let secret = match account::settled(secret, &admin.credentials.ca_pem, &self.id, id.as_deref()) {
            Some(patch) => self.patch_secret(cluster, secret, patch).await?,
            None => secret.clone(),
        };
        self.memory.checked(cluster, basis(&secret, adc, &admin.version), self.clock.now());
        let name = &wanted.name;
        Ok(match done {
            Done::Made => Some(Notice::normal(reason::USER_MADE, format!("made the AVI user {name}"))),
            Done::Corrected if wanted.is_changed => {
                let message = format!("the AVI user {name} has another password");
                Some(Notice::normal(reason::USER_ROTATED, message))
            }
            Done::Corrected | Done::Nothing | Done::Refused | Done::Outdated => None,
        })
    }

    /// Returns what has to be done about a Cluster's user where AKO has another password than its Secret: nothing says that AVI has that of a
    /// Secret which was restored from before a change.
    pub(super) fn with_delivered(
        &self,
        cluster: &Cluster,
        offered: &Offered,
        delivered: Option<&str>,
    ) -> Account {
        let password = &offered.install.credentials.password;
        let is_other = delivered.is_some_and(|delivered| delivered != password.expose());
        if offered.account == Account::Ready && is_other && !self.memory.has_set(cluster, password) {
            return Account::Do(Step::Draw);
        }
        offered.account.clone()
    }

    /// Returns whether the Secret of a Cluster's user is there.
    pub(super) async fn has_user_secret(&self, cluster: &Cluster) -> Result<bool, Error> {
        let user = user_of(cluster);
        let secret = self.users(cluster).get_opt(&secret_name(cluster.name())).await?;
        Ok(secret.is_some_and(|secret| account::foreign(&user, &secret).is_none()))
    }

    /// Returns whether something of a Cluster that AKO leaves may be on AVI. The Secret of its user is made before anything is made there.
    pub(super) async fn may_be_on_avi(&self, cluster: &Cluster) -> Result<bool, Error> {
        let has_own_user = cluster.namespace() != SYSTEM_NAMESPACE
            && self.recorded(cluster).is_some_and(|adc| adc.spec.workload_credential_ref.is_none());
        Ok(!has_own_user || may_have_had_ako(cluster) || self.has_user_secret(cluster).await?)
    }

    /// Returns from what the user of a Cluster is known on AVI.
    pub(super) fn marks(&self, cluster: &Cluster, secret: Option<&Secret>) -> Marks {
        Marks::of(&self.id, &user_of(cluster), secret)
    }

    /// Returns whether a Cluster may have a user of its own. Where AKO's user is given, the one of before that was set is left.
    async fn has_user(&self, cluster: &Cluster, adc: &AkoDeploymentConfig) -> Result<bool, Error> {
        Ok(adc.spec.workload_credential_ref.is_none() || self.has_user_secret(cluster).await?)
    }

    /// Returns whether the user of a Cluster's name on AVI is of others: then what has the marks of the Cluster there may be as well. Where AKO's
    /// user is given, the account may lack the right to read users.
    pub(super) async fn is_of_others(
        &self,
        cluster: &Cluster,
        adc: &AkoDeploymentConfig,
        avi: &Avi,
    ) -> Result<bool, Error> {
        if cluster.namespace() == SYSTEM_NAMESPACE || !self.has_user(cluster, adc).await? {
            return Ok(false);
        }
        let secret = self.users(cluster).get_opt(&secret_name(cluster.name())).await?;
        let marks = self.marks(cluster, secret.as_ref());
        Ok(avi::whose(avi, &user_of(cluster), &marks).await? == Whose::Others)
    }

    /// Removes the user of a Cluster from AVI, unless it is of others, then its Secret.
    pub(super) async fn remove_user(&self, cluster: &Cluster) -> Result<(), Error> {
        let Some((adc, place, client)) = self.at_avi(cluster).await? else {
            let message = "no AKODeploymentConfig that can be read has recorded the Cluster, so that nothing says where it is";
            return Err(Error::Credentials(message.to_owned()));
        };
        if self.has_user(cluster, &adc).await? {
            let secret = self.users(cluster).get_opt(&secret_name(cluster.name())).await?;
            let (user, marks) = (user_of(cluster), self.marks(cluster, secret.as_ref()));
            let tenant = place.tenant_of(cluster.namespace(), cluster.name());
            avi::remove(&client, &user, &avi_name(cluster), &tenant, &marks).await?;
        }
        self.remove_user_secret(cluster).await
    }

    /// The same, as far as that is possible now.
    pub(super) async fn remove_user_once(&self, cluster: &Cluster) -> Result<Option<Notice>, Error> {
        let Err(error) = self.remove_user(cluster).await else { return Ok(None) };
        self.remove_user_secret(cluster).await?;
        let user = user_of(cluster);
        let message = format!("the user {user} may be left on AVI{}: {error}", self.controller_of(cluster));
        Ok(Some(Notice::warning(reason::LEFT_ON_AVI, message)))
    }

    async fn remove_user_secret(&self, cluster: &Cluster) -> Result<(), Error> {
        let (secrets, name) = (self.users(cluster), secret_name(cluster.name()));
        let user = user_of(cluster);
        if let Some(secret) = secrets.get_opt(&name).await?
            && account::foreign(&user, &secret).is_none()
        {
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: secret.uid(), ..Preconditions::default() }),
                ..DeleteParams::default()
            };
            match secrets.delete(&name, &params).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                deleted => drop(deleted?),
            }
        }
        self.memory.user_removed(cluster);
        Ok(())
    }

    /// Returns the AKODeploymentConfig that AKO was delivered from, and a client of its controller.
    pub(super) async fn at_avi(
        &self,
        cluster: &Cluster,
    ) -> Result<Option<(std::sync::Arc<AkoDeploymentConfig>, Place, Avi)>, Error> {
        let Some(adc) = self.recorded(cluster) else { return Ok(None) };
        let admin = self.secrets.admin(&adc.spec).await?.map_err(Error::Credentials)?;
        let place = adc.place();
        let uid = adc.metadata.uid.as_deref().unwrap_or_default();
        let client = self.connections.client(uid, &place.controller, &admin)?;
        Ok(Some((adc, place, client)))
    }

    /// Returns where AKO works or worked, in words; empty if no AKODeploymentConfig has recorded that.
    pub(super) fn controller_of(&self, cluster: &Cluster) -> String {
        self.recorded(cluster).map(|adc| format!(" at {}", adc.place().controller)).unwrap_or_default()
    }

    fn users(&self, cluster: &Cluster) -> Api<Secret> {
        Api::namespaced(self.client.clone(), cluster.namespace())
    }

    /// Changes a Secret, unless it has changed meanwhile.
    async fn patch_secret(
        &self,
        cluster: &Cluster,
        secret: &Secret,
        mut patch: Value,
    ) -> Result<Secret, Error> {
        patch["metadata"]["uid"] = json!(secret.metadata.uid);
        patch["metadata"]["resourceVersion"] = json!(secret.metadata.resource_version);
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        Ok(self.users(cluster).patch(&secret.name_any(), &params, &Patch::Merge(patch)).await?)
    }
}

/// Returns the name of a Cluster's user.
pub(super) fn user_of(cluster: &Cluster) -> String {
    user_name(cluster.namespace(), cluster.name())
}

/// Says that the user of a Cluster's name on AVI is of others, and what to do.
pub(super) fn describe_taken(cluster: &Cluster) -> String {
    let (namespace, name, user) = (cluster.namespace(), cluster.name(), user_of(cluster));
    format!(
        "AVI has a user {user} without the mark of this management cluster: a Cluster {namespace}/{name} of another one may use it, and what \
         AKO makes for the two has the same marks. Give this Cluster another name or namespace. Or the user is left over from an earlier Cluster of \
         this name, or this Cluster has lost its Secret {namespace}/{}: if no other Cluster uses it, remove the user on AVI, and it is made again",
        secret_name(name)
    )
}

/// Returns what a look at the user on AVI depends on.
fn basis(secret: &Secret, adc: &AkoDeploymentConfig, credentials: &str) -> String {
    let (meta, of) = (&secret.metadata, &adc.metadata);
    format!("{:?} {:?} {:?} {:?} {credentials}", meta.uid, meta.resource_version, of.uid, of.generation)
}

/// Returns how the user is to be; `None` if what AVI was asked does not say it.
fn wanted(
    cluster: &Cluster,
    adc: &AkoDeploymentConfig,
    answer: &Answer,
    secret: &Secret,
    marks: Marks,
) -> Option<WantedUser> {
    let Facts { roles, tenants, version, .. } = &answer.facts;
    let tenant = Place::from(&adc.spec).tenant_of(cluster.namespace(), cluster.name());
    let next = account::text(secret, NEXT_PASSWORD);
    let kinds = role::shared(&adc.spec).iter();
    let shared: Option<Vec<_>> =
        kinds.map(|kind| Some((*kind, roles.get(kind.name())?.uuid.clone()))).collect();
    Some(WantedUser {
        name: user_of(cluster),
        cluster: avi_name(cluster),
        tenant_uuid: tenants.get(&tenant)?.as_ref()?.uuid.clone(),
        tenant,
        shared: shared?,
        version: (*version)?,
        is_changed: next.is_some(),
        password: next.or_else(|| account::text(secret, PASSWORD))?.into(),
        marks,
    })
}

/// Returns whether AVI was found to have the tenant of a Cluster, and the roles that its user needs.
///
/// # Errors
/// Why AKO cannot work in the tenant.
pub(super) fn is_set_up(
    cluster: &Cluster,
    adc: &AkoDeploymentConfig,
    answer: &Answer,
    account: &Account,
) -> Result<bool, Problem> {
    let facts = &answer.facts;
    let name = Place::from(&adc.spec).tenant_of(cluster.namespace(), cluster.name());
    let Some(Some(tenant)) = facts.tenants.get(&name) else { return Ok(false) };
    if let Some(refused) = tenants::refusal(&adc.spec, &name, tenant, facts) {
        return Err(refused);
    }
    let has_roles = role::shared(&adc.spec).iter().all(|kind| facts.roles.contains_key(kind.name()));
    Ok(has_roles || *account == Account::Other)
}
