//! Injected faults and their effect on the configuration.

use std::time::{Duration, Instant};

use avi_simulator::{Effect, Fault};
use serde_json::json;

use crate::rig::{Got, Rig, until};

async fn pools(rig: &Rig, login: &crate::rig::Login) -> u64 {
    rig.get(login, "/api/pool").await.is(200).json()["count"].as_u64().unwrap()
}

#[tokio::test]
async fn a_status_fault_affects_the_given_number_of_requests() {
    let rig = Rig::start().await;
    let control = rig.sim.control();
    let login = rig.admin().await;
    let what = Effect::Status { code: 503, body: Some("<busy>".to_owned()), retry_after: Some(7) };
    control.fault(Fault::new(what).on("POST", "/api/pool").times(2));
    for name in ["a", "b"] {
        let got = rig.send(&login, "POST", "/api/pool", json!({ "name": name })).await.is(503);
        assert_eq!((got.text.as_str(), got.headers["retry-after"].to_str().unwrap()), ("<busy>", "7"));
    }
    assert_eq!(pools(&rig, &login).await, 0);
    rig.send(&login, "POST", "/api/pool", json!({ "name": "c" })).await.is(201);

    control.fault(Fault::status(419).under("/api").skip(1));
    rig.get(&login, "/api/pool").await.is(200);
    rig.get(&login, "/api/pool").await.is(419);
    rig.get(&login, "/api/cloud").await.is(419);
    rig.admin().await;
    control.clear_faults();
    rig.get(&login, "/api/pool").await.is(200);
}

#[tokio::test]
async fn a_cut_before_has_no_effect_and_a_cut_after_has() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let post = async |name: &str| {
        rig.request(&login, "POST", "/api/pool").json(&json!({ "name": name })).send().await
    };
    rig.sim.control().fault(Fault::new(Effect::CutBefore).on("POST", "/api/pool").times(1));
    assert!(post("before").await.is_err());
    assert_eq!(pools(&rig, &login).await, 0);
    rig.sim.control().fault(Fault::new(Effect::CutAfter).on("POST", "/api/pool").times(1));
    assert!(post("after").await.is_err());
    assert_eq!(pools(&rig, &login).await, 1);
    let cut: Vec<u16> = rig
        .sim
        .control()
        .requests()
        .iter()
        .filter(|request| request.method == "POST" && request.path == "/api/pool")
        .map(|request| request.status)
        .collect();
    assert_eq!(cut, [0, 0]);
}

#[tokio::test]
async fn half_a_reply_is_an_error_for_the_client() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    rig.sim.control().fault(Fault::new(Effect::HalfReply).on("POST", "/api/pool").times(1));
    let request = rig.request(&login, "POST", "/api/pool").json(&json!({ "name": "p" }));
    let mut response = request.send().await.expect("the head of the response");
    assert_eq!(response.status(), 201);
    let length = usize::try_from(response.content_length().unwrap()).unwrap();
    let mut got = 0;
    let ended = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got += chunk.len(),
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "the client did not notice the missing half");
    assert_eq!(got, length / 2);
    assert_eq!(pools(&rig, &login).await, 1);

    // A response without a body is dropped.
    let made = rig.get(&login, "/api/pool?name=p").await.json();
    rig.sim.control().fault(Fault::new(Effect::HalfReply).on("DELETE", "/api/pool").times(1));
    let path = format!("/api/pool/{}", made["results"][0]["uuid"].as_str().unwrap());
    assert!(rig.request(&login, "DELETE", &path).send().await.is_err());
    assert_eq!(pools(&rig, &login).await, 0);
}

#[tokio::test]
async fn a_delay_affects_its_request_only() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let control = rig.sim.control();
    let by = Duration::from_millis(100);
    control.fault(Fault::delay(by).under("/api/pool").times(1));
    let begun = Instant::now();
    rig.get(&login, "/api/pool").await.is(200);
    assert!(begun.elapsed() >= by);

    // A delayed request does not block others.
    control.fault(Fault::delay(Duration::from_hours(1)).under("/api/pool").times(1));
    let others = async {
        until("the request is in flight", async || control.requests_in_flight() > 0).await;
        rig.get(&login, "/api/pool").await.is(200);
    };
    tokio::select! {
        got = rig.get(&login, "/api/pool") => panic!("answered without the delay: {got:?}"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_stale_fault_looks_like_a_real_412() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let made = rig.send(&login, "POST", "/api/vsvip", json!({ "name": "v" })).await.is(201).json();
    let path = format!("/api/vsvip/{}", made["uuid"].as_str().unwrap());
    rig.sim.control().fault(Fault::new(Effect::Stale).on("PUT", "/api/vsvip").times(1));
    let got = rig.send(&login, "PUT", &path, made.clone()).await.is(412);
    assert!(got.error().contains("Concurrent Update Error"), "{}", got.text);
    // A real 412 has the same body.
    rig.send(&login, "PUT", &path, made.clone()).await.is(200);
    let real = rig.send(&login, "PUT", &path, made).await.is(412);
    assert_eq!(real.text, got.text);
}

#[tokio::test]
async fn an_outage_affects_every_path() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    rig.sim.control().unavailable(true);
    for path in ["/api/pool", "/api/cluster/status", "/api/initial-data"] {
        let got = rig.get(&login, path).await.is(503);
        assert_eq!(got.headers["content-type"], "text/html");
    }
    rig.post_login("admin", "x").await.is(503);
    rig.sim.control().unavailable(false);
    rig.get(&login, "/api/pool").await.is(200);
}

#[tokio::test]
async fn a_restart_drops_connections_and_sessions_and_keeps_objects() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    rig.send(&login, "POST", "/api/pool", json!({ "name": "p" })).await.is(201);
    let before = rig.get(&login, "/api/cluster/runtime").await.json();

    // One request is in flight during the restart.
    rig.sim.control().fault(Fault::delay(Duration::from_hours(1)).under("/api/cloud").times(1));
    let hanging = rig.request(&login, "GET", "/api/cloud").send();
    let control = rig.sim.control();
    let restart = async {
        until("the request is in flight", async || control.requests_in_flight() > 0).await;
        rig.sim.stop().await;
        let refused = rig.request(&login, "GET", "/api/pool").send().await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        control.advance_clock(Duration::from_secs(2));
        rig.sim.restart().await.unwrap();
    };
    let (hung, ()) = tokio::join!(hanging, restart);
    assert!(hung.is_err());

    rig.get(&login, "/api/pool").await.is(401);
    let again = rig.admin().await;
    assert_eq!(pools(&rig, &again).await, 1);
    let after = rig.get(&again, "/api/cluster/runtime").await.json();
    assert_ne!(before["node_states"][0]["up_since"], after["node_states"][0]["up_since"]);
}

/// Sends bytes on a new connection and returns what the simulator sends until it closes the connection.
async fn exchange(rig: &Rig, bytes: &[u8]) -> String {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut roots = rustls::RootCertStore::empty();
    let pem = rig.sim.ca_pem().as_bytes();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(rig.sim.address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// A name with a space that is not encoded makes the request line invalid.
#[tokio::test]
async fn a_space_in_the_request_line_gets_400() {
    let rig = Rig::start().await;
    let answer = exchange(&rig, b"GET /api/pool?name=a b HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    let _ = Got::of(rig.http.get(rig.url("/api/initial-data")).send().await.unwrap()).await.is(200);
}

/// The simulator refuses the body before it is sent and closes the connection.
#[tokio::test]
async fn a_body_that_is_too_long_gets_413() {
    let rig = Rig::start().await;
    let head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n{";
    let answer = exchange(&rig, head).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
    assert!(
        answer.contains("connection: close") && answer.contains("more than 16777216 bytes"),
        "{answer:?}"
    );
}
