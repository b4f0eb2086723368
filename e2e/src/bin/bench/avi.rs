//! The AVI simulator and the AVI client: what a call costs by the number of objects there are, and how many requests
//! each of the client's operations takes.
//!
//! Both are the dev profile's, as in the tests: what is counted does not depend on that, and the times are those that a
//! test waits.

mod controller;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use infra_clients::avi::objects::{Meta, Pool};
use infra_clients::avi::{Avi, Config, Credentials, POOL, Query, Scope};
use infra_clients::{Secret, Trust};
use serde_json::json;

use crate::machine;
use crate::report::{Report, Table};
use controller::{Controller, Exchange};

/// How many objects there are, in turn.
const SIZES: [usize; 2] = [1_000, 10_000];
/// Entries of a page, the most that a controller gives.
const PAGE: usize = 200;
/// Calls of which the median time is taken.
const CALLS: usize = 21;
/// Tasks that use one new client at once.
const TASKS: usize = 50;
/// A list ten times as long may have this many times as many objects looked at: ten, and its other pages' ends.
const LINEAR: f64 = 10.5;

/// Measures everything.
pub(crate) async fn run() -> Result<Report> {
    let machine = machine::described();
    let mut report = Report::new(format!(
        "Measured on {machine}, the simulator and the client on the same machine, both built with the dev profile."
    ));
    let mut sizes = Vec::new();
    for objects in SIZES {
        let controller = Controller::start().await?;
        sizes.push(lists(&controller, objects, &mut report).await?);
        if objects == SIZES[1] {
            client(&controller, objects, &mut report).await?;
        }
    }
    if let [small, large] = sizes.as_slice() {
        report.tables_of_lists(small, large)?;
    }
    Ok(report)
}

/// One operation on the lists, as measured with some number of objects.
struct Operation {
    name: &'static str,
    requests: usize,
    /// Objects that the simulator looked at.
    visited: u64,
    /// Of all replies together.
    bytes: usize,
    time: Duration,
}

/// Fills the simulator and asks for lists.
async fn lists(controller: &Controller, objects: usize, report: &mut Report) -> Result<Vec<Operation>> {
    let begin = Instant::now();
    for n in 0..objects {
        let made = controller.post("/api/pool", &pool(n)).await?;
        ensure!(made.status == 201, "cannot create a pool: {} {}", made.status, made.body);
    }
    let per_object = begin.elapsed().as_secs_f64() * 1e3 / controller::real(objects);
    let name = format!("create, with {objects} at the end");
    report.figure(&name, per_object, "ms", None, "one after the other, over one connection");
    let memory = controller.resident()?;
    report.figure(&format!("simulator's RSS with {objects}"), memory, "MB", None, "");

    let middle = objects / PAGE / 2;
    let wanted = name_of(objects / 2);
    Ok(vec![
        walked(controller, objects).await?,
        median(controller, "one page in the middle", &format!("page_size={PAGE}&page={middle}")).await?,
        median(controller, "the first page, sorted", &format!("page_size={PAGE}&sort=-name")).await?,
        median(controller, "by name", &format!("name={wanted}")).await?,
        median(controller, "by name, there is none", "name=none").await?,
        median(controller, "by part of the name, one has it", &format!("name.contains={wanted}")).await?,
        median(controller, "by maker, a hundredth", "created_by=m7&page_size=200&fields=name").await?,
    ])
}

/// Every page, following `next`.
async fn walked(controller: &Controller, objects: usize) -> Result<Operation> {
    let before = controller.visited().await?;
    let (mut requests, mut bytes, mut seen) = (0, 0, 0);
    let begin = Instant::now();
    let mut next = Some(format!("/api/pool?page_size={PAGE}"));
    while let Some(path) = next {
        let page = controller.get(&path).await?;
        requests += 1;
        bytes += page.body.len();
        let page = page.json()?;
        seen += page["results"].as_array().map_or(0, Vec::len);
        next = page["next"].as_str().map(|url| controller.path_of(url).to_owned());
    }
    let time = begin.elapsed();
    ensure!(seen == objects, "{seen} of {objects} were listed");
    let visited = controller.visited().await? - before;
    Ok(Operation { name: "all, by pages of 200", requests, visited, bytes, time })
}

/// One request, several times. A change before each, so that no list is answered from what is remembered of the last.
async fn median(controller: &Controller, name: &'static str, query: &str) -> Result<Operation> {
    let mut times = Vec::new();
    let mut last: Option<(Exchange, u64)> = None;
    for n in 0..CALLS {
        controller
            .post("/api/vrfcontext", &json!({ "name": format!("{name} {n}"), "cloud_ref": CLOUD }))
            .await?;
        let before = controller.visited().await?;
        let begin = Instant::now();
        let reply = controller.get(&format!("/api/pool?{query}")).await?;
        times.push(begin.elapsed());
        ensure!(reply.status == 200, "{query}: {} {}", reply.status, reply.body);
        last = Some((reply, controller.visited().await? - before));
    }
    times.sort_unstable();
    let time = times.get(CALLS / 2).copied().unwrap_or_default();
    let (reply, visited) = last.context("nothing was asked")?;
    Ok(Operation { name, requests: 1, visited, bytes: reply.body.len(), time })
}

/// What the client asks of the controller, as the controller counts it.
async fn client(controller: &Controller, objects: usize, report: &mut Report) -> Result<()> {
    let mut counted = Counted { controller, rows: Vec::new() };
    let avi = connect(controller)?;
    let api = avi.api(Scope::admin());
    let name = name_of(7);

    let found = counted.of("the first call: login, by name", api.by_name(POOL, &name, &Query::new())).await?;
    let uuid = found.at_most_one()?.context("a pool that was made")?.meta.uuid;
    counted.of("by name", api.by_name(POOL, &name, &Query::new())).await?;
    counted.of("by uuid", api.get(POOL, &uuid)).await?;
    counted.of("update", api.update(POOL, &uuid, |pool| pool.rest.set("description", "changed"))).await?;
    counted.of("update that changes nothing", api.update(POOL, &uuid, |_| ())).await?;
    let new = Pool { meta: Meta::named("new"), ..Pool::default() };
    counted.of("create, or find: made", api.create_or_find(POOL, &new)).await?;
    let new = counted.of("create, or find: found", api.create_or_find(POOL, &new)).await?.into_inner();
    counted.of("delete", api.delete(POOL, &new.meta.uuid)).await?;
    counted.of("delete what is gone", api.delete(POOL, &new.meta.uuid)).await?;
    let all = counted.of("list 10,000", api.all(POOL, &Query::new())).await?;
    ensure!(all.len() == objects, "{} of {objects} were listed", all.len());
    counted.of("logout", avi.logout()).await?;

    let avi = connect(controller)?;
    let api = avi.api(Scope::admin());
    let tasks = (0..TASKS).map(|n| {
        let api = api.clone();
        tokio::spawn(async move { api.by_name(POOL, &name_of(n), &Query::new()).await })
    });
    let begin = Instant::now();
    let together = async {
        for found in try_join_all(tasks).await? {
            found?.at_most_one()?.context("a pool that was made")?;
        }
        anyhow::Ok(())
    };
    counted.of("50 tasks, each by name, on a new client", together).await?;
    let took = begin.elapsed();
    let logins = counted.last("POST /login");
    let rows = std::mem::take(&mut counted.rows);
    report.figure("logins for 50 tasks on a new client", logins, "", Some(1.0), "");
    report.figure("50 tasks, each by name", took.as_secs_f64() * 1e3, "ms", None, "8 calls at once; once");
    report.table(Table::of_requests(rows));
    avi.logout().await?;
    Ok(())
}

fn connect(controller: &Controller) -> Result<Avi> {
    let credentials = Credentials::password(controller::USER, Secret::new(controller.password()));
    let trust = Trust::CaBundle(controller.ca_pem().to_vec());
    Ok(Avi::new(Config { trust, ..Config::new(controller.url(), credentials) })?)
}

/// Operations of the client, and the requests that each took.
struct Counted<'a> {
    controller: &'a Controller,
    rows: Vec<(&'static str, BTreeMap<String, u64>)>,
}

impl Counted<'_> {
    async fn of<T, E>(
        &mut self,
        name: &'static str,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T>
    where
        anyhow::Error: From<E>,
    {
        self.controller.forget_requests().await?;
        let result = operation.await?;
        self.rows.push((name, self.controller.counters().await?));
        Ok(result)
    }

    /// How many requests of that kind the last operation took.
    fn last(&self, request: &str) -> f64 {
        let requests = self.rows.last().and_then(|(_, requests)| requests.get(request));
        requests.map_or(0.0, |count| controller::real(usize::try_from(*count).unwrap_or(usize::MAX)))
    }
}

impl Table {
    fn of_requests(rows: Vec<(&'static str, BTreeMap<String, u64>)>) -> Self {
        let cells = |requests: BTreeMap<String, u64>| {
            let total: u64 = requests.values().sum();
            let each = requests.iter().map(|(request, count)| format!("{count} {request}"));
            vec![total.to_string(), each.collect::<Vec<_>>().join(", ")]
        };
        Self {
            title: "Requests that the client's operations take, with 10,000 objects there:".to_owned(),
            corner: "operation",
            columns: vec!["requests".to_owned(), "which".to_owned()],
            rows: rows.into_iter().map(|(name, requests)| (name.to_owned(), cells(requests))).collect(),
        }
    }
}

impl Report {
    /// The lists' cost with few and with many objects.
    fn tables_of_lists(&mut self, small: &[Operation], large: &[Operation]) -> Result<()> {
        let all = small.first().zip(large.first()).context("nothing was measured")?;
        let ratio = controller::real(usize::try_from(all.1.visited)?)
            / controller::real(usize::try_from(all.0.visited)?);
        let name = "objects looked at by listing all: 10,000 over 1,000";
        self.figure(name, ratio, "times", Some(LINEAR), "linear is 10");
        let mut columns = Vec::new();
        for what in ["requests", "objects looked at", "kB", "ms"] {
            columns.extend(SIZES.iter().map(|size| format!("{what}, {size}")));
        }
        let rows = small.iter().zip(large).map(|(small, large)| {
            let pair = [small, large];
            let mut cells: Vec<String> =
                pair.iter().map(|operation| operation.requests.to_string()).collect();
            cells.extend(pair.iter().map(|operation| operation.visited.to_string()));
            cells.extend(
                pair.iter().map(|operation| format!("{:.1}", controller::real(operation.bytes) / 1e3)),
            );
            cells.extend(pair.iter().map(|operation| format!("{:.1}", operation.time.as_secs_f64() * 1e3)));
            (small.name.to_owned(), cells)
        });
        let title =
            format!("Lists of 1,000 and of 10,000 pools; times of one request are the median of {CALLS}:");
        self.table(Table { title, corner: "list", columns, rows: rows.collect() });
        Ok(())
    }
}

const CLOUD: &str = "/api/cloud/?name=Default-Cloud";

fn name_of(n: usize) -> String {
    format!("pool-of-the-benchmark-{n:05}")
}

fn pool(n: usize) -> serde_json::Value {
    let servers: Vec<_> = (1..=3)
        .map(|last| json!({ "ip": { "addr": format!("10.0.0.{last}"), "type": "V4" }, "port": 8080 }))
        .collect();
    json!({
        "name": name_of(n),
        "cloud_ref": CLOUD,
        "created_by": format!("m{}", n % 100),
        "default_server_port": 8080,
        "servers": servers,
    })
}
