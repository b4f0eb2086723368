//! Watches of clusters whose API servers answer with what was not asked for, without end.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, client::Body};
use operator_kit::{Key, Remote, Remotes};
use serde_json::{Value, json};

use super::*;

type Reply = UnsyncBoxBody<Bytes, kube::Error>;

/// What a server answers.
#[derive(Clone, Copy, Debug)]
enum Answers {
    /// What was asked for.
    Honest,
    /// A list with other objects.
    OtherObjects,
    /// A list with the object and its copies.
    Copies,
    /// A list whose pages have no end, and nothing in them.
    EmptyPages,
    /// A list whose pages have no end.
    Pages,
    /// A watch with other objects, without end.
    OtherEvents,
    /// A watch of the object, which is created and deleted without end.
    Flood,
    /// A watch of the object with long UIDs.
    LongUids,
    /// Watches that end at once.
    ShortWatches,
}

use Answers::*;

/// A server, and how much it was asked.
struct Hostile {
    answers: Mutex<Answers>,
    requests: AtomicUsize,
    /// Events and pages that were read.
    sent: AtomicUsize,
}

impl Hostile {
    fn new(answers: Answers) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers), requests: 0.into(), sent: 0.into() })
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, kube::Error>(server.answer(&request))
            }
        });
        Client::new(service, "default")
    }

    fn answer(self: &Arc<Self>, request: &Request<Body>) -> Response<Reply> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answers = *self.answers.lock().unwrap();
        let query = request.uri().query().unwrap_or_default();
        assert!(
            query.contains("fieldSelector=metadata.namespace%3Dn%2Cmetadata.name%3Dasked-for"),
            "{query}"
        );
        if query.contains("watch=true") { self.watch(answers) } else { self.list(answers) }
    }

    fn list(&self, answers: Answers) -> Response<Reply> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let asked_for = |uid: &str| config("asked-for", uid);
        let other = |n: usize| config(&format!("other-{n}"), "o");
        let items: Vec<_> = match answers {
            OtherObjects => (0..200).map(other).chain([asked_for("a")]).collect(),
            Copies => (0..200).map(|n| asked_for(&format!("a-{n}"))).collect(),
            EmptyPages => Vec::new(),
            Pages => (0..12).map(|n| other(12 * number + n)).collect(),
            _ => vec![asked_for("a")],
        };
        let token = if matches!(answers, EmptyPages | Pages) { "more" } else { "" };
        let list = json!({"metadata": {"resourceVersion": "1", "continue": token}, "items": items});
        Response::new(Full::from(list.to_string()).map_err(|never| match never {}).boxed_unsync())
    }

    fn watch(self: &Arc<Self>, answers: Answers) -> Response<Reply> {
        let server = Arc::clone(self);
        let events = stream::iter(0_usize..).map(move |n| {
            server.sent.fetch_add(1, Ordering::Relaxed);
            let (what, object) = match answers {
                OtherEvents => ("ADDED", config(&format!("other-{n}"), "o")),
                LongUids => ("DELETED", config("asked-for", &format!("{n:060000}"))),
                Flood if n % 2 == 0 => ("DELETED", config("asked-for", &format!("a-{n}"))),
                _ => ("ADDED", config("asked-for", &format!("a-{n}"))),
            };
            Ok(Frame::data(Bytes::from(format!("{}\n", json!({"type": what, "object": object})))))
        });
        Response::new(match answers {
            Flood | OtherEvents | LongUids => StreamBody::new(events).boxed_unsync(),
            ShortWatches => Full::from("").map_err(|never| match never {}).boxed_unsync(),
            _ => StreamBody::new(stream::pending()).boxed_unsync(),
        })
    }
}

fn config(name: &str, uid: &str) -> Value {
    let metadata = json!({"namespace": "n", "name": name, "uid": uid, "resourceVersion": "2"});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
}

fn kit() -> Kit {
    let client = Server::default().client(Duration::ZERO, Link::default());
    Kit::with_client(OPERATOR, client, Clock::default()).unwrap()
}

fn remotes(kit: &Kit) -> Remotes<ConfigMap> {
    let asked_for = Key::new("n", "asked-for");
    Remotes::new(kit, "remote", move |watch| watch.only(&asked_for), |_| {})
}

fn start(remotes: &Remotes<ConfigMap>, name: &str, server: &Arc<Hostile>) -> Remote<ConfigMap> {
    let key = Key::new("clusters", name);
    remotes.start(&key, "1", &server.client());
    remotes.get(&key).unwrap()
}

async fn until(goal: &str, is_reached: impl Fn() -> bool) {
    testbed::eventually(goal, PATIENCE, async || Ok(is_reached().then_some(()))).await.unwrap();
}

fn has_only_what_was_asked_for(remote: &Remote<ConfigMap>) -> bool {
    remote.objects().cache().keys() == [Key::new("n", "asked-for")]
}

/// Whatever one server answers, its cache has at most the object that was asked for, and the other cluster is not disturbed.
#[tokio::test(start_paused = true)]
async fn a_server_that_answers_without_end_fills_no_memory() {
    for (answers, finds, problem) in [
        (OtherObjects, true, "more than n/asked-for"),
        (Copies, true, "more than n/asked-for"),
        (EmptyPages, false, "more than n/asked-for"),
        (Pages, false, "more than n/asked-for"),
        (OtherEvents, true, "more than n/asked-for"),
        (LongUids, true, "more than n/asked-for"),
        (ShortWatches, true, "the server ends a watch before 5 s are over"),
    ] {
        let (kit, hostile, honest) = (kit(), Hostile::new(answers), Hostile::new(Honest));
        let ready = kit.readiness("test");
        ready.ready();
        let remotes = remotes(&kit);
        let (bad, good) = (start(&remotes, "bad", &hostile), start(&remotes, "good", &honest));
        until(&format!("{answers:?}: the problem is known"), || bad.problem().is_some()).await;
        assert!(bad.problem().unwrap().contains(problem), "{answers:?}: {:?}", bad.problem());
        // Ten minutes later it is no better, and costs no more than the pauses allow.
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert!(bad.objects().cache().len() <= 1, "{answers:?}");
        assert_eq!(has_only_what_was_asked_for(&bad), finds, "{answers:?}");
        assert!(bad.problem().is_some(), "{answers:?}: it still misbehaves");
        let (requests, sent) =
            (hostile.requests.load(Ordering::Relaxed), hostile.sent.load(Ordering::Relaxed));
        assert!(requests < 1000 && sent < 1000, "{answers:?}: {requests} requests, {sent} answers");
        assert!(has_only_what_was_asked_for(&good) && good.problem().is_none(), "{answers:?}");
        assert!(kit.health().report().0, "{}", kit.health().report().1);

        *hostile.answers.lock().unwrap() = Honest;
        until(&format!("{answers:?}: it is over"), || bad.problem().is_none()).await;
        assert!(bad.is_complete() && has_only_what_was_asked_for(&bad), "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_without_end_are_read_slowly() {
    let (kit, hostile) = (kit(), Hostile::new(Flood));
    let remotes = remotes(&kit);
    let remote = start(&remotes, "bad", &hostile);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let sent = hostile.sent.load(Ordering::Relaxed);
    assert!((1000..=6100).contains(&sent), "{sent}");
    assert!(remote.objects().cache().len() <= 1);
}
