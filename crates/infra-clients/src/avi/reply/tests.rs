//! What answers look like, and that none of them can do harm: 100,000 random and mutated ones.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

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
    assert_eq!((csrf.kind(), csrf.text()), (Kind::Auth, "CSRF token missing or incorrect."));
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
    for cookie in
        ["csrftoken=abc; Path=/; Secure", "avi-sessionid=\"xyz\"; HttpOnly", "gone=; Max-Age=0", "odd", "=x"]
    {
        map.append(SET_COOKIE, cookie.parse().unwrap());
    }
    let found: Vec<_> =
        cookies(&map).into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
    assert_eq!(found, [("csrftoken".into(), "abc".into()), ("avi-sessionid".to_owned(), "xyz".to_owned())]);
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

/// Bodies that controllers send, to be mutated.
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

fn body() -> impl Strategy<Value = Vec<u8>> {
    let mutated =
        (0..REAL.len(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..6));
    let mutated = mutated.prop_map(|(which, changes)| {
        let mut body = REAL[which].as_bytes().to_vec();
        for (at, byte, how) in changes {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.truncate(at),
                _ => body.insert(at, byte),
            }
        }
        body
    });
    prop_oneof![3 => mutated, 1 => prop::collection::vec(any::<u8>(), 0..200), 1 => "[\\[{\":,}a-z0-9\\]]{0,60}".prop_map(String::into_bytes)]
}

fn some_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec!["set-cookie", "retry-after", "content-type", "avi_api_version"]);
    let value = prop_oneof![
        Just(b"application/json".to_vec()),
        Just(b"csrftoken=a; Secure".to_vec()),
        Just(b"Wed, 06 Nov 2024 08:50:37 GMT".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec((name, value), 0..4).prop_map(|pairs| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(name, value);
            }
        }
        map
    })
}

#[test]
fn no_answer_makes_it_panic() {
    let status = prop_oneof![
        prop::sample::select(vec![200_u16, 201, 204, 301, 400, 401, 403, 404, 409, 412, 419, 429, 500, 503]),
        any::<u16>()
    ];
    let mut runner =
        TestRunner::new(Config { cases: 100_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&(status, some_headers(), body()), |(status, headers, body)| {
            let mut redact = Redact::default();
            redact.add(&Secret::new("error"));
            match parse(status, &headers, &body, &redact) {
                Ok(reply) => {
                    prop_assert!((200..300).contains(&status));
                    drop(page(reply.body.clone()));
                    for kind in ["network", "ipamdnsproviderprofile", "user"] {
                        let mut object = reply.body.clone();
                        version::modernise(kind, &mut object);
                        drop(version::fit(kind, &mut object, version::Version(18, 2, 6)));
                    }
                    let mut object = reply.body;
                    version::modernise("network", &mut object);
                    drop(typed::<Network>("network", object.clone()));
                    drop(typed::<IpamDnsProviderProfile>("ipamdnsproviderprofile", object.clone()));
                    drop(typed::<User>("user", object.clone()));
                    drop(typed::<Role>("role", object.clone()));
                    drop(typed::<Cloud>("cloud", object.clone()));
                    drop(typed::<VirtualService>("virtualservice", object.clone()));
                    drop(typed::<Any>("any", object));
                }
                Err(error) => {
                    prop_assert!(error.text().len() <= 512);
                    prop_assert!((200..300).contains(&status) || error.status() == Some(status));
                }
            }
            Ok(())
        })
        .unwrap();
}
