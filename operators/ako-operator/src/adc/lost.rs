//! Clusters that are gone without having been let go, as where a person has taken the finalizer off one that was being deleted: what they
//! have left on AVI goes, then they go from the record.

use infra_clients::Failure as _;
use infra_clients::avi::{Avi, Kind};
use kube::ResourceExt;
use operator_kit::{Key, KitError, Notice};

use super::Adcs;
use crate::api::{AkoDeploymentConfig, reason};
use crate::delivery::cluster_name;
use crate::error::Error;
use crate::purge::{Target, purge};
use crate::user::{avi, user_name};

/// A Cluster that is gone without having been let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its key.
    pub cluster: Key,
    /// Whether a person has ended the wait for AVI.
    pub is_given_up: bool,
}

/// What such a Cluster had left on AVI.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing.
    Nothing,
    /// Nothing is left of it now.
    Removed {
        /// How many objects AKO had made.
        objects: usize,
        /// Whether its user was there.
        has_user: bool,
    },
    /// AVI refuses to remove it, or was not asked.
    Left(String),
}

impl Adcs {
    /// Removes what a Cluster has left on AVI, then drops it from the record.
    pub(super) async fn settle(
        &self,
        adc: &AkoDeploymentConfig,
        lost: &Lost,
    ) -> Result<Option<Notice>, Error> {
        let found = if lost.is_given_up {
            Found::Left("the operator has not looked, as a person has ended the wait for AVI".to_owned())
        } else {
            self.remove_left(adc, &lost.cluster).await?
        };
        let status = adc.status.clone().unwrap_or_default();
        let key = lost.cluster.to_string();
        let others = |all: Vec<String>| all.into_iter().filter(|other| *other != key).collect::<Vec<_>>();
        let (to, leaving) = (others(status.delivered_to), others(status.leaving));
        self.record_deliveries(adc, &to, &leaving, status.place.as_ref()).await?;
        Ok(notice(&lost.cluster, &found))
    }

    async fn remove_left(&self, adc: &AkoDeploymentConfig, cluster: &Key) -> Result<Found, Error> {
        let admin = self.secrets.admin(&adc.spec).await?.map_err(Error::Credentials)?;
        let (place, uid) = (adc.place(), adc.uid().unwrap_or_default());
        let client = self.connections.client(&uid, &place.controller, &admin)?;
        let (namespace, name) = (cluster.namespace(), cluster.name());
        let has_user = avi::exists(&client, &user_name(namespace, name)).await?;
        if !may_be_left(has_user, adc.spec.workload_credential_ref.is_some()) {
            return Ok(Found::Nothing);
        }
        // The cache may be behind: another Cluster of this name has what is there.
        if self.clusters.read(cluster).await?.is_some() {
            return Err(KitError::StillChanging.into());
        }
        let target = Target {
            cluster: cluster_name(namespace, name),
            tenant: place.tenant_of(namespace, name),
            cloud: place.cloud,
        };
        remove(&client, &target, &user_name(namespace, name), has_user).await
    }
}

/// Returns whether a Cluster may have left something: its user is the last that is removed where AKO has one of its own.
fn may_be_left(has_user: bool, is_users_given: bool) -> bool {
    has_user || is_users_given
}

/// Removes what AKO made, the user, and what AKO has made until then.
async fn remove(client: &Avi, target: &Target, user: &str, has_user: bool) -> Result<Found, Error> {
    let mut objects = match purge(client, target).await {
        Err(error) if !is_refused(&error) => return Err(error),
        // Without its user, AKO makes nothing more that is in the way.
        removed => removed.unwrap_or_default(),
    };
    avi::remove(client, user, &target.cluster, &target.tenant).await?;
    match purge(client, target).await {
        Ok(removed) => objects += removed,
        // The user is gone, so that nothing would be looked for any more.
        Err(error) => return Ok(Found::Left(why(&error))),
    }
    let is_nothing = objects == 0 && !has_user;
    Ok(if is_nothing { Found::Nothing } else { Found::Removed { objects, has_user } })
}

/// Returns whether an object, or the place of all, has to be looked at by a person: nothing else of AVI is the matter.
fn is_refused(error: &Error) -> bool {
    match error {
        Error::PlaceMissing { .. } => true,
        Error::Avi { error, .. } => {
            matches!(error.kind(), Kind::Conflict | Kind::Invalid | Kind::Ambiguous) && !error.in_doubt()
        }
        _ => false,
    }
}

fn why(error: &Error) -> String {
    match error {
        Error::PlaceMissing { reason, .. } => {
            format!("AVI does not have the cloud or the tenant any more where AKO worked ({reason})")
        }
        error => error.to_string(),
    }
}

/// Returns the event about what a Cluster had left.
fn notice(cluster: &Key, found: &Found) -> Option<Notice> {
    let (namespace, name) = (cluster.namespace(), cluster.name());
    let (user, mark) = (user_name(namespace, name), cluster_name(namespace, name));
    let went = format!("the Cluster {cluster} is gone, and its finalizer was not removed by the operator");
    match found {
        Found::Nothing => None,
        Found::Removed { objects, has_user } => {
            let user = if *has_user { format!(", and removed the user {user}") } else { String::new() };
            let message = format!("{went}: removed {objects} objects that AKO had left on AVI{user}");
            Some(Notice::warning(reason::REMOVED_FROM_AVI, message))
        }
        Found::Left(why) => {
            let message = format!(
                "{went}: what AKO made may be left on AVI, with the marks of ako-{mark}, and the user {user}: {why}"
            );
            Some(Notice::warning(reason::LEFT_ON_AVI, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use infra_clients::avi;

    use super::*;

    #[test]
    fn the_user_tells_whether_something_is_left() {
        for (has_user, is_users_given, wanted) in
            [(true, false, true), (false, false, false), (false, true, true), (true, true, true)]
        {
            assert_eq!(may_be_left(has_user, is_users_given), wanted, "{has_user} {is_users_given}");
        }
    }

    /// Else one object that cannot be removed would hold up all that the AKODeploymentConfig does.
    #[test]
    fn only_what_a_person_has_to_look_at_ends_the_work() {
        let of = |kind| Error::from(avi::Error::new(kind, "as the test wants it"));
        for (kind, wanted) in [
            (Kind::Conflict, true),
            (Kind::Invalid, true),
            (Kind::Ambiguous, true),
            (Kind::Unreachable, false),
            (Kind::Unauthorized, false),
            (Kind::Forbidden, false),
            (Kind::Upgrading, false),
            (Kind::Stale, false),
        ] {
            assert_eq!(is_refused(&of(kind)), wanted, "{kind:?}");
        }
        let missing = Error::PlaceMissing { reason: reason::CLOUD_NOT_FOUND, message: String::new() };
        assert!(is_refused(&missing));
        assert!(why(&missing).contains("AviCloudNotFound"));
        assert!(!is_refused(&KitError::StillChanging.into()));
    }

    #[test]
    fn the_event_says_what_was_found() {
        let went = "the Cluster n/c is gone, and its finalizer was not removed by the operator: ";
        for (found, wanted) in [
            (Found::Nothing, None),
            (
                Found::Removed { objects: 3, has_user: true },
                Some((
                    "AviObjectsRemoved",
                    "removed 3 objects that AKO had left on AVI, and removed the user c-n-ako-user",
                )),
            ),
            (
                Found::Removed { objects: 1, has_user: false },
                Some(("AviObjectsRemoved", "removed 1 objects that AKO had left on AVI")),
            ),
            (
                Found::Left("why".into()),
                Some((
                    "AviObjectsLeft",
                    "what AKO made may be left on AVI, with the marks of ako-n-c, and the user c-n-ako-user: why",
                )),
            ),
        ] {
            let notice = notice(&Key::new("n", "c"), &found);
            let said = notice.as_ref().map(|notice| (notice.reason(), notice.message().to_owned()));
            assert_eq!(said, wanted.map(|(reason, text)| (reason, format!("{went}{text}"))));
        }
    }
}
