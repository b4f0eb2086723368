//! Forms of answers, and that no answer does harm: 100,000 random and mutated ones.

use serde_json::json;
use testbed::Random;

use super::*;
use crate::avi::objects::{Any, Cloud, IpamDnsProviderProfile, Network, Role, User, VirtualService};
use crate::avi::version;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
    pairs.iter().map(pair).collect()
}

fn refused(status: u16, pairs: &[(&'static str, &str)], body: &str) -> Error {
    let mut redact = Redact::default();
    redact.add(&Secret::new("hunter2"));
    parse(status, &headers(pairs), body.as_bytes(), &redact).map(drop).unwrap_err()
}

#[test]
fn bodies_of_refusals() {
    let json = [("content-type", "application/json")];
    assert_eq!(refused(400, &json, r#"{"error": "no hunter2 here"}"#).text(), "no *** here");
    assert_eq!(
        refused(405, &json, r#"{"detail": "Method 'X' not allowed."}"#).text(),
        "Method 'X' not allowed."
    );
    let csrf = refused(401, &json, "CSRF token missing or incorrect.");
    assert_eq!((csrf.kind(), csrf.text()), (Kind::Unauthorized, "CSRF token missing or incorrect."));
    let charset = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(refused(400, &charset, "bare\r\nfake log line").text(), "bare  fake log line");
    assert_eq!(refused(404, &json, "").kind(), Kind::Protocol);
    assert_eq!(
        refused(404, &json, r#"{"message": "no Route matched with those values"}"#).kind(),
        Kind::Protocol
    );
    assert_eq!(refused(403, &[], "<html>Forbidden</html>").kind(), Kind::Protocol);
    assert!(!refused(404, &json, r#"{"error": "Tenant 't' does not exist!"}"#).is_gone());
    assert!(refused(404, &json, r#"{"error": "Tenant object not found!"}"#).is_gone());
    assert_eq!(refused(502, &[], "<html>Bad Gateway</html>").text(), "HTTP 502");
    assert_eq!(refused(404, &[], "<html>nginx</html>").kind(), Kind::Protocol);
    assert_eq!(refused(404, &json, r#"{"error": "Pool object not found!"}"#).kind(), Kind::NotFound);
    assert_eq!(refused(400, &json, r#"{"error": {"name": ["hunter2"]}}"#).text(), r#"{"name":["***"]}"#);
}

#[test]
fn when_to_ask_again() {
    let after = |text: &str| {
        retry_after(&headers(&[("retry-after", text)]), "2024-11-06T08:49:37Z".parse().unwrap())
            .map(|wait| wait.as_secs())
    };
    assert_eq!(after("120"), Some(120));
    assert_eq!(after("999999999999"), Some(3600));
    assert_eq!(after("Wed, 06 Nov 2024 08:50:37 GMT"), Some(60));
    assert_eq!(after("Wed, 06 Nov 2024 08:40:37 GMT"), Some(0));
    assert_eq!(after("soon"), None);
    assert_eq!(after("-1"), None);
}

#[test]
fn cookies_to_keep() {
    let mut map = HeaderMap::new();
    for cookie in [
        "csrftoken=abc; Path=/; Secure; Max-Age=31449600",
        "avi-sessionid=\"xyz\"; HttpOnly",
        "gone=; Max-Age=0",
        "old=x; max-age=0; path=/",
        "odd",
        "=x",
        "elsewhere=x; Path=/grafana",
        "=",
    ] {
        map.append(SET_COOKIE, cookie.parse().unwrap());
    }
    let found = cookies(&map);
    let found: Vec<_> =
        found.iter().map(|(name, value)| (&**name, value.as_ref().map(Secret::expose))).collect();
    let wanted = [("csrftoken", Some("abc")), ("avi-sessionid", Some("xyz")), ("gone", None), ("old", None)];
    assert_eq!(found, wanted);
}

#[test]
fn the_next_page_is_a_query_and_nothing_more() {
    let next = |next: Value| page(json!({"count": 2, "results": [], "next": next})).map(|page| page.next);
    assert_eq!(next(json!("https://evil.example/api/pool?page=2&name=x")).unwrap().unwrap(), "page=2&name=x");
    assert_eq!(next(Value::Null).unwrap(), None);
    assert_eq!(next(json!("")).unwrap(), None);
    assert!(next(json!("https://c/api/pool")).is_err());
    assert!(next(json!("https://c/api/pool?page=2 HTTP/1.1\r\nx: y")).is_err());
    assert!(page(json!([])).is_err() && page(json!({"results": 3})).is_err());
}

#[test]
fn an_unreadable_object_is_not_quoted() {
    let error =
        typed::<User>("user", json!({"name": {"password": "hunter2"}, "access": "hunter2"})).unwrap_err();
    assert!(error.text().contains("expected") && !error.text().contains("hunter2"), "{error}");
}

/// Bodies of controllers, to be mutated.
const REAL: &[&str] = &[
    r#"{"count": 2, "results": [{"name": "a", "uuid": "pool-1"}, {"name": "b"}], "next": "https://h/api/pool?page=2"}"#,
    r#"{"error": "Concurrent Update Error"}"#,
    r#"{"detail": "Method 'DELETE' not allowed."}"#,
    "CSRF token missing or incorrect.",
    r#"{"name": "n", "configured_subnets": [{"prefix": {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24},
       "static_ranges": [{"begin": {"addr": "10.0.0.5", "type": "V4"}, "end": {"addr": "10.0.0.9", "type": "V4"}}]}]}"#,
    r#"{"name": "p", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_network_refs": ["https://h/api/network/n#x"]}}"#,
    r#"{"version": {"Version": "30.2.1"}, "session_cookie_name": "avi-sessionid", "user": {"name": "admin"}}"#,
    r#"{"name": "u", "access": [{"role_ref": "https://h/api/role/role-1#r", "all_tenants": true}], "password": null}"#,
];

/// Pseudo-random numbers for fuzzing, the same in every run.
struct Dice(Random);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0.below(sides)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.roll(most)).map(|_| self.byte()).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    fn body(&mut self) -> Vec<u8> {
        match self.roll(6) {
            0 => self.bytes(200),
            1 => (0..self.roll(60)).map(|_| self.pick(b"[]{}\":,\\u0123 eE-.tn")).collect(),
            _ => {
                let mut body = self.pick(REAL).as_bytes().to_vec();
                for _ in 0..self.roll(4) {
                    if body.is_empty() {
                        break;
                    }
                    let at = self.roll(body.len());
                    match self.roll(8) {
                        0 => body.truncate(at),
                        1 => body.insert(at, self.byte()),
                        2 => drop(body.remove(at)),
                        3 => body[at] = self.byte(),
                        // Mostly still JSON, but of another shape.
                        4 => body.splice(at..at, *b"null").for_each(drop),
                        5 => body.splice(at..at, *b"[{}]").for_each(drop),
                        6 => body.splice(at..at, self.pick(REAL).bytes()).for_each(drop),
                        _ => body[at] = self.pick(b"[]{}\":,0"),
                    }
                }
                body
            }
        }
    }

    fn headers(&mut self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for _ in 0..self.roll(4) {
            let name = self.pick(&["set-cookie", "retry-after", "content-type", "avi_api_version"]);
            let mut value = match self.roll(4) {
                0 => b"application/json".to_vec(),
                1 => b"csrftoken=a; Secure".to_vec(),
                2 => b"Wed, 06 Nov 2024 08:50:37 GMT".to_vec(),
                _ => self.bytes(40),
            };
            if self.roll(3) == 0 && !value.is_empty() {
                let at = self.roll(value.len());
                value[at] = self.byte();
            }
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(name, value);
            }
        }
        map
    }
}

#[test]
fn no_answer_makes_it_panic() {
    let mut redact = Redact::default();
    redact.add(&Secret::new("error"));
    let (mut understood, mut refused) = (0, 0);
    for case in 0..100_000_u64 {
        let mut dice = Dice(Random::new(case));
        let status = match dice.roll(3) {
            0 => u16::try_from(dice.roll(65536)).unwrap(),
            1 => 200,
            _ => dice.pick(&[201, 204, 301, 400, 401, 403, 404, 409, 412, 419, 429, 500, 503]),
        };
        let (headers, body) = (dice.headers(), dice.body());
        match parse(status, &headers, &body, &redact) {
            Ok(reply) => {
                understood += 1;
                assert!((200..300).contains(&status), "case {case}");
                drop(page(reply.body.clone()));
                for kind in ["network", "ipamdnsproviderprofile", "user"] {
                    let mut object = reply.body.clone();
                    version::modernise(kind, &mut object);
                    drop(typed::<Network>(kind, object.clone()));
                    drop(typed::<IpamDnsProviderProfile>(kind, object.clone()));
                    drop(typed::<User>(kind, object.clone()));
                    drop(version::fit(kind, &mut object, version::Version(18, 2, 6)));
                }
                drop(typed::<Role>("role", reply.body.clone()));
                drop(typed::<Cloud>("cloud", reply.body.clone()));
                drop(typed::<VirtualService>("virtualservice", reply.body.clone()));
                drop(typed::<Any>("any", reply.body));
            }
            Err(error) => {
                refused += 1;
                assert!(error.text().len() <= 512, "case {case}");
                assert!(!error.text().contains("error"), "case {case}: {error}");
                assert!((200..300).contains(&status) || error.status() == Some(status), "case {case}");
            }
        }
    }
    assert!(understood > 5_000 && refused > 20_000, "{understood} understood, {refused} refused");
}
