//! HTTP requests and responses: reads a request from hyper, converts a response for hyper. Has no rule of the API.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::error::ErrorBody;
use crate::{ApiError, Version};

/// The largest request body, in bytes; larger ones are refused. The largest object of a controller has a few megabytes.
const MAX_BODY: usize = 16 << 20;
/// The time within which a client must send the body of a request.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// A request that was received completely.
pub(super) struct Request {
    pub(super) method: Method,
    /// The path as received, not decoded.
    pub(super) path: String,
    /// The query, not decoded; empty if there is none.
    pub(super) query: String,
    /// The decoded segments of the path without the empty ones: `//api/pool/` is `["api", "pool"]`.
    pub(super) segments: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// Receives the body. Fails if it breaks off, is too long, or does not end within `time`. After an error the
    /// connection must be closed, because the rest of the body may follow on it.
    pub(super) async fn read<B>(parts: Parts, body: B, time: Duration) -> Result<Self, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let too_long = || ApiError::new(413, format!("the request's body has more than {MAX_BODY} bytes"));
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(too_long());
        }
        let body = timeout(time, Limited::new(body, MAX_BODY).collect())
            .await
            .map_err(|_| ApiError::new(408, format!("the request's body did not end within {time:?}")))?
            .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => too_long(),
                None => ApiError::new(400, format!("cannot read the request's body: {error}")),
            })?
            .to_bytes();
        let path = parts.uri.path().to_owned();
        let segments = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Self { method: parts.method, path, query, segments, headers: parts.headers, body })
    }

    /// Returns a header's value. Bytes that are not UTF-8 become U+FFFD: such a header is wrong, but not missing.
    pub(super) fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// Returns every value of a cookie, in order: clients repeat a name within a header and in several headers.
    pub(super) fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value.trim_matches('"'))
    }

    /// Returns whether the method may change something.
    pub(super) fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Parses the body as JSON.
    pub(super) fn parse_json(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::new(400, format!("Invalid JSON in request body: {error}")))
    }

    /// Parses the body's fields, from a form or from JSON as the content type says.
    pub(super) fn parse_fields(&self) -> Result<Vec<(String, String)>, ApiError> {
        let kind = self.header(CONTENT_TYPE.as_str());
        let kind = kind.as_deref().and_then(|kind| kind.split(';').next());
        if kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Ok(parse_pairs(&String::from_utf8_lossy(&self.body)).collect());
        }
        let Value::Object(fields) = self.parse_json()? else {
            return Err(ApiError::new(400, "the request's body is not a JSON object"));
        };
        let text = |value: Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Ok(fields.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect())
    }

    /// Returns the first value of a query parameter, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        parse_pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Parses and decodes `a=1&b=x+y%20z`.
fn parse_pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// The body of a reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Empty,
    Json(Value),
    /// A content type and the text.
    Text(&'static str, String),
}

/// A response before its conversion for hyper.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
}

/// The content type of JSON.
pub(super) const JSON: &str = "application/json";

impl Reply {
    /// Creates a reply without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty }
    }

    /// Creates a reply with a JSON body.
    pub(super) fn json(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(value) }
    }

    /// Creates a reply with a text.
    pub(super) fn text(status: u16, content_type: &'static str, text: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Text(content_type, text.into()) }
    }

    /// Adds a header. Skips it if the value is not valid: values come from clients and from faults.
    pub(super) fn add_header(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
    }

    /// Sets the header with the API version of the reply.
    pub(super) fn set_version(&mut self, version: Version) {
        self.add_header(HeaderName::from_static("avi_api_version"), &version.to_string());
    }

    /// Returns whether HTTP allows a body for this method and status.
    pub(super) fn has_body(&self, method: &Method) -> bool {
        *method != Method::HEAD && !matches!(self.status, 204 | 304)
    }

    /// Announces that the connection closes after this reply.
    pub(super) fn close_connection(&mut self) {
        self.add_header(CONNECTION, "close");
    }

    /// Sets `Retry-After`.
    pub(super) fn set_retry_after(&mut self, seconds: u64) {
        self.add_header(RETRY_AFTER, &seconds.to_string());
    }

    /// Converts the reply for hyper. With `half`, only the first half of the body is sent and the connection breaks.
    pub(super) fn into_response(self, half: bool) -> Response<Payload> {
        let (content_type, bytes) = match self.content {
            Content::Empty => (None, Bytes::new()),
            Content::Json(value) => (Some(JSON), Bytes::from(value.to_string())),
            Content::Text(content_type, text) => (Some(content_type), Bytes::from(text)),
        };
        let length = bytes.len();
        let payload = if half {
            // At least one byte is announced, so that the response breaks off even if the body is empty.
            Payload { rest: Some(bytes.slice(..length / 2)), length: length.max(1), ending: Ending::Flush }
        } else {
            Payload { rest: Some(bytes).filter(|bytes| !bytes.is_empty()), length, ending: Ending::Whole }
        };
        let mut response = Response::new(payload);
        *response.status_mut() =
            http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        match error.body {
            ErrorBody::Error(text) => Reply::json(error.status, json!({ "error": text })),
            ErrorBody::Detail(text) => Reply::json(error.status, json!({ "detail": text })),
            ErrorBody::Raw(text) => Reply::text(error.status, JSON, text),
        }
    }
}

/// The body of a response: complete, or breaking off.
pub(super) struct Payload {
    rest: Option<Bytes>,
    length: usize,
    ending: Ending,
}

#[derive(Clone, Copy)]
enum Ending {
    Whole,
    /// Lets hyper send the bytes it has before the connection breaks.
    Flush,
    Break,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.ending {
            Ending::Whole => Poll::Ready(None),
            Ending::Flush => {
                self.ending = Ending::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ending::Break => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && matches!(self.ending, Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    /// Yields its bytes, then never ends.
    struct Endless(Option<Bytes>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    async fn read<B>(body: B, time: Duration) -> Result<Bytes, u16>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, ()) = http::Request::new(()).into_parts();
        Request::read(parts, body, time).await.map(|request| request.body).map_err(|error| error.status)
    }

    #[tokio::test]
    async fn bodies_are_bounded_in_time_and_size() {
        let whole = Bytes::from(vec![b'x'; MAX_BODY]);
        let more = Bytes::from(vec![b'x'; MAX_BODY + 1]);
        let long = Duration::from_hours(1);
        assert_eq!(read(Endless(Some(Bytes::from_static(b"{"))), Duration::from_millis(1)).await, Err(408));
        assert_eq!(read(Endless(Some(more.clone())), long).await, Err(413));
        assert_eq!(read(Full::new(more), long).await, Err(413));
        assert_eq!(read(Full::new(whole.clone()), long).await, Ok(whole));
    }
}
