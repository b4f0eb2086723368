//! How large an answer may be: in bytes, and in the JSON values that its reader makes of them.

use http::Uri;

use crate::capi::clients::Limits;

/// Bytes of the largest answer for each value that it may have. Definitions of kinds, which have the most, take more on average.
const BYTES_OF_VALUE: usize = 64;
/// Where definitions of kinds are.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How large an answer may be, or a line of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Largest {
    bytes: usize,
    values: usize,
}

impl Largest {
    /// Returns the limit for an answer from this address.
    pub(super) fn of(uri: &Uri, limits: &Limits) -> Self {
        let is_definition = uri.path().starts_with(DEFINITIONS);
        let bytes = if is_definition { limits.definition_size } else { limits.answer_size };
        Self { bytes, values: bytes / BYTES_OF_VALUE }
    }

    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// Returns what is wrong with a whole body.
    pub(super) fn refuse(self, body: &[u8]) -> Option<String> {
        let mut measured = Measured::default();
        measured.read(body);
        self.excess(measured).map(|what| format!("an answer of more than {what}"))
    }

    /// Returns what there is too much of.
    pub(super) fn excess(self, measured: Measured) -> Option<String> {
        if measured.bytes > self.bytes {
            return Some(format!("{} bytes", self.bytes));
        }
        (measured.values > self.values).then(|| format!("{} JSON values", self.values))
    }
}

/// What was counted of a JSON text. Whatever is no JSON counts for something: its reader stops there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    bytes: usize,
    /// At least the values: each follows an opening bracket or a comma, itself or with its key.
    values: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Measured {
    /// Counts a part of the text.
    pub(super) fn read(&mut self, part: &[u8]) {
        self.bytes += part.len();
        for byte in part {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_text => self.is_escaped = true,
                b'"' => self.is_in_text = !self.is_in_text,
                b',' | b'[' | b'{' if !self.is_in_text => self.values += 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::Value;

    use super::*;

    fn limit(path: &'static str) -> Largest {
        Largest::of(&Uri::from_static(path), &Limits::default())
    }

    /// Of the largest definition, HTTPRoute of the Gateway API 1.4, each value takes 84 bytes on average, and there are 285 KiB.
    #[test]
    fn definitions_may_be_larger() {
        for (path, bytes) in [
            ("/api/v1/namespaces/avi-system/configmaps/avi-k8s-config", 256 << 10),
            (
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io",
                512 << 10,
            ),
            (
                "/apis/x/v1/customresourcedefinitions/y?/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                256 << 10,
            ),
        ] {
            let Largest { bytes: found, values } = limit(path);
            assert_eq!((found, values), (bytes, bytes / 64), "{path}");
        }
    }

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (text, values) in [
            ("1", 0),
            ("[]", 1),
            ("[1,2,3]", 3),
            (r#"{"a":{"b":[1,2]},"c":""}"#, 5),
            (r#"{"a":"[1,2,{}]"}"#, 1),
            (r#"{"a\"[,":"\\","b":[","]}"#, 3),
        ] {
            // Wherever the parts end.
            for end in 0..text.len() {
                let (one, other) = text.as_bytes().split_at(end);
                let mut measured = Measured::default();
                measured.read(one);
                measured.read(other);
                assert_eq!((measured.values, measured.bytes), (values, text.len()), "{text} at {end}");
            }
        }
    }

    /// Counts the values that a reader has made of an answer.
    fn made(value: &Value) -> usize {
        1 + match value {
            Value::Array(list) => list.iter().map(made).sum(),
            Value::Object(map) => map.values().map(made).sum(),
            _ => 0,
        }
    }

    /// Whatever a server sends, what is parsed has no more values than the limit says: those of the largest text that passes are counted.
    #[test]
    fn no_answer_is_parsed_into_more_values_than_its_limit_says() {
        let limit = limit("/api/v1/namespaces/avi-system/secrets/avi-secret");
        for (begin, unit, end) in [
            (r#"{"a":["#, "{}", "]}"),
            (r#"{"a":["#, "[]", "]}"),
            (r#"{"a":["#, "[[[[0]]]]", "]}"),
            (r#"{"a":["#, "0", "]}"),
            (r#"{"a":["#, r#"{"":0}"#, "]}"),
            (r#"{"a":["#, r#"{"":{"":{"":""}}}"#, "]}"),
            (r#"{"metadata":{"managedFields":["#, r#"{"fieldsV1":{"":{}}}"#, "]}}"),
        ] {
            let text = |times: usize| format!("{begin}{}{end}", vec![unit; times].join(","));
            let passes = |times: &usize| limit.refuse(text(*times).as_bytes()).is_none();
            let times = (0..).step_by(100).take_while(passes).last().unwrap();
            let largest = text(times);
            let parsed: DynamicObject = serde_json::from_str(&largest).unwrap();
            let made = made(&serde_json::to_value(parsed).unwrap());
            assert!((1000..=limit.values).contains(&made), "{unit}: {made} of {times}");
            let refused = limit.refuse(text(5000).as_bytes()).unwrap();
            assert_eq!(refused, "an answer of more than 4096 JSON values");
        }
        let large = limit.refuse(&vec![b' '; (256 << 10) + 1]).unwrap();
        assert_eq!(large, "an answer of more than 262144 bytes");
    }
}
