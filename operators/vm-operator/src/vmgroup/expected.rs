//! What the watch cache will say once it has caught up with this process's own writes to one group's
//! instances. Without it, a pass over an old cache would delete a second instance for the first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;

use crate::api::VmInstance;

use super::plan::Member;

/// After this long the cache is believed, whatever was expected.
const PATIENCE: Duration = Duration::from_mins(1);

/// One group's writes that the cache may not show yet.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    created: HashMap<String, (Member, Instant)>,
    deleted: HashMap<String, Instant>,
}

impl Expected {
    /// An instance was made.
    pub fn created(&mut self, member: Member, now: Instant) {
        self.created.insert(member.uid.clone(), (member, now));
    }

    /// An instance was asked to go.
    pub fn deleted(&mut self, uid: String, now: Instant) {
        self.deleted.insert(uid, now);
    }

    /// Forgets what the cache shows by now, and what is too old.
    pub fn settle(&mut self, cache: &[Arc<VmInstance>], now: Instant) {
        let fresh = |since: &Instant| now.duration_since(*since) < PATIENCE;
        let find = |uid: &str| cache.iter().find(|i| i.metadata.uid.as_deref() == Some(uid));
        self.created.retain(|uid, (_, since)| fresh(since) && find(uid).is_none());
        self.deleted.retain(|uid, since| {
            fresh(since)
                && (self.created.contains_key(uid)
                    || find(uid).is_some_and(|i| i.metadata.deletion_timestamp.is_none()))
        });
    }

    /// Whether this process asked the instance to go.
    #[must_use]
    pub fn is_deleted(&self, uid: &str) -> bool {
        self.deleted.contains_key(uid)
    }

    /// Instances this process made that the cache does not show.
    pub fn not_yet_seen(&self, cache: &[Arc<VmInstance>]) -> Vec<Member> {
        let shown = |uid: &str| cache.iter().any(|i| i.uid().as_deref() == Some(uid));
        let members = self.created.values().filter(|(m, _)| !shown(&m.uid));
        members.map(|(m, _)| Member { deleting: self.is_deleted(&m.uid), ..m.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::VmInstanceSpec;

    fn member(uid: &str) -> Member {
        Member {
            name: uid.into(),
            uid: uid.into(),
            slot: 0,
            deleting: false,
            exists: false,
            on: false,
            begun: false,
            asked: String::new(),
            made_from: None,
            trouble: None,
        }
    }

    fn cached(uid: &str) -> Arc<VmInstance> {
        let spec = VmInstanceSpec {
            group: "g".into(),
            group_uid: "u".into(),
            slot: 0,
            vm_name: "g-0".into(),
            instance_uuid: String::new(),
            cpu: 1,
            memory: 1,
            template: "t".into(),
        };
        let mut instance = VmInstance::new(uid, spec);
        instance.metadata.uid = Some(uid.into());
        Arc::new(instance)
    }

    #[test]
    fn a_write_counts_until_the_cache_shows_it() {
        let now = Instant::now();
        let mut expected = Expected::default();
        expected.created(member("a"), now);
        assert_eq!(expected.not_yet_seen(&[]).len(), 1);
        assert_eq!(expected.not_yet_seen(&[cached("a")]), []);
        expected.settle(&[cached("a")], now);
        assert_eq!(expected.not_yet_seen(&[]), [], "seen once, the cache is believed");

        expected.deleted("a".into(), now);
        expected.settle(&[cached("a")], now);
        assert!(expected.is_deleted("a"), "the cache still shows it alive");
        expected.settle(&[], now);
        assert!(!expected.is_deleted("a"));
    }

    #[test]
    fn an_expectation_that_never_comes_true_expires() {
        let now = Instant::now();
        let mut expected = Expected::default();
        expected.created(member("a"), now);
        expected.settle(&[], now + PATIENCE);
        assert_eq!(expected.not_yet_seen(&[]), []);
    }
}
