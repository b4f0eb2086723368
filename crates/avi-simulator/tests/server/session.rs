//! Logging in, staying in and getting out.

use avi_simulator::ADMIN;
use serde_json::json;

use crate::rig::{Got, Rig};

#[tokio::test]
async fn login_by_json_and_by_form() {
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

    // As Python's requests encodes it: the password may hold what a form encodes.
    assert!(rig.sim.control().set_password(ADMIN, "a b+c&d=é%"));
    let form = "username=admin&password=a+b%2Bc%26d%3D%C3%A9%25";
    let request = rig.http.post(rig.url("/login")).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
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
