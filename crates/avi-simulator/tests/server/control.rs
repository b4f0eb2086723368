//! The request log, the control API in Rust and over HTTP, and the binary.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use avi_simulator::store::PortGroup;
use avi_simulator::{Config, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::rig::{Got, Rig, until};

#[tokio::test]
async fn requests_are_logged_and_counted_without_secrets() {
    let rig = Rig::start().await;
    let control = rig.sim.control();
    let login = rig.admin().await;
    rig.post_login("admin", "wrong-password").await.is(401);
    let made = rig.send(&login, "POST", "/api/pool", json!({ "name": "p" })).await.is(201).json();
    let uuid = made["uuid"].as_str().unwrap();
    rig.get(&login, &format!("/api/pool/{uuid}?include_name")).await.is(200);
    rig.delete(&login, &format!("//api/pool/{uuid}")).await.is(204);
    let user = json!({ "name": "u", "username": "u", "password": "Correct-Horse-1" });
    rig.send(&login, "POST", "/api/user", user).await.is(201);

    let requests = control.requests();
    let seen: Vec<(&str, &str, u16)> = requests
        .iter()
        .map(|request| (request.method.as_str(), request.template.as_str(), request.status))
        .collect();
    assert_eq!(
        seen,
        [
            ("POST", "/login", 200),
            ("POST", "/login", 401),
            ("POST", "/api/pool", 201),
            ("GET", "/api/pool/{uuid}", 200),
            ("DELETE", "/api/pool/{uuid}", 204),
            ("POST", "/api/user", 201),
        ]
    );
    let get = &requests[3];
    assert_eq!((get.path.as_str(), get.query.as_str()), (&*format!("/api/pool/{uuid}"), "include_name"));
    assert_eq!((get.user.as_deref(), get.tenant.as_deref()), (Some("admin"), Some("admin")));
    assert_eq!(get.version.as_deref(), Some("30.2.1"));
    assert_eq!(requests[4].path, format!("//api/pool/{uuid}"));
    let text = format!("{requests:?}{:?}{:?}", rig.sim, control);
    for secret in ["wrong-password", "Correct-Horse-1", rig.sim.admin_password(), &login.session, &login.csrf]
    {
        assert!(!text.contains(secret), "{secret}");
    }

    let counters = control.counters();
    assert_eq!(counters[&("POST".to_owned(), "/login".to_owned())], 2);
    assert_eq!(counters[&("GET".to_owned(), "/api/pool/{uuid}".to_owned())], 1);
    assert_eq!((control.logins().total, control.logins().failed), (2, 1));
    let last = requests.last().unwrap().number;
    rig.get(&login, "/api/pool").await.is(200);
    assert_eq!(control.requests_after(last).len(), 1);
    control.reset_requests();
    assert!(control.requests().is_empty() && control.counters().is_empty());
    rig.get(&login, "/api/pool").await.is(200);
    assert!(control.requests()[0].number > last + 1);
}

#[tokio::test]
async fn a_seed_sets_passwords_of_users() {
    let seed = "
tenant:
  - name: blue
user:
  - {name: u, username: u, password: x, access: [{role_ref: /api/role/?name=System-Admin, all_tenants: true}]}
pool:
  - name: p
";
    let rig = Rig::with(Config { seed: Some(seed.to_owned()), ..Config::default() }).await;
    let control = rig.sim.control();
    rig.login("u", "x").await;
    let admin = rig.admin().await;
    assert_eq!(rig.get(&admin, "/api/pool").await.json()["count"], 1);
    assert!(!rig.get(&admin, "/api/user").await.text.contains("password"));
    assert_eq!(control.check(), Vec::<String>::new());
    let before = control.snapshot();
    rig.send(&admin, "POST", "/api/pool", json!({ "name": "q" })).await.is(201);
    let diff = serde_json::to_value(control.diff(&before)).unwrap();
    assert_eq!(diff["added"].as_array().unwrap().len(), 1, "{diff}");
    assert!(control.seed("[1]").is_err());
    assert!(Simulator::start(Config { seed: Some(":".to_owned()), ..Config::default() }).await.is_err());
}

#[tokio::test]
async fn the_sample_seed_is_consistent() {
    let seed = include_str!("../../samples/seed.yaml").to_owned();
    let rig = Rig::with(Config { seed: Some(seed.clone()), ..Config::default() }).await;
    let control = rig.sim.control();
    assert_eq!(control.check(), Vec::<String>::new());
    let before = control.snapshot();
    let admin = rig.admin().await;
    let vip = json!({ "name": "v", "vip": [{ "vip_id": "0", "auto_allocate_ip": true }] });
    let vip = rig.send(&admin, "POST", "/api/vsvip", vip).await.is(201).json();
    assert_eq!(vip["vip"][0]["ip_address"]["addr"], "10.92.0.10");
    let user = rig.login("c1-user", "Correct-Horse-1").await;
    assert_eq!(user.body["tenants"][0]["name"], "blue");
    rig.delete(&admin, &format!("/api/vsvip/{}", vip["uuid"].as_str().unwrap())).await.is(204);
    assert!(control.diff(&before).is_empty());
}

/// Errors must not quote the seed.
#[tokio::test]
async fn errors_of_a_seed_have_no_secrets() {
    let rig = Rig::start().await;
    for seed in [
        "user: [{name: u, password: hidden1]\nx: 'hidden1",
        "user:\n  - {name: u, password: hidden1}\n password: hidden1\n",
        "user: {password: hidden1}",
        "user: [hidden1]",
        "hidden1",
        "user: [{name: u, password: &hidden1 hidden1, access: *hidden2}]",
        "cloud: [{name: c, vtype: CLOUD_VCENTER, vcenter_configuration: {password: hidden1}, tenant: none}]",
    ] {
        let error = rig.sim.control().seed(seed).expect_err(seed);
        assert!(!format!("{error:#} {error:?}").contains("hidden1"), "{error:?}");
    }
}

/// A client of the control API.
struct Remote {
    http: reqwest::Client,
    url: String,
}

impl Remote {
    async fn call(&self, method: &str, path: &str, body: &str) -> Got {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        Got::of(request.body(body.to_owned()).send().await.unwrap()).await
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test]
async fn the_control_api_works_over_http() {
    let rig = Rig::with(Config { control_listen: Some(loopback()), ..Config::default() }).await;
    let remote = Remote { http: reqwest::Client::new(), url: rig.sim.control_url().unwrap().to_owned() };
    let about = remote.call("GET", "/", "").await.is(200).json();
    assert_eq!(about, json!({ "url": rig.sim.url(), "version": "30.2.1" }));
    assert_eq!(remote.call("GET", "/ca.pem", "").await.is(200).text, rig.sim.ca_pem());
    let id = remote.call("POST", "/snapshots", "").await.is(201).json()["id"].clone();
    remote.call("POST", "/seed", "pool:\n  - name: seeded\n").await.is(204);
    let diff = remote.call("GET", &format!("/snapshots/{id}/diff"), "").await.is(200).json();
    assert_eq!(diff["added"].as_array().unwrap().len(), 1, "{diff}");
    assert_eq!(remote.call("GET", "/check", "").await.is(200).json(), json!([]));

    remote.call("PUT", "/password", r#"{"username": "admin", "password": "Known-1-Known"}"#).await.is(204);
    let login = rig.login("admin", "Known-1-Known").await;
    remote
        .call("POST", "/faults", r#"{"path": "/api/pool", "what": {"status": {"code": 503}}}"#)
        .await
        .is(204);
    rig.get(&login, "/api/pool").await.is(503);
    remote.call("DELETE", "/faults", "").await.is(204);
    rig.get(&login, "/api/pool").await.is(200);
    remote.call("PUT", "/version", "\"30.2.1\"").await.is(204);
    rig.get(&login, "/api/pool").await.is(401);
    let login = rig.login("admin", "Known-1-Known").await;
    for (path, status) in [("/upgrade", 403), ("/unavailable", 503)] {
        remote.call("PUT", path, "true").await.is(204);
        rig.send(&login, "POST", "/api/pool", json!({ "name": "p" })).await.is(status);
        remote.call("PUT", path, "false").await.is(204);
    }
    rig.get(&login, "/api/pool").await.is(200);
    let log = remote.call("GET", "/requests", "").await.is(200).json();
    let last = log.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["path"], &last["status"]), (&json!("/api/pool"), &json!(200)));
    let later = remote.call("GET", &format!("/requests?after={}", last["number"]), "").await;
    assert_eq!(later.is(200).json(), json!([]));
    let counters = remote.call("GET", "/counters", "").await.is(200).json();
    assert!(
        counters.as_array().unwrap().contains(&json!({ "method": "GET", "path": "/api/pool", "count": 4 })),
        "{counters}"
    );
    assert_eq!(remote.call("GET", "/logins", "").await.json(), json!({ "total": 2, "failed": 0 }));
    remote.call("DELETE", "/requests", "").await.is(204);
    assert_eq!(remote.call("GET", "/logins", "").await.json()["total"], 0);

    remote.call("POST", "/clock", "60").await.is(204);
    rig.get(&login, "/api/pool").await.is(200);
    remote.call("POST", "/clock", "900.5").await.is(204);
    rig.get(&login, "/api/pool").await.is(401);
    let login = rig.login("admin", "Known-1-Known").await;
    remote.call("POST", "/expire-sessions", "").await.is(204);
    rig.get(&login, "/api/pool").await.is(401);
    remote.call("POST", "/stop", "").await.is(204);
    assert!(rig.request(&login, "GET", "/api/pool").send().await.is_err());
    remote.call("POST", "/restart", "").await.is(204);
    rig.login("admin", "Known-1-Known").await;
}

#[tokio::test]
async fn invalid_control_requests_get_an_error_with_a_text() {
    let rig = Rig::with(Config { control_listen: Some(loopback()), ..Config::default() }).await;
    let remote = Remote { http: reqwest::Client::new(), url: rig.sim.control_url().unwrap().to_owned() };
    for (method, path, body, status) in [
        ("GET", "/nonsense", "", 404),
        ("POST", "/faults", r#"{"what": "nonsense"}"#, 400),
        ("POST", "/faults", r#"{"what": "stale", "typo": 1}"#, 400),
        ("POST", "/faults", r#"{"what": {"status": {"code": 503, "retry": 1}}}"#, 400),
        ("POST", "/faults", r#"{"what": {"status": {"code": 1000}}}"#, 400),
        ("POST", "/faults", r#"{"what": {"status": {"code": 100}}}"#, 400),
        ("POST", "/faults", r#"{"what": "stale", "path": "/api/pool?name=p"}"#, 400),
        ("POST", "/clock", "-1", 400),
        ("PUT", "/upgrade", "maybe", 400),
        ("PUT", "/version", "\"new\"", 400),
        ("GET", "/snapshots/77/diff", "", 404),
        ("GET", "/requests?after=all", "", 400),
        ("PUT", "/password", r#"{"username": "admin"}"#, 400),
        ("PUT", "/password", r#"{"username": "unknown", "password": "x"}"#, 404),
    ] {
        let got = remote.call(method, path, body).await.is(status);
        assert!(!got.error().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn networks_are_discovered_when_the_clock_reaches_the_time() {
    let seed = "cloud:\n  - {name: vc, vtype: CLOUD_VCENTER}\n";
    let config =
        Config { seed: Some(seed.to_owned()), control_listen: Some(loopback()), ..Config::default() };
    let rig = Rig::with(config).await;
    let control = rig.sim.control();
    let login = rig.admin().await;
    let names = async || {
        let found = rig.get(&login, "/api/network?cloud_ref.name=vc&sort=name").await.is(200).json();
        let names = found["results"].as_array().unwrap().iter().map(|network| network["name"].clone());
        Value::Array(names.collect())
    };
    let group = |moid: &str, name: &str| PortGroup {
        moid: moid.to_owned(),
        name: name.to_owned(),
        dvs: true,
        hosts: Vec::new(),
    };
    control.discover("vc", vec![group("dvportgroup-1", "a")], Duration::from_mins(5)).unwrap();
    assert_eq!(names().await, json!([]));
    control.advance_clock(Duration::from_mins(5));
    assert_eq!(names().await, json!(["a"]));
    control.discover("vc", vec![group("1", "a"), group("2", "b")], Duration::ZERO).unwrap();
    assert_eq!(names().await, json!(["a", "b"]));
    assert!(control.discover("nowhere", Vec::new(), Duration::ZERO).is_err());

    let remote = Remote { http: reqwest::Client::new(), url: rig.sim.control_url().unwrap().to_owned() };
    let three = json!({ "cloud": "vc", "port_groups": [{ "moid": "dvportgroup-3", "name": "c" }] });
    remote.call("POST", "/discover", &three.to_string()).await.is(204);
    assert_eq!(names().await, json!(["c"]));
    let nowhere = json!({ "cloud": "nowhere", "port_groups": [] });
    remote.call("POST", "/discover", &nowhere.to_string()).await.is(400);
}

#[tokio::test]
async fn ports_are_free_after_a_drop() {
    // An address that no other test uses, so that none takes the port meanwhile.
    let own: IpAddr = "127.105.77.4".parse().unwrap();
    let on = |listen: SocketAddr, control: SocketAddr| Config {
        listen,
        control_listen: Some(control),
        names: vec![own.to_string()],
        ..Config::default()
    };
    let any = (own, 0).into();
    let rig = Rig::with(on(any, any)).await;
    let (address, http) = (rig.sim.address(), rig.http.clone());
    let control: SocketAddr = rig.sim.control_url().unwrap().trim_start_matches("http://").parse().unwrap();
    for (listen, control) in [(address, any), (any, control)] {
        let error = Simulator::start(on(listen, control)).await.unwrap_err();
        assert!(format!("{error:#}").contains("in use"), "{error:#}");
    }
    let urls = [rig.url("/api/initial-data"), format!("http://{control}/")];
    for url in &urls {
        assert_eq!(http.get(url).send().await.unwrap().status(), 200);
    }
    drop(rig);
    for url in &urls {
        until("the simulator has stopped", async || http.get(url).send().await.is_err()).await;
    }
    let sim = Simulator::start(on(address, control)).await.unwrap();
    assert_eq!(sim.address(), address);
}

#[tokio::test]
async fn the_certificate_is_valid_for_the_given_names_only() {
    let config = Config {
        names: vec!["avi.test".to_owned()],
        advertise: Some("avi.test:443".to_owned()),
        ..Config::default()
    };
    let rig = Rig::with(config).await;
    assert_eq!(rig.sim.url(), "https://avi.test:443");
    let ca = reqwest::Certificate::from_pem(rig.sim.ca_pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([ca])
        .resolve("avi.test", rig.sim.address())
        .resolve("other.test", rig.sim.address())
        .build()
        .unwrap();
    let port = rig.sim.address().port();
    let get = |host: &str| http.get(format!("https://{host}:{port}/api/initial-data")).send();
    for host in ["avi.test", "localhost", "127.0.0.1"] {
        assert_eq!(get(host).await.unwrap().status(), 200, "{host}");
    }
    assert!(get("other.test").await.is_err());
}

#[tokio::test]
async fn the_binary_prints_its_urls_and_stops_at_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    let mut child = Command::new(env!("CARGO_BIN_EXE_avi-simulator"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--control-listen",
            "127.0.0.1:0",
            "--controller-version",
            "22.1.3",
        ])
        .arg("--ca-file")
        .arg(&ca_file)
        .env("AVI_SIMULATOR_ADMIN_PASSWORD", "Known-1-Known")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&ca_file).unwrap()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let login = http
        .post(format!("{}/login", ready["url"].as_str().unwrap()))
        .json(&json!({ "username": "admin", "password": "Known-1-Known" }));
    let got = Got::of(login.send().await.unwrap()).await.is(200);
    assert_eq!(got.json()["version"]["Version"], "22.1.3");
    let control = ready["control_url"].as_str().unwrap();
    let got = Got::of(reqwest::get(format!("{control}/logins")).await.unwrap()).await.is(200);
    assert_eq!(got.json()["total"], 1);

    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_mins(1), child.wait()).await.expect("the binary stops");
    assert!(ended.unwrap().success());
}

#[tokio::test]
async fn the_binary_shows_help_and_refuses_wrong_arguments() {
    let run = async |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_avi-simulator")).args(arguments).output().await.unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (success, text) = run(&["--help"]).await;
    assert!(success);
    for part in ["--control-listen", "AVI_SIMULATOR_ADMIN_PASSWORD", "POST   /faults", "[default: 30.2.1]"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for refused in [
        ["--controller-version", "new"],
        ["--api-idle-timeout", "1441"],
        ["--advertise", "https://avi.test/"],
        ["--name", "ü"],
    ] {
        let (success, text) = run(&[&["--listen", "127.0.0.1:0"], &refused[..]].concat()).await;
        assert!(!success && text.contains(refused[1]), "{refused:?}: {text}");
    }
}
