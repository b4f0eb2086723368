//! SOAP over HTTPS: one request, one answer, and when there is none, exactly what is known about
//! why. Owns envelopes, deadlines and the mapping of transport errors; knows no session and never
//! sends anything twice. Bodies are never logged: one of them holds the password.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use miniserde::ser::{Fragment, Map, Serialize};
use vim_rs::core::client::{
    BoxFuture, Error as VimError, PropertyValue, Transport, VimClient, VimClientHandle,
};
use vim_rs::types::structs::{ManagedObjectReference, ServiceContent};

use super::error::{Error, Kind};
use super::fault::Fault;
use super::moref::MoRef;
use super::xml;
use crate::https::{Cut, Stage};

/// The version of the schema that answers are given in, whatever the vCenter's own.
const SOAP_ACTION: &str = "urn:vim25/6.7";

/// One method call, written out.
pub(super) struct Body {
    method: Cow<'static, str>,
    xml: String,
}

impl Body {
    pub(super) fn new(
        method: &'static str,
        this: &MoRef,
        params: Option<&(dyn Serialize + Send + Sync)>,
    ) -> Self {
        Self { method: Cow::Borrowed(method), xml: write(method, this.to_vim(), params) }
    }
}

fn write(
    method: &str,
    this: ManagedObjectReference,
    params: Option<&(dyn Serialize + Send + Sync)>,
) -> String {
    vim_rs::xml::ser::to_xml(&Call { this, params }, method)
}

/// The element of a method: the namespace, the type, `_this`, then the parameters.
struct Call<'a> {
    this: ManagedObjectReference,
    params: Option<&'a (dyn Serialize + Send + Sync)>,
}

struct CallMap<'a> {
    this: &'a ManagedObjectReference,
    params: Option<Box<dyn Map + 'a>>,
    at: usize,
}

impl Serialize for Call<'_> {
    fn begin(&self) -> Fragment<'_> {
        let params = self.params.and_then(|params| match params.begin() {
            Fragment::Map(map) => Some(map),
            _ => None,
        });
        Fragment::Map(Box::new(CallMap { this: &self.this, params, at: 0 }))
    }
}

impl Map for CallMap<'_> {
    fn next(&mut self) -> Option<(Cow<'_, str>, &dyn Serialize)> {
        // Parameters begin with their type name, which has to be written before `_this`.
        self.at += if self.at == 1 && self.params.is_none() { 2 } else { 1 };
        match self.at {
            1 => Some((Cow::Borrowed("@xmlns"), &"urn:vim25")),
            3 => Some((Cow::Borrowed("_this"), self.this)),
            _ => self.params.as_mut()?.next(),
        }
    }
}

fn envelope(body: &str, op_id: Option<&str>) -> String {
    let header = op_id.map_or_else(String::new, |op_id| {
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

/// A server.
pub(super) struct Soap {
    http: reqwest::Client,
    endpoint: String,
    agent: String,
}

impl Soap {
    pub(super) fn new(http: reqwest::Client, authority: &str, agent: String) -> Self {
        Self { http, endpoint: format!("https://{authority}/sdk"), agent }
    }

    /// Sends a call and returns the answer's envelope.
    pub(super) async fn send(
        &self,
        body: &Body,
        op_id: Option<&str>,
        deadline: Duration,
    ) -> Result<String, Error> {
        let answer = tokio::time::timeout(deadline, self.post(envelope(&body.xml, op_id))).await;
        let error = match answer {
            Ok(Ok((status, text))) if status.is_success() => {
                tracing::trace!(method = &*body.method, bytes = text.len(), "answered");
                return Ok(text);
            }
            Ok(Ok((status, text))) => refused(status, &text),
            Ok(Err(error)) => cut(&error),
            Err(_) => Error::new(Kind::Timeout, format!("no answer within {deadline:?}")).doubtful(),
        };
        tracing::debug!(method = &*body.method, %error, kind = ?error.kind(), "call failed");
        let error = error.in_method(&body.method);
        Err(if only_reads(&body.method) { error.harmless() } else { error })
    }

    async fn post(&self, envelope: String) -> Result<(reqwest::StatusCode, String), reqwest::Error> {
        let response = self
            .http
            .post(&self.endpoint)
            .header("Content-Type", "text/xml; charset=utf-8")
            .header("SOAPAction", SOAP_ACTION)
            .header("User-Agent", &self.agent)
            .body(envelope)
            .send()
            .await?;
        Ok((response.status(), response.text().await?))
    }
}

/// Whether a method changes nothing that outlives the session.
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
            | "CreatePropertyCollector"
            | "DestroyPropertyCollector"
            | "CreateFilter"
            | "WaitForUpdatesEx"
            | "CancelWaitForUpdates"
    )
}

/// An answer with an HTTP error: a fault, or a proxy's or server's own words.
fn refused(status: reqwest::StatusCode, text: &str) -> Error {
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

/// No answer at all.
fn cut(error: &reqwest::Error) -> Error {
    let cut = Cut::of(error);
    match cut.stage {
        Stage::Tls => Error::new(Kind::Tls, cut.message),
        Stage::Connect => Error::new(Kind::Unreachable, cut.message),
        Stage::Sent if cut.timeout => Error::new(Kind::Timeout, cut.message).doubtful(),
        Stage::Sent => Error::new(Kind::Unreachable, cut.message).doubtful(),
    }
}

/// The transport under the generated bindings: made for one call, it keeps that call's operation
/// id and deadline, and the reason it failed, for which the bindings have no type.
struct Bound {
    soap: Arc<Soap>,
    content: Arc<ServiceContent>,
    op_id: Option<String>,
    deadline: Duration,
    failed: Mutex<Option<Error>>,
}

/// Makes one call through the generated bindings.
pub(super) async fn bound<T, F, Fut>(
    soap: &Arc<Soap>,
    content: &Arc<ServiceContent>,
    op_id: Option<&str>,
    deadline: Duration,
    call: F,
) -> Result<T, Error>
where
    F: FnOnce(VimClientHandle) -> Fut,
    Fut: Future<Output = Result<T, VimError>>,
{
    let bound = Arc::new(Bound {
        soap: soap.clone(),
        content: content.clone(),
        op_id: op_id.map(str::to_owned),
        deadline,
        failed: Mutex::new(None),
    });
    match call(bound.clone()).await {
        Ok(result) => Ok(result),
        Err(error) => {
            let failed = bound.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            // An answer came, so the call took effect; but what it said could not be read.
            Err(failed.unwrap_or_else(|| Error::new(Kind::Protocol, error.to_string()).doubtful()))
        }
    }
}

impl Bound {
    async fn invoke(
        &self,
        mo_type: &str,
        mo_id: &str,
        method: &str,
        params: Option<&(dyn Serialize + Send + Sync)>,
    ) -> Result<String, VimError> {
        let this = MoRef::new(mo_type, mo_id).to_vim();
        let body = Body { method: Cow::Owned(method.to_owned()), xml: write(method, this, params) };
        self.soap.send(&body, self.op_id.as_deref(), self.deadline).await.map_err(|error| {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            VimError::ParseError("see `failed`".to_owned())
        })
    }
}

type Params<'a> = Option<&'a (dyn Serialize + Send + Sync)>;
type Bytes = bytes::Bytes;

impl VimClient for Bound {
    fn service_content(&self) -> &ServiceContent {
        &self.content
    }

    fn transport(&self) -> Transport {
        Transport::Soap
    }

    fn api_release(&self) -> String {
        self.content.about.api_version.clone()
    }

    fn invoke<'a>(
        &'a self,
        _svc: &'a str,
        mo_type: &'a str,
        mo_id: &'a str,
        method_name: &'a str,
        params: Params<'a>,
    ) -> BoxFuture<'a, Result<Bytes, VimError>> {
        Box::pin(async move { self.invoke(mo_type, mo_id, method_name, params).await.map(Bytes::from) })
    }

    fn invoke_optional<'a>(
        &'a self,
        _svc: &'a str,
        mo_type: &'a str,
        mo_id: &'a str,
        method_name: &'a str,
        params: Params<'a>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, VimError>> {
        Box::pin(async move {
            let answer = self.invoke(mo_type, mo_id, method_name, params).await?;
            Ok(answer.contains("returnval").then(|| Bytes::from(answer)))
        })
    }

    fn invoke_void<'a>(
        &'a self,
        _svc: &'a str,
        mo_type: &'a str,
        mo_id: &'a str,
        method_name: &'a str,
        params: Params<'a>,
    ) -> BoxFuture<'a, Result<(), VimError>> {
        Box::pin(async move { self.invoke(mo_type, mo_id, method_name, params).await.map(drop) })
    }

    /// Properties are read through the collector, never one by one.
    fn fetch_property_raw<'a>(
        &'a self,
        _svc: &'a str,
        _mo_type: &'a str,
        _mo_id: &'a str,
        _property: &'a str,
    ) -> BoxFuture<'a, Result<Option<PropertyValue>, VimError>> {
        Box::pin(async { Err(VimError::ParseError("single properties are not read".to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use reqwest::StatusCode;

    #[test]
    fn writes_calls() {
        let this = MoRef::new("Folder", "group-v3");
        let plain = Body::new("Destroy_Task", &this, None);
        assert_eq!(
            plain.xml,
            r#"<Destroy_Task xmlns="urn:vim25"><_this type="Folder">group-v3</_this></Destroy_Task>"#
        );
        let fields = super::super::updates::Fields {
            type_name: "CreateFolderRequestType",
            fields: vec![("name", &"a&b")],
        };
        let with = Body::new("CreateFolder", &this, Some(&fields));
        assert_eq!(
            with.xml,
            r#"<CreateFolder xmlns="urn:vim25" xsi:type="CreateFolderRequestType"><_this type="Folder">group-v3</_this><name>a&amp;b</name></CreateFolder>"#
        );
        assert!(envelope("", Some("a<b")).contains(">a&lt;b</operationID>"));
    }

    #[test]
    fn refusals_have_kinds() {
        let fault = r#"<s:Envelope xmlns:s="s"><s:Body><s:Fault><faultcode>x</faultcode><faultstring>words</faultstring>
            <detail><NotAuthenticatedFault xsi:type="NotAuthenticated"><privilegeId>System.View</privilegeId></NotAuthenticatedFault></detail></s:Fault></s:Body></s:Envelope>"#;
        let error = refused(StatusCode::INTERNAL_SERVER_ERROR, fault);
        assert_eq!(
            (error.kind(), error.fault(), error.in_doubt()),
            (Kind::Unauthorized, Some("NotAuthenticated"), false)
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
}
