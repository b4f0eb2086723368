//! Login, sessions and logout.

use std::time::Duration;

use avi_simulator::{ADMIN, Assumptions, Config, Rule, Rules};
use serde_json::json;

use crate::rig::{Got, Rig, cookies};

#[tokio::test]
async fn login_accepts_json_and_forms() {
    let rig = Rig::start().await;
    let got = rig.post_login(ADMIN, rig.sim.admin_password()).await.is(200);
    let body = got.json();
    assert_eq!(body["version"]["Version"], "30.2.1");
    assert_eq!(body["session_cookie_name"], "avi-sessionid");
    assert_eq!(body["user"]["username"], "admin");
    assert_eq!(body["tenants"][0]["name"], "admin");
    assert_eq!(body["controller"]["api_idle_timeout"], 15);
    assert_eq!(body["user_initialized"], true);
    assert_eq!(got.cookie("csrftoken").unwrap().len(), 32);
    assert_eq!(got.cookie("avi-sessionid"), got.cookie("sessionid"));
    let cookies: Vec<&str> =
        got.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 3);
    for cookie in cookies {
        let csrf = cookie.starts_with("csrftoken=");
        assert!(cookie.contains("; Secure"), "{cookie}");
        assert_eq!(cookie.contains("; HttpOnly"), !csrf, "{cookie}");
        assert!(cookie.contains(if csrf { "Max-Age=31449600" } else { "Max-Age=86400" }), "{cookie}");
    }

    // A form as Python's requests encodes it, with characters that need encoding.
    assert!(rig.sim.control().set_password(ADMIN, "a b+c&d=é%"));
    let form = "username=admin&password=a+b%2Bc%26d%3D%C3%A9%25";
    let request = rig.http.post(rig.url("/login")).body(form);
    let request = request.header("content-type", "Application/x-www-form-urlencoded; charset=utf-8");
    Got::of(request.send().await.unwrap()).await.is(200);
}

#[tokio::test]
async fn a_session_reads_and_writes() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let got = rig.send(&login, "POST", "/api/pool", json!({ "name": "p" })).await.is(201);
    let location = got.headers["location"].to_str().unwrap();
    let uuid = got.json()["uuid"].as_str().unwrap().to_owned();
    assert_eq!(location, rig.url(&format!("/api/pool/{uuid}")));
    assert_eq!(got.headers["avi_api_version"], "30.2.1");
    assert_eq!(got.cookie("avi-sessionid").as_deref(), Some(login.session.as_str()));
    let got = rig.get(&login, "//api/pool/?name=p").await.is(200);
    assert_eq!(got.json()["count"], 1);
    rig.delete(&login, &format!("/api/pool/{uuid}")).await.is(204);
    rig.get(&login, &format!("/api/pool/{uuid}")).await.is(404);
}

#[tokio::test]
async fn writes_need_csrf_token_and_referer() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let body = json!({ "name": "p" });
    let without = async |header: &'static str, instead: Option<&str>| {
        let mut headers = rig.headers(&login);
        headers.remove(header);
        if let Some(value) = instead {
            headers.insert(header, value.parse().unwrap());
        }
        let request = rig.http.post(rig.url("/api/pool")).headers(headers).json(&body);
        Got::of(request.send().await.unwrap()).await
    };
    for (header, instead, text) in [
        ("x-csrftoken", None, "CSRF token missing or incorrect."),
        ("x-csrftoken", Some("0123456789abcdef0123456789abcdef"), "CSRF token missing or incorrect."),
        ("referer", None, "Referer checking failed - no Referer."),
        (
            "referer",
            Some("https://elsewhere/"),
            "Referer checking failed - the Referer is of another origin.",
        ),
    ] {
        let got = without(header, instead).await.is(401);
        assert_eq!(got.text, text);
        assert_eq!(got.headers["content-type"], "application/json");
    }
    let cookie = format!("avi-sessionid={}", login.session);
    let got = without("cookie", Some(&cookie)).await.is(401);
    assert_eq!(got.text, "CSRF token missing or incorrect.");
    assert_eq!(rig.get(&login, "/api/pool").await.json()["count"], 0);

    // A read needs only the session.
    let got = rig.http.get(rig.url("/api/pool")).header("cookie", cookie).send().await.unwrap();
    Got::of(got).await.is(200);
}

#[tokio::test]
async fn a_referer_of_another_origin_is_a_switch() {
    let assumptions = Assumptions { referer_same_origin: false, ..Assumptions::default() };
    let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
    let login = rig.admin().await;
    let mut headers = rig.headers(&login);
    headers.insert("referer", "https://elsewhere/".parse().unwrap());
    let request = rig.http.post(rig.url("/api/pool")).headers(headers).json(&json!({ "name": "p" }));
    Got::of(request.send().await.unwrap()).await.is(201);
}

/// Python's SDK sends the cookie of its jar and its own with the same name.
#[tokio::test]
async fn of_repeated_cookies_the_session_with_the_csrf_token_is_used() {
    let rig = Rig::start().await;
    let (old, new) = (rig.admin().await, rig.admin().await);
    let twice = format!("{}; {}", cookies(&old.csrf, &old.session), cookies(&new.csrf, &new.session));
    for login in [&old, &new] {
        let mut headers = rig.headers(login);
        headers.insert("cookie", twice.parse().unwrap());
        let request = rig.http.post(rig.url("/api/pool")).headers(headers);
        let name = format!("p-{}", login.csrf);
        Got::of(request.json(&json!({ "name": name })).send().await.unwrap()).await.is(201);
    }
    // Also if one of the sessions has ended.
    Got::of(rig.request(&old, "POST", "/logout").send().await.unwrap()).await.is(200);
    let mut headers = rig.headers(&new);
    headers.insert("cookie", twice.parse().unwrap());
    Got::of(rig.http.get(rig.url("/api/pool")).headers(headers).send().await.unwrap()).await.is(200);
}

#[tokio::test]
async fn logout_ends_the_session_and_needs_the_csrf_token() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let mut headers = rig.headers(&login);
    headers.remove("x-csrftoken");
    let got = rig.http.post(rig.url("/logout")).headers(headers).send().await.unwrap();
    Got::of(got).await.is(401);
    rig.get(&login, "/api/pool").await.is(200);
    Got::of(rig.request(&login, "POST", "/logout").send().await.unwrap()).await.is(200);
    rig.get(&login, "/api/pool").await.is(401);
    Got::of(rig.request(&login, "POST", "/logout").send().await.unwrap()).await.is(401);
}

#[tokio::test]
async fn sessions_expire_when_idle_and_when_old() {
    let rig = Rig::start().await;
    let control = rig.sim.control();
    let login = rig.admin().await;
    for _ in 0..3 {
        control.advance_clock(Duration::from_mins(8));
        rig.get(&login, "/api/pool").await.is(200);
    }
    control.advance_clock(Duration::from_mins(15));
    let got = rig.get(&login, "/api/pool").await.is(401);
    assert_eq!(got.json()["detail"], "Authentication credentials were not provided.");

    let rig = Rig::with(Config { api_idle_timeout: Duration::ZERO, ..Config::default() }).await;
    let control = rig.sim.control();
    let login = rig.admin().await;
    control.advance_clock(Duration::from_hours(23));
    rig.get(&login, "/api/pool").await.is(200);
    control.advance_clock(Duration::from_hours(1));
    rig.get(&login, "/api/pool").await.is(401);
}

#[tokio::test]
async fn the_status_of_an_expired_session_is_a_switch() {
    let assumptions = Assumptions { expired_session_status: 419, ..Assumptions::default() };
    let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
    let login = rig.admin().await;
    rig.sim.control().expire_sessions();
    rig.get(&login, "/api/pool").await.is(419);
    let again = rig.admin().await;
    rig.get(&again, "/api/pool").await.is(200);
}

#[tokio::test]
async fn each_rule_of_sessions_can_be_broken() {
    let broken =
        async |rule| Rig::with(Config { rules: Rules::default().without(rule), ..Config::default() }).await;
    let rig = broken(Rule::Csrf).await;
    let login = rig.admin().await;
    let mut headers = rig.headers(&login);
    headers.remove("x-csrftoken");
    let request = rig.http.post(rig.url("/api/pool")).headers(headers).json(&json!({ "name": "p" }));
    Got::of(request.send().await.unwrap()).await.is(201);

    let rig = broken(Rule::SessionExpiry).await;
    let login = rig.admin().await;
    rig.sim.control().expire_sessions();
    rig.sim.control().advance_clock(Duration::from_hours(48));
    rig.get(&login, "/api/pool").await.is(200);

    let rig = broken(Rule::PasswordCheck).await;
    // Wrong passwords are accepted and do not lock the account.
    for _ in 0..5 {
        rig.post_login(ADMIN, "not it").await.is(200);
    }
}

#[tokio::test]
async fn the_time_outs_are_settings_with_limits() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    for (path, body, status) in [
        ("/api/controllerproperties", json!({ "api_idle_timeout": 1441 }), 400),
        ("/api/controllerproperties", json!({ "api_idle_timeout": "15" }), 400),
        ("/api/systemconfiguration", json!({ "portal_configuration": { "api_force_timeout": 25 } }), 400),
        ("/api/controllerproperties", json!({ "api_idle_timeout": 0 }), 200),
        ("/api/systemconfiguration", json!({ "portal_configuration": { "api_force_timeout": 2 } }), 200),
    ] {
        rig.send(&login, "PATCH", path, json!({ "replace": body })).await.is(status);
    }
    rig.sim.control().advance_clock(Duration::from_mins(100));
    rig.get(&login, "/api/pool").await.is(200);
    rig.sim.control().advance_clock(Duration::from_mins(20));
    rig.get(&login, "/api/pool").await.is(401);
}
