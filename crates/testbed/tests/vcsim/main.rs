//! The simulated vCenter, driven through its handle and, where the answers of the API matter, over the wire.
#![allow(clippy::unwrap_used, reason = "the functions here are part of the tests")]

mod guests;
mod inventory;
mod watch;

use std::time::Duration;

use reqwest::{Client, Response};
use testbed::{Fault, Outage, Vcsim, eventually};

/// Bounds each wait for something that takes less than a second on an idle machine.
const SOON: Duration = Duration::from_mins(2);
const FOLDER: &str = "/DC0/vm/vm-operator";

/// A client of the SDK that knows enough SOAP to make a call and to recognise a fault.
struct Sdk {
    http: Client,
    url: String,
}

impl Sdk {
    fn new(vcsim: &Vcsim) -> Self {
        let ca = reqwest::Certificate::from_pem(vcsim.ca_pem().as_bytes()).unwrap();
        let http = Client::builder().no_proxy().cookie_store(true).tls_certs_only([ca]).build().unwrap();
        Self { http, url: format!("https://{}/sdk", vcsim.host()) }
    }

    async fn send(&self, method: &str, this: (&str, &str), args: &str) -> reqwest::Result<Response> {
        let (kind, value) = this;
        let body = format!(
            r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
                xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>
                <{method} xmlns="urn:vim25"><_this type="{kind}">{value}</_this>{args}</{method}>
                </soapenv:Body></soapenv:Envelope>"#
        );
        self.http.post(&self.url).body(body).send().await
    }

    async fn call(&self, method: &str, this: (&str, &str), args: &str) -> (u16, String) {
        let response = self.send(method, this, args).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn login(&self, user: &str, password: &str) -> (u16, String) {
        let args = format!("<userName>{user}</userName><password>{password}</password>");
        self.call("Login", ("SessionManager", "SessionManager"), &args).await
    }

    /// Returns the answer of a RetrievePropertiesEx for properties of one object.
    async fn properties(&self, this: (&str, &str), paths: &[&str]) -> String {
        let (kind, value) = this;
        let paths = paths.join("</pathSet><pathSet>");
        let args = format!(
            r#"<specSet><propSet><type>{kind}</type><pathSet>{paths}</pathSet></propSet>
               <objectSet><obj type="{kind}">{value}</obj></objectSet></specSet><options/>"#
        );
        let collector = ("PropertyCollector", "propertyCollector");
        let (status, body) = self.call("RetrievePropertiesEx", collector, &args).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Returns the managed object's value of the entity at an inventory path.
    async fn find(&self, kind: &str, path: &str) -> String {
        let args = format!("<inventoryPath>{path}</inventoryPath>");
        let (_, body) = self.call("FindByInventoryPath", ("SearchIndex", "SearchIndex"), &args).await;
        reference(kind, &body).unwrap()
    }

    /// Waits for the end of the task that the answer of a call names, and returns its `info.error`.
    async fn outcome(&self, answer: &(u16, String)) -> String {
        let task = reference("Task", &answer.1).unwrap();
        let ended = async || {
            let info = self.properties(("Task", &task), &["info.state", "info.error"]).await;
            Ok((info.contains(">success<") || info.contains(">error<")).then_some(info))
        };
        eventually("the task has ended", SOON, ended).await.unwrap()
    }

    async fn time(&self) -> reqwest::Result<Response> {
        self.send("CurrentTime", ("ServiceInstance", "ServiceInstance"), "").await
    }
}

/// Returns the value of the first reference to a managed object of that type.
fn reference(kind: &str, body: &str) -> Option<String> {
    let rest = body.split(&format!("type=\"{kind}\">")).nth(1)?;
    rest.split('<').next().map(str::to_owned)
}

async fn logged_in(vcsim: &Vcsim) -> Sdk {
    let sdk = Sdk::new(vcsim);
    let (status, body) = sdk.login(vcsim.user(), vcsim.password()).await;
    assert_eq!(status, 200, "{body}");
    sdk
}

#[tokio::test]
async fn logins_are_checked_and_sessions_counted() {
    let vcsim = Vcsim::start().await.unwrap();
    let stranger = Sdk::new(&vcsim);
    let (status, body) = stranger.login(vcsim.user(), "wrong").await;
    assert!(status == 500 && body.contains(r#"xsi:type="InvalidLogin""#), "{body}");

    let sdk = logged_in(&vcsim).await;
    assert_eq!(sdk.time().await.unwrap().status(), 200);
    let sessions = vcsim.sessions().await.unwrap();
    assert_eq!((sessions.now, sessions.max, sessions.logins, sessions.failed_logins), (1, 1, 1, 1));

    vcsim.expire_sessions().await.unwrap();
    assert_eq!(vcsim.sessions().await.unwrap().now, 0);
    let body = sdk.time().await.unwrap().text().await.unwrap();
    assert!(body.contains(r#"xsi:type="NotAuthenticated""#), "{body}");

    let calls = vcsim.calls().await.unwrap();
    assert_eq!((calls["Login"], calls["CurrentTime"]), (2, 2));
    vcsim.reset_calls().await.unwrap();
    assert!(vcsim.calls().await.unwrap().is_empty());
    assert!(!format!("{vcsim:?}{}", vcsim.log()).contains(vcsim.password()));
}

#[tokio::test]
async fn only_its_own_ca_vouches_for_it() {
    let (vcsim, other) = tokio::join!(Vcsim::start(), Vcsim::start());
    let (vcsim, other) = (vcsim.unwrap(), other.unwrap());
    let mut sdk = Sdk::new(&vcsim);
    assert!(sdk.time().await.is_ok());
    sdk.url = format!("https://{}/sdk", other.host());
    assert!(sdk.time().await.unwrap_err().is_connect());
    assert_eq!(vcsim.thumbprint_sha1().len(), 20 * 3 - 1);
    assert_eq!(vcsim.thumbprint_sha256().len(), 32 * 3 - 1);
    assert_ne!(vcsim.thumbprint_sha256(), other.thumbprint_sha256());
    assert_eq!(std::fs::read_to_string(vcsim.ca_file()).unwrap(), vcsim.ca_pem());
}

#[tokio::test]
async fn the_inventory_changes_behind_the_operators_back() {
    let vcsim = Vcsim::builder().templates(&["photon", "50% a/b ü"]).start().await.unwrap();
    assert_eq!(vcsim.folders().await.unwrap(), ["/DC0/vm", FOLDER]);
    let vms = vcsim.vms().await.unwrap();
    assert!(vms.iter().all(|vm| vm.template && vm.folder == "/DC0/vm"), "{vms:?}");
    assert!(vms.iter().any(|vm| vm.name == "50% a/b ü" && vm.path == "/DC0/vm/50%25 a%2fb ü"), "{vms:?}");

    vcsim.add_folder(FOLDER, "ns-group").await.unwrap();
    let folder = format!("{FOLDER}/ns-group");
    vcsim.add_vm(&folder, "foreign").await.unwrap();
    vcsim.add_vm(&folder, "foreign").await.unwrap_err();
    vcsim.power_on(&format!("{folder}/foreign")).await.unwrap();
    vcsim.rename_vm(&format!("{folder}/foreign"), "renamed").await.unwrap();
    let vms = vcsim.vms_in(&folder).await.unwrap();
    assert!(vms.len() == 1 && vms[0].name == "renamed" && vms[0].is_on(), "{vms:?}");
    vcsim.unregister_vm(&format!("{folder}/renamed")).await.unwrap();
    assert!(vcsim.vms_in(&folder).await.unwrap().is_empty());
    let error = vcsim.power_off(&format!("{folder}/renamed")).await.unwrap_err();
    assert!(error.to_string().contains("ns-group/renamed"), "{error}");

    assert!(vcsim.calls().await.unwrap().is_empty());
    assert_eq!(vcsim.sessions().await.unwrap().max, 0);
}

#[tokio::test]
async fn faults_come_in_order_and_are_used_up() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    let first = Fault::soap("CurrentTime", "HostCommunication");
    let second = Fault::status("CurrentTime", 503);
    vcsim.fault(first.clone()).await.unwrap();
    vcsim.fault(second.clone()).await.unwrap();
    vcsim.fault(Fault::cut_before("CurrentTime").times(2)).await.unwrap();
    vcsim.fault(Fault::delay("CurrentTime", Duration::from_millis(150))).await.unwrap();
    assert_eq!(vcsim.pending_faults().await.unwrap(), 4);
    assert!(vcsim.is_pending(&first).await.unwrap());

    let body = sdk.time().await.unwrap().text().await.unwrap();
    assert!(!vcsim.is_pending(&first).await.unwrap() && vcsim.is_pending(&second).await.unwrap());
    assert!(
        body.contains(r#"<HostCommunicationFault xmlns="urn:vim25" xsi:type="HostCommunication">"#),
        "{body}"
    );
    assert_eq!(sdk.time().await.unwrap().status(), 503);
    assert!(sdk.time().await.is_err());
    assert!(sdk.time().await.is_err());
    let began = std::time::Instant::now();
    assert_eq!(sdk.time().await.unwrap().status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(vcsim.pending_faults().await.unwrap(), 0);

    let error = vcsim.fault(Fault::soap("CurrentTime", "Nonsense")).await.unwrap_err();
    assert!(error.to_string().contains("Nonsense"), "{error}");
}

#[tokio::test]
async fn hostile_answers_have_a_good_status() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    let folder = sdk.find("Folder", FOLDER).await;
    let create = async |name: &str| sdk.send("CreateFolder", ("Folder", &folder), name).await.unwrap();

    vcsim.fault(Fault::garbage("CreateFolder")).await.unwrap();
    let answer = create("<name>garbage</name>").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(vcsim.folders().await.unwrap().len(), 2);

    let whole = create("<name>whole</name>").await.text().await.unwrap();
    vcsim.fault(Fault::truncate("CreateFolder")).await.unwrap();
    let answer = create("<name>truncated</name>").await;
    assert_eq!(answer.status(), 200);
    let length = answer.content_length();
    let half = answer.text().await.unwrap();
    assert_eq!(length, Some(half.len() as u64));
    assert!(whole.contains("</soapenv:Envelope>") && !half.contains("</soapenv:Envelope>"), "{half}");
    assert!(half.starts_with("<?xml") && whole.starts_with(&half[..whole.len() / 4]), "{half}");
    assert!(vcsim.folders().await.unwrap().contains(&format!("{FOLDER}/truncated")));
}

#[tokio::test]
async fn clock_is_off() {
    let (ahead, behind) = tokio::join!(
        Vcsim::builder().clock_offset(Duration::from_hours(48), true).start(),
        Vcsim::builder().clock_offset(Duration::from_hours(48), false).start(),
    );
    let (ahead, behind) = (ahead.unwrap(), behind.unwrap());
    // RFC 3339 in UTC: the order of the texts is that of the times.
    let time = async |vcsim: &Vcsim| {
        let body = logged_in(vcsim).await.time().await.unwrap().text().await.unwrap();
        body.split("<returnval>").nth(1).unwrap()[..10].to_owned()
    };
    let (ahead, right, behind) =
        (time(&ahead).await, time(&Vcsim::start().await.unwrap()).await, time(&behind).await);
    assert!(ahead > right && right > behind, "{ahead}, {right}, {behind}");
}

#[tokio::test]
async fn a_cut_reply_leaves_its_effect() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    let folder = &sdk.find("Folder", "/DC0/vm").await;

    vcsim.fault(Fault::cut_after("CreateFolder")).await.unwrap();
    assert!(sdk.send("CreateFolder", ("Folder", folder), "<name>a%2fb</name>").await.is_err());
    assert!(vcsim.folders().await.unwrap().contains(&"/DC0/vm/a%2fb".to_owned()));
    let (status, body) = sdk.call("CreateFolder", ("Folder", folder), "<name>a/b</name>").await;
    assert!(status == 500 && body.contains(r#"xsi:type="DuplicateName""#), "{body}");
}

#[tokio::test]
async fn a_hanging_call_goes_on_when_the_rules_are_cleared() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.fault(Fault::hang("CurrentTime").until_cleared()).await.unwrap();
    vcsim.reset_calls().await.unwrap();
    let call = tokio::spawn(async move { sdk.time().await.map(|answer| answer.status()) });
    let arrived = async || Ok((!vcsim.calls().await?.is_empty()).then_some(()));
    eventually("the call has arrived", SOON, arrived).await.unwrap();
    // A slower machine shows less here, but never a false failure.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!call.is_finished());
    vcsim.clear_faults().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn a_user_may_be_forbidden_to_make_folders() {
    let vcsim = Vcsim::builder().read_only_user(true).root_folder(false).start().await.unwrap();
    assert_eq!(vcsim.folders().await.unwrap(), ["/DC0/vm"]);
    vcsim.clear_faults().await.unwrap();
    let (status, body) =
        logged_in(&vcsim).await.call("CreateFolder", ("Folder", "group-3"), "<name>x</name>").await;
    assert!(status == 500 && body.contains(r#"xsi:type="NoPermission""#), "{body}");
}

#[tokio::test]
async fn an_outage_ends_and_the_inventory_is_still_there() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_vm(FOLDER, "one").await.unwrap();

    vcsim.outage(Outage::Refuse).await.unwrap();
    assert!(sdk.time().await.unwrap_err().is_connect());
    vcsim.outage(Outage::Status(503)).await.unwrap();
    assert_eq!(sdk.time().await.unwrap().status(), 503);
    vcsim.outage(Outage::Hang).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), sdk.time()).await.is_err());
    vcsim.outage(Outage::None).await.unwrap();
    assert_eq!(sdk.time().await.unwrap().status(), 200);

    assert_eq!(vcsim.vms_in(FOLDER).await.unwrap().len(), 1);
    assert_eq!(vcsim.sessions().await.unwrap().logins, 1);
}

#[tokio::test]
async fn port_groups_come_and_go() {
    let vcsim = Vcsim::builder().switch(true).hosts(2).start().await.unwrap();
    let (network, switch) = ("/DC0/network", "/DC0/network/DVS0");
    vcsim.add_port_group(switch, "vip/a", 7).await.unwrap();
    vcsim.add_port_group(switch, "vip/a", 8).await.unwrap_err();
    let groups = vcsim.port_groups().await.unwrap();
    let seen: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.vlan)).collect();
    assert_eq!(seen, [("DC0_DVPG0", 0), ("vip/a", 7)]);
    for group in &groups {
        assert!(group.moref.starts_with("dvportgroup-") && group.switch == switch, "{group:?}");
        assert_eq!(group.hosts.len(), 2, "{group:?}");
    }
    assert_eq!(groups[1].path, format!("{network}/vip%2fa"));
    vcsim.remove_port_group(&groups[0].path).await.unwrap();
    vcsim.remove_port_group(&groups[0].path).await.unwrap_err();
    assert_eq!(vcsim.port_groups().await.unwrap(), groups[1..]);
    assert!(vcsim.calls().await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_left_of_it() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = Sdk::new(&vcsim);
    let directory = vcsim.ca_file().parent().unwrap().to_owned();
    assert!(sdk.time().await.is_ok());
    let datastores = format!("infra-operators-datastores-{}", directory.file_name().unwrap().display());
    let datastores = ["/dev/shm".into(), std::env::temp_dir()].map(|parent| parent.join(&datastores));
    assert!(datastores.iter().any(|path| path.exists()));
    drop(vcsim);
    assert!(!directory.exists());
    let removed = async || Ok(datastores.iter().all(|path| !path.exists()).then_some(()));
    eventually("the datastores are gone", SOON, removed).await.unwrap();
    eventually("the port is closed", SOON, async || Ok(sdk.time().await.err())).await.unwrap();
}
