//! SOAP over HTTPS: one request, one answer, and without an answer what is known about why. Owns envelopes, time
//! limits, the size limit and the mapping of transport errors; knows no session and never sends a request twice.
//! Never logs a body: one of them holds the password.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use miniserde::ser::{Fragment, Map, Serialize};
use reqwest::{RequestBuilder, StatusCode};
use vim_rs::types::structs::ManagedObjectReference;

use super::error::{Error, Kind};
use super::fault::Fault;
use super::moref::MoRef;
use super::observe::{Exchange, Observer};
use super::value::Value;
use super::xml;
use crate::https::{Cut, Stage};

/// The schema version that answers are given in, whatever the vCenter's own version is.
const SOAP_ACTION: &str = "urn:vim25/6.7";

/// A call of a method.
pub(super) struct Call<'a> {
    method: &'static str,
    this: &'a MoRef,
    params: Vec<(&'static str, Value<'a>)>,
    op_id: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Creates a call without parameters.
    pub(super) fn new(method: &'static str, this: &'a MoRef) -> Self {
        Self { method, this, params: Vec::new(), op_id: None }
    }

    /// Adds a parameter. Parameters are sent in the order of the schema.
    pub(super) fn with(mut self, name: &'static str, value: Value<'a>) -> Self {
        self.params.push((name, value));
        self
    }

    /// Sets the operation id, which vCenter shows in its logs and on the task.
    pub(super) fn op_id(mut self, op_id: &'a str) -> Self {
        self.op_id = Some(op_id);
        self
    }

    /// Returns the object that the method belongs to.
    pub(super) fn this(&self) -> &MoRef {
        self.this
    }

    /// Adds what a caller needs to know of the call to its error.
    pub(super) fn failed(&self, error: Error) -> Error {
        let error = error.in_method(self.method);
        if only_reads(self.method) { error.harmless() } else { error }
    }

    /// Returns the error of an answer that came and could not be understood: the call may have taken effect.
    pub(super) fn not_understood(&self, error: Error) -> Error {
        self.failed(error.doubtful())
    }

    fn envelope(&self) -> String {
        let element = Element { this: self.this.to_vim(), params: &self.params };
        let body = vim_rs::xml::ser::to_xml(&element, self.method);
        let header = self.op_id.map_or_else(String::new, |op_id| {
            let id = quick_xml::escape::escape(op_id);
            format!("<soapenv:Header><operationID xmlns=\"urn:vim25\">{id}</operationID></soapenv:Header>")
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             {header}<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
        )
    }
}

/// Returns whether a method changes nothing that outlives the session.
fn only_reads(method: &str) -> bool {
    matches!(
        method,
        "RetrieveServiceContent"
            | "Login"
            | "Logout"
            | "CurrentTime"
            | "RetrievePropertiesEx"
            | "ContinueRetrievePropertiesEx"
            | "CreateContainerView"
            | "DestroyView"
            | "CreatePropertyCollector"
            | "DestroyPropertyCollector"
            | "CreateFilter"
            | "WaitForUpdatesEx"
            | "CancelWaitForUpdates"
            | "HasUserPrivilegeOnEntities"
    )
}

/// The element of a method: the namespace, `_this`, then the parameters.
struct Element<'a> {
    this: ManagedObjectReference,
    params: &'a [(&'static str, Value<'a>)],
}

struct ElementMap<'b, 'a> {
    element: &'b Element<'a>,
    at: usize,
}

impl Serialize for Element<'_> {
    fn begin(&self) -> Fragment<'_> {
        Fragment::Map(Box::new(ElementMap { element: self, at: 0 }))
    }
}

impl Map for ElementMap<'_, '_> {
    fn next(&mut self) -> Option<(Cow<'_, str>, &dyn Serialize)> {
        let at = self.at;
        self.at += 1;
        match at {
            0 => Some((Cow::Borrowed("@xmlns"), &"urn:vim25")),
            1 => Some((Cow::Borrowed("_this"), &self.element.this)),
            _ => {
                let param = self.element.params.get(at - 2);
                param.map(|(name, value)| (Cow::Borrowed(*name), *value as &dyn Serialize))
            }
        }
    }
}

/// A server.
pub(super) struct Soap {
    http: reqwest::Client,
    endpoint: String,
    agent: String,
    max_answer: usize,
    observer: Option<Observer>,
}

impl Soap {
    pub(super) fn new(
        http: reqwest::Client,
        authority: &str,
        agent: String,
        max_answer: usize,
        observer: Option<Observer>,
    ) -> Self {
        Self { http, endpoint: format!("https://{authority}/sdk"), agent, max_answer, observer }
    }

    /// Sends a call and returns the answer's envelope, which is this method's answer as far as its beginning tells.
    pub(super) async fn send(&self, call: &Call<'_>, deadline: Duration) -> Result<String, Error> {
        let begun = Instant::now();
        let result = self.exchange(call, deadline).await;
        if let Some(observer) = &self.observer {
            let (method, error, elapsed) = (call.method, result.as_ref().err(), begun.elapsed());
            observer.hear(&Exchange { method, error, elapsed });
        }
        result
    }

    async fn exchange(&self, call: &Call<'_>, deadline: Duration) -> Result<String, Error> {
        let method = call.method;
        let answer = tokio::time::timeout(deadline, self.post(call.envelope())).await;
        let error = match answer {
            Ok(Ok((status, text))) if status.is_success() => match xml::check_answer(&text, method) {
                Ok(()) => {
                    tracing::trace!(method, bytes = text.len(), "answered");
                    return Ok(text);
                }
                Err(error) => error.doubtful(),
            },
            Ok(Ok((status, text))) => refused(status, &text),
            Ok(Err(error)) => error,
            Err(_) => Error::new(Kind::Timeout, format!("no answer within {deadline:?}")).doubtful(),
        };
        let error = call.failed(error);
        tracing::debug!(method, %error, kind = ?error.kind(), "call failed");
        Err(error)
    }

    async fn post(&self, envelope: String) -> Result<(StatusCode, String), Error> {
        let request = self
            .http
            .post(&self.endpoint)
            .header("Content-Type", "text/xml; charset=utf-8")
            .header("SOAPAction", SOAP_ACTION)
            .header("User-Agent", &self.agent)
            .body(envelope);
        Box::pin(self.answer(request)).await
    }

    /// Returns the client of HTTP, whose cookies are the session.
    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request that is no call.
    pub(super) async fn ask(
        &self,
        request: RequestBuilder,
        deadline: Duration,
    ) -> Result<(StatusCode, String), Error> {
        let request = request.header("User-Agent", &self.agent);
        let late = || Error::new(Kind::Timeout, format!("no answer within {deadline:?}"));
        tokio::time::timeout(deadline, Box::pin(self.answer(request))).await.map_err(|_| late())?
    }

    async fn answer(&self, request: RequestBuilder) -> Result<(StatusCode, String), Error> {
        let mut response = request.send().await.map_err(|error| cut(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| cut(&error))? {
            if body.len() + chunk.len() > self.max_answer {
                let message = format!("the answer is larger than {} bytes", self.max_answer);
                return Err(Error::new(Kind::AnswerTooLarge, message).doubtful());
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body)
            .map_err(|_| Error::new(Kind::Protocol, "the answer is not UTF-8").doubtful())?;
        Ok((response.status(), text))
    }
}

/// Reads an answer with an HTTP error: a fault, or what a proxy or the server answered instead.
fn refused(status: StatusCode, text: &str) -> Error {
    if let Ok(Some(fault)) = xml::first(text, "Fault") {
        let words = fault.child("faultstring").map(|words| words.text.clone()).unwrap_or_default();
        return match fault.child("detail").and_then(|detail| detail.children.first()) {
            Some(detail) => Error::of_fault(Fault { text: words, ..detail.fault() }),
            None => Error::new(Kind::Protocol, format!("SOAP fault without a type: {words}")),
        };
    }
    let message = format!("HTTP {status}");
    match status.as_u16() {
        429 => Error::new(Kind::RateLimited, message),
        // A gateway that answers in the server's place may have passed the request on.
        502..=504 => Error::new(Kind::Unavailable, message).doubtful(),
        500..=599 => Error::new(Kind::Protocol, message).doubtful(),
        _ => Error::new(Kind::Protocol, message),
    }
}

/// Returns the error of no answer, or not the whole of it.
fn cut(error: &reqwest::Error) -> Error {
    let cut = Cut::of(error);
    match cut.stage {
        Stage::Tls => Error::new(Kind::Tls, cut.message),
        Stage::Connect => Error::new(Kind::Unreachable, cut.message),
        Stage::Sent if cut.timeout => Error::new(Kind::Timeout, cut.message).doubtful(),
        Stage::Sent => Error::new(Kind::Unreachable, cut.message).doubtful(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn writes_calls() {
        let this = MoRef::new("Folder", "group-v3");
        let plain = Call::new("Destroy_Task", &this);
        assert!(plain.envelope().ends_with(
            r#"<soapenv:Body><Destroy_Task xmlns="urn:vim25"><_this type="Folder">group-v3</_this></Destroy_Task></soapenv:Body></soapenv:Envelope>"#
        ));
        let with = Call::new("CreateFolder", &this).with("name", &"a&b").op_id("a<b");
        let envelope = with.envelope();
        assert!(envelope.contains(
            r#"<CreateFolder xmlns="urn:vim25"><_this type="Folder">group-v3</_this><name>a&amp;b</name></CreateFolder>"#
        ));
        assert!(envelope.contains(">a&lt;b</operationID>"));
    }

    #[test]
    fn refusals_have_kinds() {
        let fault = r#"<s:Envelope xmlns:s="s"><s:Body><s:Fault><faultcode>x</faultcode><faultstring>words</faultstring>
            <detail><NotAuthenticatedFault xsi:type="NotAuthenticated"><privilegeId>System.View</privilegeId></NotAuthenticatedFault></detail></s:Fault></s:Body></s:Envelope>"#;
        let error = refused(StatusCode::INTERNAL_SERVER_ERROR, fault);
        assert_eq!(
            (error.kind(), error.fault(), error.in_doubt()),
            (Kind::SessionEnded, Some("NotAuthenticated"), false)
        );
        for (status, kind, in_doubt) in [
            (429, Kind::RateLimited, false),
            (503, Kind::Unavailable, true),
            (502, Kind::Unavailable, true),
            (500, Kind::Protocol, true),
            (404, Kind::Protocol, false),
        ] {
            let error = refused(StatusCode::from_u16(status).unwrap(), "<html>no");
            assert_eq!((error.kind(), error.in_doubt()), (kind, in_doubt), "{status}");
        }
    }

    #[test]
    fn a_read_is_never_in_doubt() {
        let this = MoRef::new("PropertyCollector", "propertyCollector");
        for (method, in_doubt) in [("RetrievePropertiesEx", false), ("PowerOnVM_Task", true)] {
            let error = Call::new(method, &this).not_understood(Error::new(Kind::Protocol, ""));
            assert_eq!((error.in_doubt(), error.method()), (in_doubt, Some(method)));
        }
    }
}
