//! Benchmark of the AVI simulator and the AVI client: the cost of lists by the number of objects, and the number of requests
//! of each operation of the client.
//!
//! Both are built with the dev profile, as in the tests. Counts do not depend on the profile; the times are those of tests.

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
use controller::{Controller, Exchange, real};

/// The numbers of objects to measure with.
const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// The page size, the maximum of a controller.
const PAGE: usize = 200;
/// The number of calls whose median time is reported.
const CALLS: usize = 21;
/// The number of concurrent tasks with one client.
const TASKS: usize = 50;
/// The limit: how many times more objects may be examined for a list that is ten times longer.
const LINEAR: f64 = 10.5;
/// The limit of examined objects for a lookup by name: one in the index and one on the page.
const LOOKUP: f64 = 2.0;
const ALL: &str = "all, by pages of 200";
const BY_NAME: &str = "by name";

/// Measures everything.
pub(crate) async fn run() -> Result<Report> {
    let machine = machine::described();
    let mut report = Report::new(format!(
        "Measured on {machine}, the simulator and the client on the same machine, both built with the dev profile."
    ));
    let small = lists(&Controller::start().await?, FEW, &mut report).await?;
    let controller = Controller::start().await?;
    let large = lists(&controller, MANY, &mut report).await?;
    compare(&small, &large, &mut report)?;
    client(&controller, &mut report).await?;
    Ok(report)
}

/// The cost of an operation with a number of objects.
struct Operation {
    name: &'static str,
    requests: u64,
    /// The number of objects that the simulator examined.
    visited: u64,
    /// The size of all responses.
    bytes: u64,
    time: Duration,
}

/// Fills the simulator and measures lists.
async fn lists(controller: &Controller, objects: usize, report: &mut Report) -> Result<Vec<Operation>> {
    let begin = Instant::now();
    for n in 0..objects {
        let made = controller.post("/api/pool", &pool(n)).await?;
        ensure!(made.status == 201, "cannot create a pool: {} {}", made.status, made.body);
    }
    let per_object = begin.elapsed().as_secs_f64() * 1e3 / real(objects as u64);
    let remark = "each, one after the other, over one connection";
    report.figure(&format!("create {objects} pools"), per_object, "ms", None, remark);
    let memory = controller.resident()?;
    report.figure(&format!("simulator's RSS with {objects} pools"), memory, "MB", None, "");

    let middle = objects / PAGE / 2;
    let wanted = name_of(objects / 2);
    Ok(vec![
        walked(controller, objects).await?,
        median(controller, "one page in the middle", &format!("page_size={PAGE}&page={middle}")).await?,
        median(controller, "the first page, sorted", &format!("page_size={PAGE}&sort=-name")).await?,
        median(controller, BY_NAME, &format!("name={wanted}")).await?,
        median(controller, "by name, there is none", "name=none").await?,
        median(controller, "by part of the name, one has it", &format!("name.contains={wanted}")).await?,
        median(controller, "by maker, a hundredth", "created_by=m7&page_size=200&fields=name").await?,
    ])
}

/// Reads all pages.
async fn walked(controller: &Controller, objects: usize) -> Result<Operation> {
    let before = controller.visited().await?;
    let (mut requests, mut bytes, mut seen) = (0, 0, 0);
    let begin = Instant::now();
    let mut next = Some(format!("/api/pool?page_size={PAGE}"));
    while let Some(path) = next {
        let page = controller.get(&path).await?;
        requests += 1;
        bytes += page.body.len() as u64;
        let page = page.json()?;
        seen += page["results"].as_array().map_or(0, Vec::len);
        next = page["next"].as_str().map(|url| controller.path_of(url).to_owned());
    }
    let time = begin.elapsed();
    ensure!(seen == objects, "{seen} of {objects} were listed");
    let visited = controller.visited().await? - before;
    Ok(Operation { name: ALL, requests, visited, bytes, time })
}

/// Measures a request several times. Changes a pool before each, because the simulator caches lists until an object that
/// they depend on is written.
async fn median(controller: &Controller, name: &'static str, query: &str) -> Result<Operation> {
    let first = controller.get(&format!("/api/pool?name={}", name_of(0))).await?.json()?;
    let uuid = first["results"][0]["uuid"].as_str().context("the first pool")?;
    let mut times = Vec::new();
    let mut last: Option<(Exchange, u64)> = None;
    for n in 0..CALLS {
        let change = json!({ "replace": { "description": format!("changed {n} times") } });
        controller.patch(&format!("/api/pool/{uuid}"), &change).await?.json()?;
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
    Ok(Operation { name, requests: 1, visited, bytes: reply.body.len() as u64, time })
}

/// Measures the requests of the client, as counted by the simulator.
async fn client(controller: &Controller, report: &mut Report) -> Result<()> {
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
    ensure!(all.len() == MANY, "{} of {MANY} were listed", all.len());
    counted.of("logout", avi.close()).await?;

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
    avi.close().await?;
    report.figure("logins of 50 tasks on a new client", counted.last("POST /login"), "", Some(1.0), "");
    report.figure("50 tasks, each by name", took.as_secs_f64() * 1e3, "ms", None, "8 calls at once; once");
    report.table(counted.into_table());
    Ok(())
}

fn connect(controller: &Controller) -> Result<Avi> {
    let credentials = Credentials::password(controller::USER, Secret::new(controller.password()));
    let trust = Trust::CaBundle(controller.ca_pem().to_vec());
    Ok(Avi::start(Config { trust, ..Config::new(controller.url(), credentials) })?)
}

/// The operations of the client with the number of requests of each.
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

    /// Returns the number of requests of a kind in the latest operation.
    fn last(&self, request: &str) -> f64 {
        let requests = self.rows.last().and_then(|(_, requests)| requests.get(request));
        requests.map_or(0.0, |count| real(*count))
    }

    fn into_table(self) -> Table {
        let each = |requests: BTreeMap<String, u64>| {
            let each = requests.iter().map(|(request, count)| format!("{count} {request}"));
            vec![each.collect::<Vec<_>>().join(", ")]
        };
        Table {
            title: format!(
                "Requests of the client's operations, as the simulator counts them, with {MANY} pools:"
            ),
            corner: "operation",
            columns: vec!["requests".to_owned()],
            rows: self.rows.into_iter().map(|(name, requests)| (name.to_owned(), each(requests))).collect(),
        }
    }
}

/// Formats the cost of lists with few and with many objects.
fn compare(small: &[Operation], large: &[Operation], report: &mut Report) -> Result<()> {
    let visited = |operations: &[Operation], name: &str| {
        let operation = operations.iter().find(|operation| operation.name == name);
        operation
            .map(|operation| real(operation.visited))
            .with_context(|| format!("{name:?} was not measured"))
    };
    let ratio = visited(large, ALL)? / visited(small, ALL)?;
    report.figure("objects looked at to list all: 10,000 against 1,000", ratio, "times", Some(LINEAR), "");
    let name = "objects looked at to find one of 10,000 by name";
    report.figure(name, visited(large, BY_NAME)?, "", Some(LOOKUP), "");

    let mut columns = Vec::new();
    for what in ["requests", "objects looked at", "kB", "ms"] {
        columns.extend([FEW, MANY].iter().map(|size| format!("{what}, {size}")));
    }
    let rows = small.iter().zip(large).map(|(small, large)| {
        let pair = [small, large];
        let mut cells: Vec<String> = pair.iter().map(|operation| operation.requests.to_string()).collect();
        cells.extend(pair.iter().map(|operation| operation.visited.to_string()));
        cells.extend(pair.iter().map(|operation| format!("{:.1}", real(operation.bytes) / 1e3)));
        cells.extend(pair.iter().map(|operation| format!("{:.1}", operation.time.as_secs_f64() * 1e3)));
        (small.name.to_owned(), cells)
    });
    let title = format!(
        "Lists of {FEW} and of {MANY} pools, something written before each; of one request the median of {CALLS} times:"
    );
    report.table(Table { title, corner: "list", columns, rows: rows.collect() });
    Ok(())
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
