//! Requests as the routing reads them and replies as hyper writes them. No rule of the API is here.

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

/// A body beyond this is refused: the biggest object of a controller has a few megabytes.
const MAX_BODY: usize = 16 << 20;
/// How long a client may take to send a body.
pub(super) const BODY_TIME: Duration = Duration::from_mins(1);

/// One request, read to its end.
pub(super) struct Request {
    pub(super) method: Method,
    /// The path as it came, slashes and all.
    pub(super) path: String,
    /// What stands behind `?`, undecoded; empty if nothing.
    pub(super) query: String,
    /// The path's parts, decoded, without the empty ones: `//api/pool/` is `["api", "pool"]`.
    pub(super) segments: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// Reads the body. An error when it is cut short, too long, or has not ended within `time`: what follows on the
    /// connection is no request then.
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

    /// A header's value. What is no text is no good value, and not the same as none.
    pub(super) fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// Every value of a cookie, in order: clients repeat names within one header and over several.
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

    /// Whether it changes something.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::new(400, format!("Invalid JSON in request body: {error}")))
    }

    /// The body's fields, from JSON or from a form, whichever it is.
    pub(super) fn fields(&self) -> Result<Vec<(String, String)>, ApiError> {
        let kind = self.header(CONTENT_TYPE.as_str());
        let kind = kind.as_deref().and_then(|kind| kind.split(';').next());
        if kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Ok(pairs(&String::from_utf8_lossy(&self.body)).collect());
        }
        let Value::Object(fields) = self.json()? else {
            return Err(ApiError::new(400, "the request's body is no JSON object"));
        };
        let text = |value: Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Ok(fields.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect())
    }

    /// The first value of a parameter of the query, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// `a=1&b=x+y%20z`, decoded.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Empty,
    Json(Value),
    /// Text under a content type of its own.
    Text(&'static str, String),
}

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
}

pub(super) const JSON: &str = "application/json";

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty }
    }

    pub(super) fn json(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(value) }
    }

    pub(super) fn text(status: u16, content_type: &'static str, text: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Text(content_type, text.into()) }
    }

    /// Adds a header. One that cannot be written is left out: values come from clients and from faults.
    pub(super) fn header(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
    }

    pub(super) fn version(&mut self, version: Version) {
        self.header(HeaderName::from_static("avi_api_version"), &version.to_string());
    }

    /// Whether HTTP lets it have a body, be it an empty one.
    pub(super) fn has_body(&self, method: &Method) -> bool {
        *method != Method::HEAD && !matches!(self.status, 204 | 304)
    }

    /// Says that the connection ends with this reply.
    pub(super) fn last(&mut self) {
        self.header(CONNECTION, "close");
    }

    pub(super) fn retry_after(&mut self, seconds: u64) {
        self.header(RETRY_AFTER, &seconds.to_string());
    }

    /// The reply for hyper; only its first half, and then a broken connection, if `half`.
    pub(super) fn into_response(self, half: bool) -> Response<Payload> {
        let (content_type, bytes) = match self.content {
            Content::Empty => (None, Bytes::new()),
            Content::Json(value) => (Some(JSON), Bytes::from(value.to_string())),
            Content::Text(content_type, text) => (Some(content_type), Bytes::from(text)),
        };
        let length = bytes.len();
        let payload = if half {
            // A body announced as longer than it is breaks off even where there is nothing to halve.
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

/// A body: whole, or breaking off.
pub(super) struct Payload {
    rest: Option<Bytes>,
    length: usize,
    ending: Ending,
}

#[derive(Clone, Copy)]
enum Ending {
    Whole,
    /// What was written so far must leave the machine before the connection breaks.
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

    /// Sends what it has and never ends.
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
