//! No secret is visible: in no log of this crate or of those under it, in no error, in no formatted value.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use avi_simulator::{Effect, Fault};
use infra_clients::Secret;
use infra_clients::avi::objects::{Access, Cloud, Meta, User};
use infra_clients::avi::{CLOUD, Config, Credentials, Kind, Query, Ref, USER};
use tracing_subscriber::util::SubscriberInitExt;

use crate::rig::{Rig, refused};

const PASSWORD: &str = "S3cret-of-the-user!";
const OTHER: &str = "S3cret-to-come!";
const OF_VCENTER: &str = "S3cret-of-vcenter!";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Logs in, creates and changes a user, creates a cloud with a password of its own, and meets every kind of failure.
async fn life(rig: &Rig, shown: &mut Vec<String>) -> Result<()> {
    let api = rig.api();
    shown.push(format!("{:?} {:?} {:?}", rig.avi, api, rig.avi.versions().await?));
    let user = User {
        meta: Meta::named("u1"),
        password: Some(Secret::new(PASSWORD)),
        access: vec![Access {
            role_ref: Some(Ref::by_name("role", "Tenant-Admin")),
            all_tenants: Some(true),
            ..Access::default()
        }],
        ..User::default()
    };
    let made = api.create(USER, &user).await?;
    shown.push(format!("{user:?} {made:?}"));
    let client = rig.client_of("u1", PASSWORD)?;
    client.versions().await?;
    client.change_password(Secret::new(OTHER)).await?;
    client.close().await?;
    shown.push(format!("{client:?} {:?}", client.identity()));
    shown
        .push(format!("{:?}", refused(rig.client_of("u1", PASSWORD)?.versions().await, Kind::Unauthorized)?));
    api.update(USER, &made.meta.uuid, |user| user.password = Some(Secret::new("S3cret-no-3!"))).await?;

    let mut cloud = Cloud { meta: Meta::named("vc"), vtype: "CLOUD_VCENTER".to_owned(), ..Cloud::default() };
    let vcenter = serde_json::json!({
        "vcenter_url": "vc", "username": "u", "password": OF_VCENTER, "privilege": "WRITE_ACCESS",
        "datacenter": "DC0",
    });
    cloud.rest.set("vcenter_configuration", vcenter);
    shown.push(format!("{cloud:?}"));
    match api.create(CLOUD, &cloud).await {
        Ok(cloud) => shown.push(format!("{cloud:?}")),
        Err(error) => shown.push(format!("{error:?}")),
    }

    // A controller that repeats everything it received.
    for (code, json) in [(400, true), (401, false), (500, false)] {
        for (path, told) in [("/login", ""), ("/api/user", PASSWORD), ("/api/cloud", OF_VCENTER)] {
            let said = format!("bad: {} {told}", rig.sim.admin_password());
            let body = if json { serde_json::json!({"error": said}).to_string() } else { said };
            let what = Effect::Status { code, body: Some(body), retry_after: None };
            rig.control().fault(Fault::new(what).on("POST", path).times(2));
        }
        let user = User { meta: Meta::named("u2"), ..user.clone() };
        shown.push(format!("{:?}", api.create(USER, &user).await.err().context("a refusal")?));
        let error = api.create(CLOUD, &cloud).await.err().context("a refusal")?;
        shown.push(format!("{error:?} {error} {}", error.text()));
        let other = rig.client(|_| {})?;
        shown.push(format!("{:?}", other.versions().await.err().context("a refusal")?));
        rig.control().clear_faults();
    }
    for what in [Effect::CutAfter, Effect::HalfReply] {
        rig.control().fault(Fault::new(what).on("POST", "/login").times(1));
        shown.push(format!("{:?}", rig.client(|_| {})?.versions().await.err().context("a refusal")?));
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_is_seen() -> Result<()> {
    let rig = Rig::start().await?;
    let log = Log::default();
    let writer = log.clone();
    // Everything that is logged in this thread, by any crate, those with the log facade included: everything runs in
    // one thread.
    let logging = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish()
        .set_default();
    // With a single subscriber in the process, threads of other tests would influence what is logged.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    let mut shown = Vec::new();
    life(&rig, &mut shown).await?;
    drop((logging, second));
    let text = log.text();
    ensure!(text.contains("logged in to the AVI controller"), "nothing was logged: {text}");
    ensure!(text.contains("exchange with the AVI controller"), "TRACE was not logged");
    shown.push(text);
    let config = Config::new("c", Credentials::password("u", Secret::new(PASSWORD)));
    shown.push(format!("{config:?}"));
    let admins = rig.sim.admin_password().to_owned();
    for secret in [PASSWORD, OTHER, OF_VCENTER, "S3cret-no-3!", &admins, "csrftoken=", "sessionid="] {
        for text in &shown {
            if let Some(at) = text.find(secret) {
                let around: String =
                    text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                anyhow::bail!("{secret} is seen after {around:?}");
            }
        }
    }
    // Something was refused, and the error says why.
    ensure!(shown.iter().any(|text| text.contains("bad: ***")), "{shown:#?}");
    rig.api().all(USER, &Query::new()).await?;
    Ok(())
}
