//! What this process remembers beside the caches: what is in flight, what is to be requested, and which instance clones next.
//! Knows neither server. Changed by the steps `apply` and by answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_clients::vsphere::MoRef;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_kit::{Key, Triggers};

use crate::api::{TaskKind, TaskStatus, VmGroup, VmInstance};
use crate::clone_queue::{CloneQueue, Place};
use crate::in_flight::{InFlight, RequestState, task_ref};
use crate::lines::GroupId;
use crate::requests::Requests;

/// How long a clone holds a place in the clone queue, and how long one that no record names puts instances in doubt.
pub const LONGEST_CLONE: Duration = Duration::from_hours(1);
/// How long clones of other groups have been in flight when the instances that wait for their places say so.
const SLOW_CLONE: SignedDuration = SignedDuration::from_mins(10);

/// Who has a place in the clone queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An instance.
    Instance(Key),
    /// The clone of an instance that is gone, by the instance's UID.
    Left(String),
}

/// The clones of other groups that hold places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jam {
    /// How many there are.
    pub clones: usize,
    /// When the oldest was requested.
    pub since: Timestamp,
}

/// The memory of one process.
pub struct Memory {
    /// Id of the cluster.
    pub cluster: String,
    /// What was requested from the vCenter.
    pub in_flight: InFlight,
    /// What is to be requested.
    pub requests: Requests,
    /// Which instance clones next.
    pub clone_queue: Mutex<CloneQueue<Holder>>,
    /// The clones of instances that are gone, by the instance's UID: each keeps its place until it ends. `None` until the
    /// request is answered.
    left: Mutex<BTreeMap<String, Option<TaskStatus>>>,
    /// Wakes instances.
    pub instance_triggers: Triggers<VmInstance>,
    /// Wakes groups.
    pub group_triggers: Triggers<VmGroup>,
}

impl Memory {
    /// Creates the memory of a process that has just started, in the cluster of this id.
    #[must_use]
    pub fn new(cluster: String, max_clones: usize) -> Self {
        Self {
            cluster,
            in_flight: InFlight::default(),
            requests: Requests::default(),
            clone_queue: Mutex::new(CloneQueue::new(max_clones)),
            left: Mutex::default(),
            instance_triggers: Triggers::default(),
            group_triggers: Triggers::default(),
        }
    }

    /// Returns an instance's place in the clone queue.
    #[must_use]
    pub fn place(&self, instance: &Key) -> Place {
        self.queue().place(&Holder::Instance(instance.clone()))
    }

    /// Puts an instance into the clone queue, and wakes it to clone or to report that it waits.
    pub fn enqueue(&self, instance: &Key, group_uid: &str) {
        self.queue().enter(&group_id(instance, group_uid), &Holder::Instance(instance.clone()));
        self.instance_triggers.wake(instance);
    }

    /// Takes a place for an instance whose clone is in flight already.
    pub fn hold_place(&self, instance: &Key, group_uid: &str) {
        self.queue().hold(&group_id(instance, group_uid), &Holder::Instance(instance.clone()));
    }

    /// Takes an instance out of the clone queue, and wakes those that may clone now.
    pub fn leave_queue(&self, instance: &Key) {
        self.leave(&Holder::Instance(instance.clone()));
    }

    /// Returns the clones of other groups that hold places, where the oldest is slow.
    #[must_use]
    pub fn jam(&self, group_uid: &str, now: Timestamp) -> Option<Jam> {
        let others: Vec<Holder> = self.queue().held_by_others(group_uid).cloned().collect();
        let (clones, left) = (self.in_flight.clones(), self.left());
        let since = |holder: &Holder| match holder {
            Holder::Instance(key) => clones.get(key).copied(),
            Holder::Left(uid) => left.get(uid)?.as_ref().map(|task| task.submitted_at.0),
        };
        let since = others.iter().filter_map(since).min()?;
        (now.duration_since(since) >= SLOW_CLONE).then_some(Jam { clones: others.len(), since })
    }

    /// Gives the places away of clones that take too long, and of those that have ended after their instance had gone.
    pub fn sweep(&self, now: Timestamp, has_ended: impl Fn(&MoRef) -> bool) {
        let is_slow = |since: Timestamp| {
            Duration::try_from(now.duration_since(since)).is_ok_and(|age| age >= LONGEST_CLONE)
        };
        let clones = self.in_flight.clones().into_iter().filter(|(_, since)| is_slow(*since));
        let mut slow: Vec<Holder> = clones.map(|(key, _)| Holder::Instance(key)).collect();
        let mut ended = Vec::new();
        self.left().retain(|uid, task| {
            let Some(task) = task else { return true };
            let (holder, is_over) = (Holder::Left(uid.clone()), has_ended(&task_ref(&task.r#ref)));
            if is_over {
                ended.push(holder);
            } else if is_slow(task.submitted_at.0) {
                slow.push(holder);
            }
            !is_over
        });
        for holder in &ended {
            self.leave(holder);
        }
        for holder in &slow {
            let next = self.queue().expire(holder);
            self.wake(&next);
        }
    }

    /// Returns whether a task is the clone of an instance that is gone.
    #[must_use]
    pub fn is_left(&self, task: &MoRef) -> bool {
        self.left().values().flatten().any(|left| left.r#ref == task.value())
    }

    /// Records the answer to a request of an instance that may be gone, once it is in `in_flight`: the task, if it has led to one.
    pub fn answered(&self, uid: &str, task: Option<&TaskStatus>) {
        let mut left = self.left();
        let Some(entry) = left.get_mut(uid) else { return };
        *entry = task.cloned();
        if task.is_none() {
            left.remove(uid);
            drop(left);
            self.leave(&Holder::Left(uid.to_owned()));
        }
    }

    /// Forgets an instance that is gone. Its clone that is in flight keeps its place: a vCenter goes on with it.
    pub fn forget(&self, uid: &str) {
        let is_unsent = self.requests.forget(uid);
        // Held throughout: an answer is recorded here after it is in `in_flight`, so that it is found in one of both.
        let mut left = self.left();
        let request = self.in_flight.get(uid).and_then(|entry| entry.request);
        let Some(key) = self.in_flight.forget(uid) else { return };
        let task = match request {
            Some(RequestState::Sending(TaskKind::Clone)) if !is_unsent => None,
            Some(RequestState::Task(task)) if task.kind == TaskKind::Clone => Some(task),
            _ => {
                drop(left);
                return self.leave_queue(&key);
            }
        };
        left.insert(uid.to_owned(), task);
        self.queue().rename(&Holder::Instance(key), &Holder::Left(uid.to_owned()));
    }

    /// Takes an instance that no pass works on, or whose pass has failed, out of the clone queue, unless its clone is in flight. The
    /// answer to a request and the end of a task wake the instance, which is set aside again then.
    pub fn set_aside(&self, instance: &Key, uid: &str, has_ended: impl Fn(&MoRef) -> bool) {
        let is_cloning = match self.in_flight.get(uid).and_then(|entry| entry.request) {
            Some(RequestState::Sending(TaskKind::Clone)) => true,
            Some(RequestState::Task(task)) => {
                task.kind == TaskKind::Clone && !has_ended(&task_ref(&task.r#ref))
            }
            _ => false,
        };
        if !is_cloning {
            self.leave_queue(instance);
        }
    }

    /// Forgets a group that is gone.
    pub fn forget_group(&self, uid: &str) {
        self.in_flight.forget_group(uid);
        self.requests.forget(uid);
    }

    fn leave(&self, holder: &Holder) {
        let next = self.queue().leave(holder);
        self.wake(&next);
    }

    fn wake(&self, holders: &[Holder]) {
        for holder in holders {
            if let Holder::Instance(key) = holder {
                self.instance_triggers.wake(key);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, CloneQueue<Holder>> {
        self.clone_queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, BTreeMap<String, Option<TaskStatus>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a copy, for the model.
    #[cfg(test)]
    pub fn copy(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            in_flight: self.in_flight.copy(),
            requests: self.requests.copy(),
            clone_queue: Mutex::new(self.queue().clone()),
            left: Mutex::new(self.left().clone()),
            instance_triggers: self.instance_triggers.clone(),
            group_triggers: self.group_triggers.clone(),
        }
    }

    /// Returns all that a pass can observe, for the model. `state` says how far the refresh of a ticket is.
    #[cfg(test)]
    pub fn text(&self, state: impl Fn(infra_clients::vsphere::vms::Ticket) -> u64) -> String {
        let (queue, left) = (self.queue().text(), format!("{:?}", *self.left()));
        format!("{}\n{queue}\n{left}\n{}", self.in_flight.text(state), self.requests.text())
    }
}

fn group_id(instance: &Key, group_uid: &str) -> GroupId {
    (instance.namespace().to_owned(), group_uid.to_owned())
}

#[cfg(test)]
mod tests {
    use infra_clients::vsphere::{Error as Fault, Kind};

    use super::*;
    use crate::requests::{self, Call, Request, Subject};

    const MINUTE: i64 = 60;

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A process with one place, and an instance `hog` of the group `g` that has it and requests a clone.
    fn cloning() -> Memory {
        let memory = Memory::new("cluster".into(), 1);
        memory.in_flight.track("hog", &key("hog"), "uuid", None);
        memory.enqueue(&key("hog"), "g");
        memory.in_flight.sending("hog", TaskKind::Clone);
        memory.requests.push(request("hog", "g"));
        memory
    }

    fn request(uid: &str, group: &str) -> Request {
        let subject = subject(uid);
        Request {
            group: ("n".into(), group.into()),
            subject,
            call: Call::PowerOn(MoRef::new("VirtualMachine", "vm-1")),
        }
    }

    fn subject(uid: &str) -> Subject {
        Subject::Instance { uid: uid.into(), key: key(uid), kind: TaskKind::Clone }
    }

    fn answer(memory: &Memory, second: i64) {
        requests::answer(memory, subject("hog"), Ok(Some(task_ref("t"))), at(second));
    }

    /// An instance of another group comes, and another of that name; both wait.
    fn have_others_wait(memory: &Memory) {
        for (name, group) in [("web", "h"), ("hog", "g")] {
            memory.enqueue(&key(name), group);
            assert_eq!(memory.place(&key(name)), Place::Waiting, "{name}");
        }
    }

    #[test]
    fn the_clone_of_an_instance_that_is_gone_keeps_its_place_until_it_ends() {
        let memory = cloning();
        memory.requests.pop().unwrap();
        memory.forget("hog");
        memory.forget("hog");
        have_others_wait(&memory);
        answer(&memory, 0);
        assert!(memory.is_left(&task_ref("t")));
        memory.sweep(at(1), |_| false);
        assert_eq!(memory.place(&key("web")), Place::Waiting);
        memory.sweep(at(2), |task| *task == task_ref("t"));
        assert_eq!(memory.place(&key("web")), Place::Held);
        assert!(!memory.is_left(&task_ref("t")));
    }

    #[test]
    fn a_clone_that_was_answered_before_its_instance_went_keeps_its_place_too() {
        let memory = cloning();
        memory.requests.pop().unwrap();
        answer(&memory, 0);
        memory.forget("hog");
        have_others_wait(&memory);
        memory.sweep(at(60 * MINUTE), |_| false);
        assert_eq!(memory.place(&key("web")), Place::Held, "for an hour at most");
        assert!(memory.is_left(&task_ref("t")), "it has not ended");
    }

    #[test]
    fn a_clone_that_was_not_sent_or_was_refused_keeps_no_place() {
        let memory = cloning();
        memory.forget("hog");
        memory.enqueue(&key("web"), "h");
        assert_eq!(memory.place(&key("web")), Place::Held, "it was still in the queue of requests");

        let memory = cloning();
        memory.requests.pop().unwrap();
        memory.forget("hog");
        have_others_wait(&memory);
        requests::answer(&memory, subject("hog"), Err(Fault::new(Kind::Forbidden, "no")), at(0));
        assert_eq!(memory.place(&key("web")), Place::Held);

        let memory = cloning();
        memory.requests.pop().unwrap();
        memory.forget("hog");
        have_others_wait(&memory);
        requests::take_back(&memory, &subject("hog"));
        assert_eq!(memory.place(&key("web")), Place::Held, "its session had ended");
    }

    #[test]
    fn an_instance_that_does_not_parse_keeps_its_place_only_while_it_clones() {
        let memory = cloning();
        memory.enqueue(&key("web"), "h");
        let set_aside = |name: &str, has_ended: bool| {
            memory.set_aside(&key(name), name, |_| has_ended);
            memory.place(&key("web"))
        };
        assert_eq!(set_aside("hog", true), Place::Waiting, "its clone is requested");
        answer(&memory, 0);
        assert_eq!(set_aside("hog", false), Place::Waiting, "its clone runs");
        assert_eq!(set_aside("hog", true), Place::Held, "its clone has ended");
        assert_eq!(set_aside("web", true), Place::None);

        let memory = cloning();
        memory.enqueue(&key("web"), "h");
        requests::answer(&memory, subject("hog"), Err(Fault::new(Kind::Forbidden, "no")), at(0));
        memory.set_aside(&key("hog"), "hog", |_| false);
        assert_eq!(memory.place(&key("web")), Place::Held, "its clone was refused");
    }

    #[test]
    fn a_clone_holds_a_place_for_an_hour() {
        let memory = cloning();
        answer(&memory, 0);
        memory.enqueue(&key("web"), "h");
        assert_eq!(memory.jam("h", at(10 * MINUTE - 1)), None);
        assert_eq!(memory.jam("h", at(10 * MINUTE)), Some(Jam { clones: 1, since: at(0) }));
        assert_eq!(memory.jam("g", at(10 * MINUTE)), None, "its own clone");
        for (second, place) in
            [(0, Place::Waiting), (60 * MINUTE - 1, Place::Waiting), (60 * MINUTE, Place::Held)]
        {
            memory.sweep(at(second), |_| false);
            assert_eq!(memory.place(&key("web")), place, "after {second} s");
        }
        assert_eq!(memory.place(&key("hog")), Place::Held);
    }

    #[test]
    fn requests_of_a_group_wait_for_its_own() {
        let memory = Memory::new("cluster".into(), 1);
        let push = |uid: &str, group: &str| memory.requests.push(request(uid, group));
        (0..20).for_each(|n| push(&format!("hog-{n}"), "hog"));
        push("web-0", "web");
        let pop = || memory.requests.pop().map(|request| request.group.1);
        assert_eq!([pop(), pop()], [Some("hog".into()), Some("web".into())], "the group with the fewest");
        assert_eq!((0..20).map_while(|_| pop()).count(), 7, "eight of one group");
        push("web-1", "web");
        assert_eq!((pop().as_deref(), pop()), (Some("web"), None));
        memory.requests.done(&("n".into(), "hog".into()));
        assert_eq!((pop().as_deref(), pop()), (Some("hog"), None));
        assert!(memory.requests.forget("hog-19") && !memory.requests.forget("hog-19"));
        assert_eq!(memory.requests.depth(), 10);
    }

    /// The tests' `request` is of the namespace `n`.
    #[test]
    fn requests_of_a_namespace_leave_places_to_others() {
        let memory = Memory::new("cluster".into(), 1);
        for n in 0..40 {
            memory.requests.push(request(&format!("hog-{n}"), &format!("hog-{}", n % 4)));
        }
        let of_other = |uid: &str| {
            let request = request(uid, "web");
            memory.requests.push(Request { group: ("other".into(), "web".into()), ..request });
        };
        let pop = || memory.requests.pop().map(|request| request.group);
        assert_eq!((0..40).map_while(|_| pop()).count(), 16, "half of all places");
        of_other("web-0");
        assert_eq!((pop().map(|(namespace, _)| namespace), pop()), (Some("other".into()), None));
        memory.requests.done(&("n".into(), "hog-0".into()));
        assert_eq!(pop().map(|(namespace, _)| namespace), Some("n".into()));
    }
}
