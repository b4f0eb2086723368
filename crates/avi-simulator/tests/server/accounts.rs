//! Passwords, tokens, lock-out and other reasons to refuse a login.

use std::time::Duration;

use avi_simulator::{ADMIN, Assumptions, Config};
use serde_json::{Value, json};

use crate::rig::{Got, Login, Rig};

const PASSWORD: &str = "Correct-Horse-1";

/// Creates a user with a role in a tenant and the default profile.
pub async fn user(rig: &Rig, admin: &Login, name: &str, role: &str, tenant: &str) -> Value {
    let body = json!({
        "name": name,
        "username": name,
        "password": PASSWORD,
        "default_tenant_ref": "/api/tenant/admin",
        "access": [{
            "role_ref": format!("/api/role/?name={role}"),
            "tenant_ref": format!("/api/tenant/?name={tenant}"),
        }],
    });
    rig.send(admin, "POST", "/api/user", body).await.is(201).json()
}

async fn set_profile(rig: &Rig, admin: &Login, fields: Value) {
    let got = rig.get(admin, "/api/useraccountprofile?name=Default-User-Account-Profile").await.is(200);
    let uuid = got.json()["results"][0]["uuid"].as_str().unwrap().to_owned();
    let path = format!("/api/useraccountprofile/{uuid}");
    rig.send(admin, "PATCH", &path, json!({ "replace": fields })).await.is(200);
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    let made = user(&rig, &admin, "u", "System-Admin", "admin").await;
    let uuid = made["uuid"].as_str().unwrap();
    let got = rig.get(&admin, &format!("/api/user/{uuid}")).await.is(200);
    let all = rig.get(&admin, "/api/user").await.is(200);
    assert_eq!(made.get("password"), None);
    assert_eq!(got.json().get("password"), None);
    assert!(!all.text.contains(PASSWORD) && !all.text.contains(rig.sim.admin_password()));
    let snapshot =
        rig.sim.control().store(|store| format!("{:?}", store.objects("user").collect::<Vec<_>>()));
    assert!(!snapshot.contains(PASSWORD));
    rig.login("u", PASSWORD).await;

    // A write without the password or with the current one does not change it.
    let mut body = got.json();
    body["full_name"] = json!("U. Ser");
    let path = format!("/api/user/{uuid}");
    let got = rig.send(&admin, "PUT", &path, body).await.is(200);
    rig.login("u", PASSWORD).await;
    let mut body = got.json();
    body["password"] = json!(PASSWORD);
    rig.send(&admin, "PUT", &path, body).await.is(200);
    rig.login("u", PASSWORD).await;

    rig.send(&admin, "PATCH", &path, json!({ "replace": { "password": "Another-Horse-2" } })).await.is(200);
    rig.post_login("u", PASSWORD).await.is(401);
    rig.login("u", "Another-Horse-2").await;
    rig.delete(&admin, &path).await.is(204);
    rig.post_login("u", "Another-Horse-2").await.is(401);
}

#[tokio::test]
async fn the_mask_of_a_password_is_a_switch() {
    let assumptions = Assumptions { password_masked_on_get: true, ..Assumptions::default() };
    let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
    let admin = rig.admin().await;
    let made = user(&rig, &admin, "u", "System-Admin", "admin").await;
    assert_eq!(made["password"], "<sensitive>");
    let path = format!("/api/user/{}", made["uuid"].as_str().unwrap());
    rig.send(&admin, "PUT", &path, rig.get(&admin, &path).await.json()).await.is(200);
    rig.login("u", PASSWORD).await;
    rig.post_login("u", "<sensitive>").await.is(401);
}

#[tokio::test]
async fn three_wrong_passwords_lock_the_account() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    user(&rig, &admin, "u", "System-Admin", "admin").await;
    for _ in 0..3 {
        let got = rig.post_login("u", "wrong").await.is(401);
        assert_eq!(got.error(), "Invalid credentials");
    }
    let got = rig.post_login("u", PASSWORD).await.is(401);
    assert_eq!(got.error(), "User account is locked");
    rig.sim.control().advance_clock(Duration::from_mins(20));
    rig.post_login("u", PASSWORD).await.is(401);
    rig.sim.control().advance_clock(Duration::from_mins(10));
    rig.post_login("u", PASSWORD).await.is(200);
    // A successful login resets the count.
    for _ in 0..2 {
        rig.post_login("u", "wrong").await.is(401);
    }
    rig.post_login("u", PASSWORD).await.is(200);
    rig.post_login("u", "wrong").await.is(401);
    rig.post_login("u", PASSWORD).await.is(200);

    // The administrator's profile here has no lock-out. An unknown user gets the same error as a wrong password.
    let unlocked = "/api/useraccountprofile/?name=No-Lockout-User-Account-Profile";
    let change = json!({ "replace": { "user_profile_ref": unlocked } });
    let admin = rig.admin().await;
    rig.send(&admin, "PATCH", "/api/user/user-1", change).await.is(200);
    for _ in 0..5 {
        rig.post_login(ADMIN, "wrong").await.is(401);
    }
    rig.admin().await;
    assert_eq!(rig.post_login("unknown", "wrong").await.is(401).error(), "Invalid credentials");
}

#[tokio::test]
async fn the_statuses_of_refused_logins_are_switches() {
    let assumptions =
        Assumptions { locked_status: 423, too_many_sessions_status: 429, ..Assumptions::default() };
    let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
    let admin = rig.admin().await;
    let made = user(&rig, &admin, "u", "System-Admin", "admin").await;
    set_profile(&rig, &admin, json!({ "max_concurrent_sessions": 1 })).await;
    rig.login("u", PASSWORD).await;
    rig.post_login("u", PASSWORD).await.is(429);
    for _ in 0..3 {
        rig.post_login("u", "wrong").await.is(401);
    }
    rig.post_login("u", PASSWORD).await.is(423);
    rig.sim.control().advance_clock(Duration::from_mins(30));
    rig.post_login("u", PASSWORD).await.is(200);
    let admin = rig.admin().await;
    let path = format!("/api/user/{}", made["uuid"].as_str().unwrap());
    rig.send(&admin, "PATCH", &path, json!({ "replace": { "is_active": false } })).await.is(200);
    assert_eq!(rig.post_login("u", PASSWORD).await.is(423).error(), "User account is not active");
}

#[tokio::test]
async fn concurrent_sessions_are_limited() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    user(&rig, &admin, "u", "System-Admin", "admin").await;
    set_profile(&rig, &admin, json!({ "max_concurrent_sessions": 2 })).await;
    let first = rig.login("u", PASSWORD).await;
    rig.login("u", PASSWORD).await;
    let got = rig.post_login("u", PASSWORD).await.is(401);
    assert_ne!(got.error(), "Invalid credentials");
    Got::of(rig.request(&first, "POST", "/logout").send().await.unwrap()).await.is(200);
    rig.login("u", PASSWORD).await;
    rig.post_login("u", PASSWORD).await.is(401);
    // Expired sessions do not count.
    rig.sim.control().advance_clock(Duration::from_mins(15));
    rig.login("u", PASSWORD).await;
}

#[tokio::test]
async fn an_expired_password_can_only_be_changed() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    user(&rig, &admin, "u", "System-Admin", "admin").await;
    rig.sim.control().advance_clock(Duration::from_hours(24 * 180));
    let login = rig.login("u", PASSWORD).await;
    rig.get(&login, "/api/pool").await.is(403);
    rig.get(&login, "/api/useraccount").await.is(200);
    let change = json!({ "old_password": PASSWORD, "password": "Another-Horse-2" });
    rig.send(&login, "PUT", "/api/useraccount", change).await.is(200);
    rig.get(&login, "/api/pool").await.is(200);
}

#[tokio::test]
async fn users_change_their_own_password() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    user(&rig, &admin, "u", "System-Admin", "admin").await;
    let login = rig.login("u", PASSWORD).await;
    let change = async |old: &str, new: &str| {
        rig.send(&login, "PUT", "/api/useraccount", json!({ "old_password": old, "password": new })).await
    };
    change("wrong", "Another-Horse-0").await.is(400);
    change(PASSWORD, "short").await.is(400);
    change(PASSWORD, PASSWORD).await.is(400);
    let got = change(PASSWORD, "Another-Horse-0").await.is(200);
    assert_eq!(got.text, "");
    rig.post_login("u", PASSWORD).await.is(401);
    rig.login("u", "Another-Horse-0").await;

    // The history has four passwords, the current one included: the first can be reused after three others.
    change("Another-Horse-0", PASSWORD).await.is(400);
    change("Another-Horse-0", "Another-Horse-1").await.is(200);
    change("Another-Horse-1", "Another-Horse-2").await.is(200);
    change("Another-Horse-2", PASSWORD).await.is(400);
    change("Another-Horse-2", "Another-Horse-3").await.is(200);
    change("Another-Horse-3", PASSWORD).await.is(200);
    rig.login("u", PASSWORD).await;
}

#[tokio::test]
async fn passwords_must_follow_the_policy() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    let make = async |name: &str, password: &str| {
        let body = json!({ "name": name, "username": name, "password": password });
        rig.send(&admin, "POST", "/api/user", body).await
    };
    make("short", "Ab1!567").await.is(400);
    make("plain", "onlylowercase").await.is(201);
    let portal = json!({ "replace": { "portal_configuration": {
        "password_strength_check": true, "minimum_password_length": 12,
    } } });
    rig.send(&admin, "PATCH", "/api/systemconfiguration", portal).await.is(200);
    make("weak", "onlylowercase").await.is(400);
    make("short", "Ab1!5678901").await.is(400);
    make("good", "Ab1!56789012").await.is(201);
    // A refused POST creates no user.
    assert_eq!(rig.get(&admin, "/api/user?name=weak").await.json()["count"], 0);
}

#[tokio::test]
async fn tokens_replace_the_password_until_they_expire() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    user(&rig, &admin, "u", "System-Admin", "admin").await;
    let login = rig.login("u", PASSWORD).await;
    // AKO sends the hours as text.
    let made = rig.send(&login, "POST", "/api/user-token", json!({ "hours": "240" })).await.is(201).json();
    let token = made["token"].as_str().unwrap();
    let expires = made["expires_at"].as_str().unwrap();
    assert!(expires.len() == 20 && expires.ends_with('Z'), "{expires}");
    let list = rig.get(&login, "/api/user-token").await.is(200).json();
    assert_eq!((&list["count"], &list["results"][0]), (&json!(1), &made));
    // Other users do not see it.
    assert_eq!(rig.get(&admin, "/api/user-token").await.json()["count"], 0);

    let by_token = async |username: &str| {
        // A typed client may send null for a missing field.
        let body = json!({ "username": username, "token": token, "password": null });
        Got::of(rig.http.post(rig.url("/login")).json(&body).send().await.unwrap()).await
    };
    by_token("u").await.is(200);
    by_token(ADMIN).await.is(401);
    rig.sim.control().advance_clock(Duration::from_hours(240));
    by_token("u").await.is(401);

    let login = rig.login("u", PASSWORD).await;
    let made = rig.send(&login, "POST", "/api/user-token", json!({ "hours": 1 })).await.is(201).json();
    let path = format!("/api/user-token/{}", made["uuid"].as_str().unwrap());
    assert_eq!(rig.get(&login, &path).await.is(200).json(), made);
    rig.delete(&login, &path).await.is(204);
    rig.delete(&login, &path).await.is(404);
    rig.send(&login, "POST", "/api/user-token", json!({ "hours": "many" })).await.is(400);
}

#[tokio::test]
async fn basic_authentication_only_if_allowed() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    let basic = async |password: &str| {
        let request = rig.http.get(rig.url("/api/pool")).basic_auth(ADMIN, Some(password));
        Got::of(request.send().await.unwrap()).await
    };
    basic(rig.sim.admin_password()).await.is(401);
    let portal = json!({ "replace": { "portal_configuration": { "allow_basic_authentication": true } } });
    rig.send(&admin, "PATCH", "/api/systemconfiguration", portal).await.is(200);
    basic(rig.sim.admin_password()).await.is(200);
    basic("wrong").await.is(401);
    // Without a session no CSRF token is required.
    let request = rig.http.post(rig.url("/api/pool")).basic_auth(ADMIN, Some(rig.sim.admin_password()));
    Got::of(request.json(&json!({ "name": "p" })).send().await.unwrap()).await.is(201);
}

#[tokio::test]
async fn an_invalid_login_gets_400_and_counts_as_failed() {
    let rig = Rig::start().await;
    for body in ["", "[]", "{}", r#"{"username": "admin"}"#, r#"{"password": "x"}"#, "\u{0}"] {
        let request = rig.http.post(rig.url("/login")).body(body);
        Got::of(request.header("content-type", "application/json").send().await.unwrap()).await.is(400);
    }
    let got = Got::of(rig.http.get(rig.url("/login")).send().await.unwrap()).await.is(405);
    assert_eq!(got.json()["detail"], "Method 'GET' not allowed.");
    let logins = rig.sim.control().logins();
    assert_eq!((logins.total, logins.failed), (6, 6));
}
