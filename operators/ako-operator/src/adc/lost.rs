//! Clusters that are gone without having been let go, as where a person has taken the finalizer off one that was being deleted: what they
//! have left on AVI goes, then they go from the record.
//!
//! One whose remains AVI refuses to remove is tried again, ever later, and holds nothing else up.

use std::collections::BTreeMap;
use std::time::Duration;

use infra_clients::avi::Avi;
use jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::conditions::{self, Status};
use operator_kit::names::first_few;
use operator_kit::{Key, KitError, Notice, ReconcileError as _, Turn};

use super::Adcs;
use super::plan::Plan;
use super::seen::{Departing, Seen};
use crate::api::{AkoDeploymentConfig, AkoDeploymentConfigStatus, FORCE_ANNOTATION, condition, reason};
use crate::delivery::cluster_name;
use crate::error::{Error, is_refused};
use crate::purge::{Target, purge};
use crate::user::mark::{Marks, Whose};
use crate::user::{avi, user_name};

/// After how long it is tried again first; each time twice as long, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_mins(1);
/// Shorter than the time after which the driver looks again by itself.
const LONGEST: Duration = Duration::from_mins(10);

/// A Cluster that is gone without having been let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its key.
    pub cluster: Key,
    /// Whether a person has ended the wait for AVI.
    pub is_given_up: bool,
}

/// Why such a Cluster is still in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The reason of AVI's refusal.
    pub reason: &'static str,
    /// What AVI refused, and what to do.
    pub message: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again.
    pub until: Timestamp,
}

impl Unsettled {
    /// Counts a refusal.
    fn after(before: Option<&Self>, error: &Error, now: Timestamp) -> Self {
        let tries = before.map_or(0, |before| before.tries).saturating_add(1);
        let pause = SHORTEST.saturating_mul(1 << (tries - 1).min(8)).min(LONGEST);
        Self { reason: error.reason(), message: why(error), tries, until: now + pause }
    }
}

/// Returns the Cluster that is looked for now.
pub(super) fn next(seen: &Seen, now: Timestamp) -> Option<Lost> {
    let is_given_up = seen.basis.is_deleting && seen.is_forced;
    let is_due = |cluster: &&String| {
        is_given_up || seen.unsettled.get(*cluster).is_none_or(|unsettled| now >= unsettled.until)
    };
    let cluster = seen.departing.lost.iter().find(is_due)?.parse().ok()?;
    Some(Lost { cluster, is_given_up })
}

/// Waits for what AVI refuses to remove, if nothing else keeps an AKODeploymentConfig that is being deleted.
pub(super) fn block_deletion(seen: &Seen) -> Option<Turn<Plan>> {
    if seen.delivered.iter().any(|cluster| !seen.unsettled.contains_key(cluster)) {
        return None;
    }
    let message = describe(&seen.unsettled)?;
    let message = format!("{message}; or annotate the AKODeploymentConfig with {FORCE_ANNOTATION}=true");
    Some(Turn::Blocked { reason: reason::LEFT_ON_AVI, message })
}

/// Says in the condition what AVI refuses to remove. Where that is not known yet, as after a start, the condition stays as it is.
pub(super) fn report(
    adc: &AkoDeploymentConfig,
    seen: &Seen,
    status: &mut AkoDeploymentConfigStatus,
    now: Timestamp,
) {
    if seen.departing.lost.is_empty() {
        status.conditions.retain(|known| known.type_ != condition::LOST_CLEANED_UP);
    } else if let (Some(message), Some(first)) = (describe(&seen.unsettled), seen.unsettled.values().next()) {
        let (generation, known) = (adc.metadata.generation, &mut status.conditions);
        let type_ = condition::LOST_CLEANED_UP;
        conditions::set(known, type_, Status::False, first.reason, &message, generation, now);
    }
}

/// Says what AVI refuses to remove, and what to do; `None`: nothing.
fn describe(unsettled: &BTreeMap<String, Unsettled>) -> Option<String> {
    let first = unsettled.values().next()?;
    let clusters: Vec<_> = unsettled.keys().cloned().collect();
    let marks = clusters.iter().filter_map(|cluster| cluster.parse::<Key>().ok());
    let marks: Vec<_> =
        marks.map(|cluster| format!("ako-{}", cluster_name(cluster.namespace(), cluster.name()))).collect();
    Some(format!(
        "AVI refuses to remove what Clusters have left that are gone: {}; {}; it is tried again; or remove by hand what has the marks of \
         {}, and the user of the Cluster",
        first_few(&clusters),
        first.message,
        first_few(&marks)
    ))
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
    /// AVI has a user of its name that another management cluster has made, as far as is known.
    OfOthers,
}

impl Adcs {
    /// Returns the lost Clusters whose remains AVI refused to remove.
    pub(super) fn unsettled(&self, uid: &str, departing: &Departing) -> BTreeMap<String, Unsettled> {
        let mut unsettled = self.memory.unsettled(uid);
        unsettled.retain(|cluster, _| departing.lost.contains(cluster));
        unsettled
    }

    /// Removes what a Cluster has left on AVI, then drops it from the record. Where AVI refuses that, the Cluster stays in it.
    pub(super) async fn settle(
        &self,
        adc: &AkoDeploymentConfig,
        lost: &Lost,
    ) -> Result<Option<Notice>, Error> {
        let (uid, key) = (adc.uid().unwrap_or_default(), lost.cluster.to_string());
        let found = if lost.is_given_up {
            Found::Left("the operator has not looked, as a person has ended the wait for AVI".to_owned())
        } else {
            match self.remove_left(adc, &lost.cluster).await {
                Err(error) if is_of_remains(&error) => {
                    let error = error.naming(&adc.spec);
                    let before = self.memory.unsettled(&uid).remove(&key);
                    let now = Unsettled::after(before.as_ref(), &error, self.kit.clock().now());
                    let is_new = before.is_none_or(|before| before.message != now.message);
                    let notice = is_new.then(|| notice(&lost.cluster, &Found::Left(now.message.clone())));
                    self.memory.not_settled(&uid, key, now);
                    return Ok(notice.flatten());
                }
                found => found?,
            }
        };
        let status = adc.status.clone().unwrap_or_default();
        let others = |all: Vec<String>| all.into_iter().filter(|other| *other != key).collect::<Vec<_>>();
        let (to, leaving) = (others(status.delivered_to), others(status.leaving));
        self.record_deliveries(adc, &to, &leaving, status.place.as_ref()).await?;
        self.memory.settled(&uid, &key);
        Ok(notice(&lost.cluster, &found))
    }

    async fn remove_left(&self, adc: &AkoDeploymentConfig, cluster: &Key) -> Result<Found, Error> {
        let admin = self.secrets.admin(&adc.spec).await?.map_err(Error::Credentials)?;
        let (place, uid) = (adc.place(), adc.uid().unwrap_or_default());
        let client = self.connections.client(&uid, &place.controller, &admin)?;
        let (namespace, name) = (cluster.namespace(), cluster.name());
        let (user, marks) = (user_name(namespace, name), Marks::new(&self.id));
        let has_user = match avi::whose(&client, &user, &marks).await? {
            Whose::Free => false,
            Whose::Ours => true,
            // The Cluster may never have had AKO, as AVI had this user.
            Whose::Others => return Ok(Found::OfOthers),
        };
        let status = adc.status.iter().flat_map(|status| &status.conditions);
        let was_refused = status.into_iter().any(|known| known.type_ == condition::LOST_CLEANED_UP)
            || self.memory.unsettled(&uid).contains_key(&cluster.to_string());
        if !may_be_left(has_user, adc.spec.workload_credential_ref.is_some(), was_refused) {
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
        remove(&client, &target, &user, &marks, has_user).await
    }
}

/// Returns whether a Cluster may have left something: its user is the last that is removed where AKO has one of its own, unless AVI has
/// refused to remove the rest.
fn may_be_left(has_user: bool, is_users_given: bool, was_refused: bool) -> bool {
    has_user || is_users_given || was_refused
}

/// Removes what AKO made, the user, and what AKO has made until then.
async fn remove(
    client: &Avi,
    target: &Target,
    user: &str,
    marks: &Marks,
    has_user: bool,
) -> Result<Found, Error> {
    let mut objects = match purge(client, target).await {
        Err(error) if !is_of_remains(&error) => return Err(error),
        // Without its user, AKO makes nothing more that is in the way.
        removed => removed.unwrap_or_default(),
    };
    avi::remove(client, user, &target.cluster, &target.tenant, marks).await?;
    objects += purge(client, target).await?;
    let is_nothing = objects == 0 && !has_user;
    Ok(if is_nothing { Found::Nothing } else { Found::Removed { objects, has_user } })
}

/// Returns whether the matter is what this Cluster has left, and nothing that else of AVI would fail with.
fn is_of_remains(error: &Error) -> bool {
    match error {
        Error::PlaceMissing { .. } => true,
        Error::Avi { error, .. } => is_refused(error),
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
        Found::OfOthers => {
            let message = format!(
                "{went}: the user {user} has not the mark of this management cluster: it stays, and so does what has the marks of ako-{mark}, as \
                 a Cluster of another one may use both; if none does, remove them by hand"
            );
            Some(Notice::warning(reason::LEFT_ON_AVI, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use infra_clients::avi::{self, Kind};

    use super::*;

    #[test]
    fn the_user_tells_whether_something_is_left() {
        for (has_user, is_users_given, was_refused, wanted) in [
            (true, false, false, true),
            (false, false, false, false),
            (false, true, false, true),
            (true, true, false, true),
            (false, false, true, true),
        ] {
            let is = may_be_left(has_user, is_users_given, was_refused);
            assert_eq!(is, wanted, "{has_user} {is_users_given} {was_refused}");
        }
    }

    /// Else one object that cannot be removed would hold up all that the AKODeploymentConfig does.
    #[test]
    fn only_what_avi_refuses_of_the_remains_holds_nothing_else_up() {
        let of = |kind| Error::from(avi::Error::new(kind, "as the test wants it"));
        for (kind, wanted) in [
            (Kind::Conflict, true),
            (Kind::Invalid, true),
            (Kind::Ambiguous, true),
            (Kind::Forbidden, true),
            (Kind::Stale, true),
            (Kind::NotFound, true),
            (Kind::Unreachable, false),
            (Kind::Unauthorized, false),
            (Kind::Upgrading, false),
        ] {
            assert_eq!(is_of_remains(&of(kind)), wanted, "{kind:?}");
        }
        let missing = Error::PlaceMissing { reason: reason::CLOUD_NOT_FOUND, message: String::new() };
        assert!(is_of_remains(&missing));
        assert!(why(&missing).contains("AviCloudNotFound"));
        assert!(!is_of_remains(&KitError::StillChanging.into()));
    }

    #[test]
    fn what_is_refused_is_tried_again_ever_later() {
        let error = Error::from(avi::Error::new(Kind::Forbidden, "as the test wants it"));
        let (mut known, now) = (None, Timestamp::UNIX_EPOCH);
        let mut minutes = Vec::new();
        for _ in 0..12 {
            let next = Unsettled::after(known.as_ref(), &error, now);
            minutes.push(next.until.as_second() / 60);
            known = Some(next);
        }
        assert_eq!(minutes[..6], [1, 2, 4, 8, 10, 10]);
        assert_eq!(minutes[11], 10);
        assert_eq!(known.unwrap().reason, "AviPermissionDenied");
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
            (
                Found::OfOthers,
                Some((
                    "AviObjectsLeft",
                    "the user c-n-ako-user has not the mark of this management cluster: it stays, and so does what has the marks of ako-n-c, as \
                     a Cluster of another one may use both; if none does, remove them by hand",
                )),
            ),
        ] {
            let notice = notice(&Key::new("n", "c"), &found);
            let said = notice.as_ref().map(|notice| (notice.reason(), notice.message().to_owned()));
            assert_eq!(said, wanted.map(|(reason, text)| (reason, format!("{went}{text}"))));
        }
    }
}
