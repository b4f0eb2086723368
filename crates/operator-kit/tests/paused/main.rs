//! The driver and the Lease in paused time, with an API server in this process: hours pass in milliseconds, and every delay
//! is exact.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod lease;
mod remotes;
#[expect(dead_code, reason = "the tests on a real API server use the rest")]
#[path = "../driver/things.rs"]
mod things;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use operator_kit::{Clock, Kit, Operator, Triggers, Watch, driver};
use tokio::time::Instant;

use api::{Link, Server};
use things::{Mode, Step, Thing, ThingSpec, Things};

const PATIENCE: Duration = Duration::from_hours(48);
const OPERATOR: Operator = Operator { name: "test-operator", group: "kit.example.com", version: "1.0.0" };

struct Bench {
    server: Server,
    api: Api<Thing>,
    things: Arc<Things>,
    kit: Kit,
}

impl Bench {
    fn start() -> Self {
        let server = Server::default();
        let client = server.client(Duration::ZERO, Link::default());
        let kit =
            Kit::with_client(OPERATOR, client.clone(), Clock::starting_at(Timestamp::UNIX_EPOCH)).unwrap();
        let watch = Watch::<Thing>::namespaced(&kit);
        let things = Arc::new(Things::default());
        tokio::spawn({
            let (kit, things) = (kit.clone(), Arc::clone(&things));
            async move { driver::run(&kit, watch, Triggers::default(), things).await }
        });
        Self { server, api: Api::default_namespaced(client), things, kit }
    }

    async fn create(&self, name: &str, mode: Mode) {
        self.api.create(&PostParams::default(), &Thing::new(name, ThingSpec { mode })).await.unwrap();
    }

    /// Returns the seconds between the first `count` steps.
    async fn gaps(&self, name: &str, step: Step, count: usize) -> Vec<f64> {
        while self.things.count(name, step) < count {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let times = self.things.times(name, step);
        times.windows(2).take(count - 1).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }

    /// Refuses the next four changes of the finalizers of `well`.
    fn refuse_finalizers(&self, code: StatusCode) {
        (0..4).for_each(|_| self.server.refuse("PATCH things well", code));
    }

    /// Waits until the Ready condition has this reason, and a message with this text.
    async fn says(&self, name: &str, reason: &str, text: &str) {
        testbed::eventually(&format!("{name} says {reason}"), PATIENCE, async || {
            let object = self.server.object("things", name).unwrap_or_default();
            let ready = &object["status"]["conditions"][0];
            let message = ready["message"].as_str().unwrap_or_default();
            Ok((ready["reason"] == reason && message.contains(text)).then_some(()))
        })
        .await
        .unwrap();
    }

    fn status_writes(&self, name: &str) -> Vec<Instant> {
        self.writes(&format!("PATCH things/status {name}"))
    }

    fn finalizer_writes(&self, name: &str) -> Vec<Instant> {
        self.writes(&format!("PATCH things {name}"))
    }

    fn writes(&self, what: &str) -> Vec<Instant> {
        self.server.writes().into_iter().filter(|write| write.what == what).map(|write| write.at).collect()
    }
}

/// Returns whether a delay is `seconds`, shortened by at most a quarter.
fn about(gap: f64, seconds: f64) -> bool {
    gap <= seconds + 0.001 && gap >= seconds * 0.75 - 0.001
}

#[tokio::test(start_paused = true)]
async fn delays_after_failures_double_to_five_minutes() {
    let bench = Bench::start();
    bench.create("failing", Mode::Failing).await;
    let gaps = bench.gaps("failing", Step::Apply, 13).await;
    let wanted = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0];
    assert!(gaps.iter().zip(wanted).all(|(gap, wanted)| about(*gap, wanted)), "{gaps:?}");
    assert_eq!(bench.status_writes("failing").len(), 1, "one status for a failure that lasts");
    let (looks, tries) =
        (bench.things.count("failing", Step::Observe), bench.things.count("failing", Step::Apply));
    // The finalizer and the status wake it once each.
    assert!(looks <= tries + 2, "{looks} looks for {tries} tries");
}

#[tokio::test(start_paused = true)]
async fn a_settled_object_is_looked_at_every_twenty_minutes_and_costs_no_write() {
    let bench = Bench::start();
    bench.create("well", Mode::Well).await;
    bench.things.until("well", Step::Observe, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (looks, writes) = (bench.things.count("well", Step::Observe), bench.server.writes().len());
    let gaps = bench.gaps("well", Step::Observe, looks + 72).await;
    assert!(gaps.iter().skip(looks).all(|gap| about(*gap, 1200.0)), "{gaps:?}");
    assert_eq!(bench.server.writes().len(), writes, "a day without a change has no write");
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_looked_at_every_five_minutes() {
    let bench = Bench::start();
    bench.create("clinging", Mode::Clinging).await;
    bench.things.until("clinging", Step::Observe, 1).await;
    bench.api.delete("clinging", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let looks = bench.things.count("clinging", Step::Observe);
    let gaps = bench.gaps("clinging", Step::Observe, looks + 5).await;
    assert!(gaps.iter().skip(looks).all(|gap| about(*gap, 300.0)), "{gaps:?}");
}

/// The condition has the time of the kit's clock, and progress is written when it has lasted.
#[tokio::test(start_paused = true)]
async fn progress_is_written_after_a_fifth_of_a_second_and_success_at_once() {
    let bench = Bench::start();
    let begin = Instant::now();
    bench.create("well", Mode::Well).await;
    bench.create("awaited", Mode::Awaited).await;
    bench.create("clinging", Mode::Clinging).await;
    bench.things.until("clinging", Step::Observe, 1).await;
    let deleted = Instant::now();
    bench.api.delete("clinging", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.status_writes("well"), [begin]);
    assert_eq!(bench.status_writes("awaited"), [begin], "others wait for it");
    let waits: Vec<_> = bench.status_writes("clinging").into_iter().filter(|at| *at > deleted).collect();
    assert_eq!(waits, [deleted + Duration::from_millis(200)]);
    let status = bench.server.object("things", "clinging").unwrap()["status"].clone();
    let since: Timestamp = status["conditions"][0]["lastTransitionTime"].as_str().unwrap().parse().unwrap();
    let passed = bench.kit.clock().now().duration_since(since);
    assert!(passed.as_secs() <= 3 && since.as_second() < 60, "{since}");
}

/// No watch event follows a conflict: the object is as it was.
#[tokio::test(start_paused = true)]
async fn a_status_that_met_a_conflict_is_written_again_within_a_second() {
    let bench = Bench::start();
    let begin = Instant::now();
    // One for the first pass, and one for the pass that the event of the finalizer brings at once.
    for _ in 0..2 {
        bench.server.refuse("PATCH things/status well", StatusCode::CONFLICT);
    }
    bench.create("well", Mode::Well).await;
    bench.things.until("well", Step::Observe, 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.status_writes("well"), [begin + Duration::from_secs(1)]);
}

/// What wakes the object meanwhile, as the event of its finalizer, neither sends it sooner nor makes the delay longer.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_refused_is_tried_ever_later() {
    let bench = Bench::start();
    let begin = Instant::now();
    (0..6).for_each(|_| bench.server.refuse("PATCH things/status well", StatusCode::FORBIDDEN));
    bench.create("well", Mode::Well).await;
    bench.says("well", "Well", "").await;
    let written = bench.status_writes("well")[0] - begin;
    assert!(about(written.as_secs_f64(), 63.0), "after 1, 2, 4, 8, 16 and 32 s: {written:?}");
}

/// Nor does it become what a status says once it is written again.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_refused_holds_no_work_back() {
    let bench = Bench::start();
    (0..6).for_each(|_| bench.server.refuse("PATCH things/status working", StatusCode::FORBIDDEN));
    bench.create("working", Mode::Working).await;
    bench.things.until("working", Step::Apply, 6).await;
    let (count, begin) = (bench.things.count("working", Step::Apply), Instant::now());
    let finalizers = serde_json::json!([things::FINALIZER, "example.com/audit"]);
    let change = serde_json::json!([{"op": "add", "path": "/metadata/finalizers", "value": finalizers}]);
    let change = Patch::<()>::Json(serde_json::from_value(change).unwrap());
    bench.api.patch("working", &PatchParams::default(), &change).await.unwrap();
    bench.things.until("working", Step::Apply, count + 1).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "the event wakes it");
    bench.says("working", "Progressing", "").await;
    assert_eq!(bench.status_writes("working").len(), 1, "the refusal is in no status");
}

/// Others wait behind no object of which the operator's part is done.
#[tokio::test(start_paused = true)]
async fn an_object_that_only_others_keep_leaves_the_queues() {
    let bench = Bench::start();
    let mut thing = Thing::new("well", ThingSpec { mode: Mode::Well });
    thing.metadata.finalizers = Some(vec![things::FINALIZER.to_owned(), "example.com/audit".to_owned()]);
    bench.api.create(&PostParams::default(), &thing).await.unwrap();
    bench.says("well", "Well", "").await;
    assert_eq!(bench.things.count("well", Step::SetAside), 0);
    bench.api.delete("well", &DeleteParams::default()).await.unwrap();
    bench.says("well", driver::FINALIZERS_LEFT, "example.com/audit").await;
    bench.things.until("well", Step::SetAside, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_goes_and_is_forgotten() {
    let bench = Bench::start();
    bench.create("well", Mode::Well).await;
    bench.things.until("well", Step::Observe, 1).await;
    let uid = bench.api.get("well").await.unwrap().meta().uid.clone().unwrap();
    bench.api.delete("well", &DeleteParams::default()).await.unwrap();
    bench.things.until(&uid, Step::Forget, 1).await;
    assert_eq!(bench.server.object("things", "well"), None);
}

/// The answer of an admission policy has the code of a patch that does not fit the object any more.
#[tokio::test(start_paused = true)]
async fn a_finalizer_that_is_refused_is_reported_and_tried_ever_later() {
    for code in [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::FORBIDDEN] {
        let bench = Bench::start();
        bench.refuse_finalizers(code);
        let begin = Instant::now();
        bench.create("well", Mode::Well).await;
        bench.says("well", "KubernetesRefused", "cannot be added").await;
        bench.things.until("well", Step::Observe, 1).await;
        let added = bench.finalizer_writes("well")[0] - begin;
        assert!(about(added.as_secs_f64(), 15.0), "{code}: after 1, 2, 4 and 8 s: {added:?}");
        assert_eq!(bench.status_writes("well").len(), 2, "{code}: the refusal and the end");

        bench.refuse_finalizers(code);
        let deleted = Instant::now();
        bench.api.delete("well", &DeleteParams::default()).await.unwrap();
        bench.says("well", "KubernetesRefused", "cannot be removed").await;
        while bench.server.object("things", "well").is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let removed = bench.finalizer_writes("well")[1] - deleted;
        assert!(about(removed.as_secs_f64(), 15.0), "{code}: after 1, 2, 4 and 8 s: {removed:?}");
        assert_eq!(bench.status_writes("well").len(), 3, "{code}: one status for a refusal that lasts");
    }
}

/// A finalizer of another keeps the object as well: the status says what the operator meets until that is over.
#[tokio::test(start_paused = true)]
async fn a_refused_removal_and_a_finalizer_of_another_do_not_take_turns_in_the_status() {
    let bench = Bench::start();
    let mut thing = Thing::new("well", ThingSpec { mode: Mode::Well });
    thing.metadata.finalizers = Some(vec![things::FINALIZER.to_owned(), "example.com/audit".to_owned()]);
    bench.api.create(&PostParams::default(), &thing).await.unwrap();
    bench.says("well", "Well", "").await;
    bench.refuse_finalizers(StatusCode::FORBIDDEN);
    bench.api.delete("well", &DeleteParams::default()).await.unwrap();
    bench.says("well", "KubernetesRefused", "cannot be removed").await;
    bench.says("well", driver::FINALIZERS_LEFT, "example.com/audit").await;
    let finalizers = bench.server.object("things", "well").unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers, serde_json::json!(["example.com/audit"]));
    assert_eq!(bench.status_writes("well").len(), 4, "well, others keep it, refused, others keep it");
}

/// As many as there are workers wait for a system that answers slowly.
#[tokio::test(start_paused = true)]
async fn slow_objects_keep_no_other_from_work_and_go_on_themselves() {
    let bench = Bench::start();
    let slow: Vec<_> = (0..24).map(|n| format!("slow-{n}")).collect();
    for name in &slow {
        bench.create(name, Mode::Slow).await;
    }
    bench.create("first", Mode::Well).await;
    let (created, first) = (Instant::now(), bench.things.until("first", Step::Observe, 1));
    first.await;
    let waited = bench.things.times("first", Step::Observe)[0] - created;
    assert!(waited < Duration::from_secs(30), "it waits for one pass of those before it: {waited:?}");

    // All of them are known to be slow.
    tokio::time::sleep(Duration::from_mins(5)).await;
    for n in 0..10 {
        let name = format!("well-{n}");
        bench.create(&name, Mode::Well).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(bench.things.count(&name, Step::Observe) > 0, "{name} waits for slow objects");
    }
    let applied = || slow.iter().map(|name| bench.things.count(name, Step::Apply));
    let before: Vec<_> = applied().collect();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(applied().zip(&before).all(|(now, before)| now > *before), "each has its turn");
    bench.says("slow-0", "Progressing", "other objects are looked at in between").await;
}
