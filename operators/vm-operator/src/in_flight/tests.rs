//! The in-flight memory: which objects a task concerns, and what is in doubt.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::*;

fn task(id: &str) -> TaskStatus {
    TaskStatus { r#ref: id.into(), kind: TaskKind::Clone, submitted_at: Time(Timestamp::UNIX_EPOCH) }
}

fn waiter(name: &str) -> Waiter {
    Waiter::Instance(Key::new("n", name))
}

#[test]
fn tasks_concern_their_owner_and_those_in_doubt_until_they_are_dealt_with() {
    let in_flight = InFlight::default();
    in_flight.track("a", &Key::new("n", "a"), "ia", Some(task("t1")));
    in_flight.track("b", &Key::new("n", "b"), "ib", None);
    in_flight.set_doubt("b", Doubt::Watching([task_ref("t1")].into()));
    let mut waiters = in_flight.waiters(&task_ref("t1"));
    waiters.sort_by_key(|waiter| format!("{waiter:?}"));
    assert_eq!(waiters, [waiter("a"), waiter("b")]);
    assert!(in_flight.is_claimed(&task_ref("t1")));
    in_flight.settle("a");
    assert!(!in_flight.is_claimed(&task_ref("t1")), "it is only watched");
    assert_eq!(in_flight.waiters(&task_ref("t1")), [waiter("b")]);
    in_flight.forget("b");
    assert!(in_flight.waiters(&task_ref("t1")).is_empty());
    assert!(in_flight.lock().tasks.is_empty());
}

#[test]
fn an_instance_of_this_process_is_not_in_doubt() {
    let in_flight = InFlight::default();
    in_flight.creating(&Key::new("n", "a"), "ours");
    in_flight.track("a", &Key::new("n", "a"), "ours", None);
    in_flight.track("b", &Key::new("n", "b"), "found", None);
    assert_eq!(in_flight.get("a").unwrap().doubt, Doubt::None);
    assert_eq!(in_flight.get("b").unwrap().doubt, Doubt::Unexamined);
    in_flight.creating(&Key::new("n", "c"), "refused");
    in_flight.not_created(&Key::new("n", "c"));
    assert!(in_flight.lock().created.is_empty());
}

#[test]
fn a_lost_response_leaves_doubt_and_a_refusal_does_not() {
    let in_flight = InFlight::default();
    in_flight.creating(&Key::new("n", "a"), "i");
    in_flight.track("a", &Key::new("n", "a"), "i", None);
    let fault = Fault::new(infra_clients::vsphere::Kind::Timeout, "no answer");
    in_flight.sending("a", TaskKind::Clone);
    in_flight.failed("a", TaskKind::Clone, fault.clone(), false);
    assert_eq!(in_flight.get("a").unwrap().doubt, Doubt::None);
    in_flight.failed("a", TaskKind::Clone, fault, true);
    in_flight.settle("a");
    assert_eq!(in_flight.get("a").unwrap().doubt, Doubt::ResponseLost);
    assert!(in_flight.is_busy("a"));
}
