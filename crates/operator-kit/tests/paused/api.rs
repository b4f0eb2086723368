//! An API server in this process, for tests in paused time: lists, watches, creates, replaces, applies statuses, patches
//! finalizers, deletes. It can be slow, stop answering until a given time, or refuse a write.
//!
//! It has no schema, no admission and no field ownership. What depends on these is tested on a real API server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

type Reply = UnsyncBoxBody<Bytes, kube::Error>;

/// The server. Clones share the objects.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    /// By plural, namespace and name.
    objects: BTreeMap<[String; 3], Value>,
    watches: Vec<(String, mpsc::UnboundedSender<Value>)>,
    writes: Vec<Write>,
    /// Writes that are to be refused, once each, and with which code.
    refusals: Vec<(String, StatusCode)>,
}

/// A write that the server has carried out.
#[derive(Clone, Debug)]
pub struct Write {
    pub at: Instant,
    /// `PATCH things/status web`.
    pub what: String,
}

/// Whether a client reaches the server. A test changes it while requests are under way.
#[derive(Clone, Debug, Default)]
pub struct Link(Arc<Mutex<Option<Instant>>>);

impl Link {
    /// Holds all requests until then, those that are under way included.
    pub fn cut_until(&self, end: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    async fn pass(&self) {
        loop {
            let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match end {
                Some(end) if end > Instant::now() => tokio::time::sleep_until(end).await,
                _ => return,
            }
        }
    }
}

impl Server {
    /// Returns a client whose requests and responses each take `latency` and pass `link`.
    pub fn client(&self, latency: Duration, link: Link) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, link) = (server.clone(), link.clone());
            async move {
                tokio::time::sleep(latency).await;
                link.pass().await;
                let response = server.serve(request).await?;
                tokio::time::sleep(latency).await;
                link.pass().await;
                Ok::<_, kube::Error>(response)
            }
        });
        Client::new(service, "default")
    }

    /// Returns the writes so far.
    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    /// Refuses the next such write.
    pub fn refuse(&self, what: &str, code: StatusCode) {
        self.state().refusals.push((what.to_owned(), code));
    }

    /// Returns an object.
    pub fn object(&self, plural: &str, name: &str) -> Option<Value> {
        self.state().objects.get(&key(plural, name)).cloned()
    }

    /// Restores all objects as they were at the start, which is none, and counts versions from there.
    pub fn restore(&self) {
        let mut state = self.state();
        (state.version, state.objects) = (0, BTreeMap::new());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, request: Request<Body>) -> Result<Response<Reply>, kube::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        // After the group and version: namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE, or PLURAL for all namespaces.
        let skip = if parts.first() == Some(&"api") { 2 } else { 3 };
        let parts = parts.get(skip..).unwrap_or_default();
        let parts =
            if parts.first() == Some(&"namespaces") { parts.get(2..).unwrap_or_default() } else { parts };
        let (plural, name, sub) =
            (parts.first().copied().unwrap_or_default(), parts.get(1).copied(), parts.get(2).copied());
        let watches = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        Ok(match (head.method, name) {
            (Method::GET, None) if watches => self.watch(plural),
            (Method::GET, None) => self.list(plural),
            (Method::GET, Some(name)) => answer(self.object(plural, name)),
            (method, name) => self.write(&method, plural, name, sub, &body),
        })
    }

    fn list(&self, plural: &str) -> Response<Reply> {
        let state = self.state();
        let items: Vec<&Value> =
            state.objects.iter().filter(|(key, _)| key[0] == plural).map(|(_, object)| object).collect();
        json_response(
            StatusCode::OK,
            &json!({ "metadata": { "resourceVersion": state.version.to_string() }, "items": items }),
        )
    }

    /// Sends the changes from now on: clients list before, and nothing happens in between.
    fn watch(&self, plural: &str) -> Response<Reply> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().watches.push((plural.to_owned(), sender));
        Response::new(StreamBody::new(lines(receiver)).boxed_unsync())
    }

    fn write(
        &self,
        method: &Method,
        plural: &str,
        name: Option<&str>,
        sub: Option<&str>,
        body: &Value,
    ) -> Response<Reply> {
        let name = name
            .map_or_else(|| body["metadata"]["name"].as_str().unwrap_or_default().to_owned(), str::to_owned);
        let key = key(plural, &name);
        let slash = sub.map(|sub| format!("/{sub}")).unwrap_or_default();
        let what = format!("{method} {plural}{slash} {name}");
        let mut state = self.state();
        if let Some(position) = state.refusals.iter().position(|(refused, _)| *refused == what) {
            return refusal(state.refusals.remove(position).1, &name);
        }
        let old = state.objects.get(&key).cloned();
        let new = match changed(method, old.as_ref(), sub, body) {
            Ok(new) => new,
            Err(code) => return refusal(code, &name),
        };
        state.version += 1;
        state.writes.push(Write { at: Instant::now(), what });
        let object = state.store(key, old.is_some(), new);
        json_response(StatusCode::OK, &object)
    }
}

impl State {
    /// Stores an object, or removes one that is being deleted and has no finalizer, and tells the watches.
    fn store(&mut self, key: [String; 3], existed: bool, mut object: Value) -> Value {
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let has_finalizer = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        let ends = object["metadata"]["deletionTimestamp"].is_string() && !has_finalizer;
        let change = if ends {
            "DELETED"
        } else if existed {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let event = json!({ "type": change, "object": object });
        self.watches.retain(|(plural, watch)| *plural != key[0] || watch.send(event.clone()).is_ok());
        if ends {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, object.clone());
        }
        object
    }
}

/// Returns the object after a write, or the status code of the refusal.
fn changed(
    method: &Method,
    old: Option<&Value>,
    sub: Option<&str>,
    body: &Value,
) -> Result<Value, StatusCode> {
    let mut object = match (method, old) {
        (&Method::POST, Some(_)) => return Err(StatusCode::CONFLICT),
        (&Method::POST, None) => {
            let mut object = body.clone();
            object["metadata"]["uid"] = format!("uid-of-{}", object["metadata"]["name"]).into();
            object["metadata"]["namespace"] = "default".into();
            object["metadata"]["generation"] = 1.into();
            return Ok(object);
        }
        (_, None) => return Err(StatusCode::NOT_FOUND),
        (_, Some(old)) => old.clone(),
    };
    match (method, sub) {
        (&Method::PUT, _) => {
            if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                return Err(StatusCode::CONFLICT);
            }
            object["spec"] = body["spec"].clone();
        }
        (&Method::DELETE, _) => object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
        (&Method::PATCH, Some("status")) => {
            let version = &body["metadata"]["resourceVersion"];
            if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                return Err(StatusCode::CONFLICT);
            }
            object["status"] = body["status"].clone();
        }
        (&Method::PATCH, _) => {
            for step in body.as_array().cloned().unwrap_or_default() {
                let path = step["path"].as_str().unwrap_or_default();
                let now = object.pointer(path).cloned().unwrap_or_default();
                if step["op"] == "test" && now != step["value"] {
                    return Err(StatusCode::UNPROCESSABLE_ENTITY);
                }
                if step["op"] == "add" && path == "/metadata/finalizers" {
                    object["metadata"]["finalizers"] = step["value"].clone();
                }
            }
        }
        _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
    }
    Ok(object)
}

fn key(plural: &str, name: &str) -> [String; 3] {
    [plural.to_owned(), "default".to_owned(), name.to_owned()]
}

fn lines(events: mpsc::UnboundedReceiver<Value>) -> impl Stream<Item = Result<Frame<Bytes>, kube::Error>> {
    let events = stream::unfold(events, async |mut events| Some((events.recv().await?, events)));
    events.map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))))
}

fn answer(object: Option<Value>) -> Response<Reply> {
    match object {
        Some(object) => json_response(StatusCode::OK, &object),
        None => refusal(StatusCode::NOT_FOUND, ""),
    }
}

fn refusal(code: StatusCode, name: &str) -> Response<Reply> {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "Invalid",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "refused", "reason": reason,
        "code": code.as_u16(), "details": { "name": name },
    });
    json_response(code, &status)
}

fn json_response(code: StatusCode, body: &Value) -> Response<Reply> {
    let mut response =
        Response::new(Full::from(body.to_string()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = code;
    response
}
