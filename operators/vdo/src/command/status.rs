//! `vdo status`: what the operator says, and whether it runs.

use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::core::object::HasStatus;
use kube::{Api, Client};
use operator_kit::conditions::{self, READY};
use operator_kit::{Guarded, Key, Kind};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::access::{Access, Select, duration};
use super::error::Error;
use super::{Done, Ends, look};
use crate::api::{CompatibilityMatrix, DriverSet, VSphereConnection, VdoConfig, VsphereCloudConfig};
use crate::program::OPERATOR;

/// How often `--wait` looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows what the operator says of the drivers, the vCenters and the matrices
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    select: Select,

    /// Wait until all is Ready, by statuses that answer the present specs
    #[arg(long)]
    wait: bool,

    /// How long to wait, such as 90s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: Duration,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Whether all is Ready.
    ready: bool,
    operator: OperatorSeen,
    objects: Vec<Seen>,
}

/// The operator's Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperatorSeen {
    /// Namespace and name.
    pub(super) deployment: String,
    /// Whether it exists.
    pub(super) exists: bool,
    pub(super) available_replicas: i32,
    pub(super) images: Vec<String>,
}

/// What the status of an object says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    pub(super) object: String,
    /// Whether Ready is True, and answers the present spec.
    ready: bool,
    /// Whether the status answers the present spec.
    current: bool,
    /// Whether it is being deleted.
    deleting: bool,
    /// Why the object does not parse.
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid: Option<String>,
    pub(super) conditions: Vec<Condition>,
}

impl Seen {
    /// Returns what Ready says, on one line.
    pub(super) fn brief(&self) -> String {
        let ready = conditions::get(&self.conditions, READY);
        let ready = ready.map(|ready| format!(": {}: {}", ready.reason, ready.message.replace('\n', "; ")));
        format!("{}{}", self.object, ready.unwrap_or_default())
    }
}

impl Status {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let client = self.access.client().await?;
        let end = Instant::now() + self.timeout;
        let mut report = self.look(&client).await?;
        while self.wait && !report.ready && Instant::now() < end {
            tokio::time::sleep(PAUSE).await;
            report = self.look(&client).await?;
        }
        let mut shown = text(&report);
        if self.wait && !report.ready {
            let _ = writeln!(
                shown,
                "\nnot all was Ready within {} s; `vdo explain` says what to do",
                self.timeout.as_secs()
            );
        }
        let ends = if report.ready { Ends::Well } else { Ends::NotAsAsked };
        Ok(Done { text: shown, json: json!(report), ends })
    }

    async fn look(&self, client: &Client) -> Result<Report, Error> {
        let objects = statuses(client, &self.select).await?;
        let operator = operator(client, &self.access.operator_namespace).await?;
        Ok(report(operator, objects))
    }
}

/// Reads what the statuses of the operator's objects say: of all connections and matrices, and of the objects that are meant.
pub(super) async fn statuses(client: &Client, select: &Select) -> Result<Vec<Seen>, Error> {
    let all = |_: &Key| true;
    let mut objects = asking(client, select).await?;
    if objects.is_empty() {
        return Err(select.nothing());
    }
    objects.extend(of_kind::<VsphereCloudConfig>(client, all, |status| &status.conditions).await?);
    objects.extend(of_kind::<VSphereConnection>(client, all, |status| &status.conditions).await?);
    objects.extend(of_kind::<CompatibilityMatrix>(client, all, |status| &status.conditions).await?);
    Ok(objects)
}

/// Reads what the statuses of VDOConfigs and DriverSets say.
pub(super) async fn asking(client: &Client, select: &Select) -> Result<Vec<Seen>, Error> {
    let meant = |key: &Key| select.is_meant(key);
    let mut objects = of_kind::<VdoConfig>(client, meant, |status| &status.conditions).await?;
    objects.extend(of_kind::<DriverSet>(client, meant, |status| &status.conditions).await?);
    Ok(objects)
}

async fn of_kind<K>(
    client: &Client,
    is_meant: impl Fn(&Key) -> bool,
    conditions_of: impl Fn(&K::Status) -> &[Condition],
) -> Result<Vec<Seen>, Error>
where
    K: Kind<DynamicType = ()> + HasStatus<Status: Clone>,
{
    let list = Api::<Guarded<K>>::all(client.clone()).list(&ListParams::default()).await;
    let list = list.map_err(|error| look::not_installed::<K>(error))?;
    let objects = list.items.iter().filter(|object| is_meant(&Key::of(*object)));
    Ok(objects
        .map(|object| {
            let (conditions, invalid) = match object.object() {
                Ok(valid) => {
                    (valid.status().map(|status| conditions_of(status).to_vec()).unwrap_or_default(), None)
                }
                Err(error) => (Vec::new(), Some(error.to_owned())),
            };
            let name = format!("{} {}", K::kind(&()), Key::of(object));
            seen(name, kube::Resource::meta(object), conditions, invalid)
        })
        .collect())
}

fn seen(object: String, meta: &ObjectMeta, conditions: Vec<Condition>, invalid: Option<String>) -> Seen {
    let ready = conditions::get(&conditions, READY);
    let current = ready.is_some_and(|ready| ready.observed_generation >= meta.generation);
    Seen {
        object,
        ready: current && invalid.is_none() && ready.is_some_and(|ready| ready.status == "True"),
        current,
        deleting: meta.deletion_timestamp.is_some(),
        invalid,
        conditions,
    }
}

/// Reads the operator's Deployment.
pub(super) async fn operator(client: &Client, namespace: &str) -> Result<OperatorSeen, Error> {
    let found = Api::<Deployment>::namespaced(client.clone(), namespace).get_opt(OPERATOR.name).await?;
    let status = found.as_ref().and_then(|found| found.status.as_ref());
    let template = found.as_ref().and_then(|found| found.spec.as_ref()?.template.spec.as_ref());
    let containers = template.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    Ok(OperatorSeen {
        deployment: format!("{namespace}/{}", OPERATOR.name),
        exists: found.is_some(),
        available_replicas: status.and_then(|status| status.available_replicas).unwrap_or_default(),
        images: containers.iter().filter_map(|container| container.image.clone()).collect(),
    })
}

fn report(operator: OperatorSeen, objects: Vec<Seen>) -> Report {
    // An operator may run outside of the cluster: one that is installed and does not run leaves statuses as they were.
    let is_down = operator.exists && operator.available_replicas == 0;
    let ready = !is_down && objects.iter().all(|object| object.ready && !object.deleting);
    Report { ready, operator, objects }
}

fn text(report: &Report) -> String {
    let mut text = operator_line(&report.operator);
    for object in &report.objects {
        let Seen { object, current, deleting, invalid, conditions, .. } = object;
        let deleting = if *deleting { ", is being deleted" } else { "" };
        let _ = writeln!(text, "\n{object}{deleting}");
        if let Some(error) = invalid {
            let _ = writeln!(text, "  is left alone, as it cannot be read: {error}");
        } else if !current {
            text += "  the operator has not answered the present spec yet\n";
        }
        let width = conditions.iter().map(|of| of.type_.len()).max().unwrap_or_default();
        for Condition { type_, status, reason, message, .. } in conditions {
            let sign = match status.as_str() {
                "True" => '+',
                "False" => '-',
                _ => '?',
            };
            let message = message.replace('\n', "\n      ");
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            let _ = writeln!(text, "  {sign} {type_:width$}  {reason}{message}");
        }
    }
    text
}

pub(super) fn operator_line(operator: &OperatorSeen) -> String {
    let OperatorSeen { deployment, exists, available_replicas, images } = operator;
    if !exists {
        return format!(
            "Operator: no Deployment {deployment}: if it is elsewhere, write --operator-namespace\n"
        );
    }
    let images = images.join(", ");
    match available_replicas {
        0 => {
            format!("Operator: {deployment} ({images}) does not run: the statuses are as it has left them\n")
        }
        _ => format!("Operator: {deployment} ({images}): {available_replicas} available\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(status: &str, observed: i64, is_deleted: bool, invalid: Option<&str>) -> Seen {
        let mut all = Vec::new();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let status = if status == "True" { conditions::Status::True } else { conditions::Status::False };
        conditions::set(&mut all, READY, status, "AsAsked", "why\nand why", Some(observed), now);
        let deletion_timestamp =
            is_deleted.then_some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        let meta = ObjectMeta { generation: Some(2), deletion_timestamp, ..ObjectMeta::default() };
        seen("VDOConfig default/vdo".to_owned(), &meta, all, invalid.map(str::to_owned))
    }

    fn operator(exists: bool, available_replicas: i32) -> OperatorSeen {
        OperatorSeen {
            deployment: "ns/vdo".to_owned(),
            exists,
            available_replicas,
            images: vec!["vdo:1".to_owned()],
        }
    }

    #[test]
    fn all_is_ready_by_present_statuses_of_an_operator_that_runs() {
        for (seen, of, ready, says) in [
            (
                object("True", 2, false, None),
                operator(true, 1),
                true,
                "  + Ready  AsAsked: why\n      and why\n",
            ),
            (object("True", 2, false, None), operator(false, 0), true, "no Deployment ns/vdo"),
            (object("True", 2, false, None), operator(true, 0), false, "ns/vdo (vdo:1) does not run"),
            (object("True", 1, false, None), operator(true, 1), false, "has not answered the present spec"),
            (object("False", 2, false, None), operator(true, 1), false, "  - Ready"),
            (object("True", 2, true, None), operator(true, 1), false, "is being deleted"),
            (
                object("True", 2, false, Some("spec: bad")),
                operator(true, 1),
                false,
                "cannot be read: spec: bad",
            ),
        ] {
            let report = report(of, vec![seen]);
            assert_eq!(report.ready, ready, "{report:?}");
            let text = text(&report);
            assert!(text.contains(says), "{text}");
        }
    }
}
