//! `vdo delete`: the objects that ask for drivers, whose drivers the operator then removes; at last the operator itself.

use std::fmt::Write as _;
use std::time::Duration;

use kube::api::DeleteParams;
use kube::{Api, Client};
use operator_kit::apply_set::described;
use operator_kit::{Guarded, Key, Kind};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::access::{Access, Select, duration};
use super::error::Error;
use super::terminal::Terminal;
use super::{Done, Ends, deploy, status};
use crate::api::{DriverSet, VdoConfig};

/// How often is looked whether something is gone.
const PAUSE: Duration = Duration::from_secs(1);

/// Removes drivers, by deleting the VDOConfig or DriverSet that asks for them, and waits until they are gone
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    select: Select,

    /// All VDOConfigs and DriverSets
    #[arg(long, conflicts_with_all = ["name", "namespace"], required_unless_present = "name")]
    all: bool,

    /// Remove the operator as well, with its kinds and their objects, as `vdo deploy` has applied it
    #[arg(long, requires = "all")]
    operator: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// How long to wait, such as 90s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    timeout: Duration,

    #[command(flatten)]
    pub(super) access: Access,
}

/// What was deleted, and what is still there.
#[derive(Debug, Default, Serialize)]
struct Report {
    deleted: Vec<String>,
    /// What is still there, and why.
    left: Vec<String>,
}

impl Delete {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let client = self.access.client().await?;
        let end = Instant::now() + self.timeout;
        let found = status::asking(&client, &self.select).await?;
        let mut report =
            Report { deleted: found.iter().map(|of| of.object.clone()).collect(), ..Report::default() };
        if report.deleted.is_empty() && !self.operator {
            return Err(self.select.nothing());
        }
        self.confirm(&report.deleted)?;
        delete::<VdoConfig>(&client, &self.select).await?;
        delete::<DriverSet>(&client, &self.select).await?;
        report.left = self.wait(&client, end).await?;
        if self.operator && report.left.is_empty() {
            report.deleted.push("the operator".to_owned());
            let set = deploy::set(client);
            loop {
                let left = set.delete().await?;
                report.left = described(&left);
                if left.is_empty() || Instant::now() >= end {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        let ends = if report.left.is_empty() { Ends::Well } else { Ends::NotAsAsked };
        Ok(Done { text: text(&report), json: json!(report), ends })
    }

    fn confirm(&self, objects: &[String]) -> Result<(), Error> {
        if self.yes {
            return Ok(());
        }
        let mut what = objects.to_vec();
        if self.operator {
            what.push("the operator with its kinds and all their objects".to_owned());
        }
        let what = what.join(", ");
        let mut terminal = Terminal::open().ok_or_else(|| {
            Error::Usage(format!("this deletes {what}: write --yes, as there is no terminal to ask on"))
        })?;
        if terminal.agrees(&format!("Delete {what}, and the drivers that they ask for?"))? {
            return Ok(());
        }
        Err(Error::Usage("nothing was deleted".to_owned()))
    }

    /// Waits until the objects are gone; returns those that are not, with what the operator says of them.
    async fn wait(&self, client: &Client, end: Instant) -> Result<Vec<String>, Error> {
        loop {
            let left = status::asking(client, &self.select).await?;
            if left.is_empty() || Instant::now() >= end {
                let operator = status::operator(client, &self.access.operator_namespace).await?;
                let mut left: Vec<_> = left.iter().map(status::Seen::brief).collect();
                if !left.is_empty() {
                    left.push(status::operator_line(&operator).trim_end().to_owned());
                }
                return Ok(left);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn delete<K>(client: &Client, select: &Select) -> Result<(), Error>
where
    K: Kind<DynamicType = ()> + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let list = Api::<Guarded<K>>::all(client.clone()).list(&kube::api::ListParams::default()).await;
    for object in list.map_err(super::look::not_installed::<K>)? {
        let key = Key::of(&object);
        if !select.is_meant(&key) {
            continue;
        }
        let api = Api::<Guarded<K>>::namespaced(client.clone(), key.namespace());
        match api.delete(key.name(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted?),
        }
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for object in &report.deleted {
        let _ = writeln!(text, "deleted: {object}");
    }
    if !report.left.is_empty() {
        text += "not gone yet:\n";
    }
    for object in &report.left {
        let _ = writeln!(text, "  {object}");
    }
    text
}
