//! Which cases run, in which lanes, and what is reported.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use futures::future::join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::lane::{Lane, text};
use super::mutation::Mutation;
use super::scenario::{Scenario, objects};
use super::schema::{Path, unset};
use super::walk;
use crate::command::replay;
use crate::install::Subject;
use crate::planes::Planes;
use crate::rig::Rig;
use crate::site::Site;

/// So many cases are worth the start of another lane.
const CASES_OF_A_LANE: usize = 25;
/// How many characters of an error are printed.
const LONGEST: usize = 2000;

/// What is done to a sample. Displayed as the name that replays it.
#[derive(Clone, Debug, PartialEq)]
pub enum Case {
    /// Mutations that are made with one request.
    Edits(Vec<Mutation>),
    /// A mutation that is made of an object that exists; no new object has it, if the API server allows the update.
    Update(Mutation),
    /// Several requests.
    Scenario(Scenario),
    /// Ten mutations in a row, chosen by this seed.
    Walk(u64),
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edits(edits) => {
                let names: Vec<_> = edits.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(" & "))
            }
            Self::Update(edit) => edit.fmt(f),
            Self::Scenario(scenario) => scenario.fmt(f),
            Self::Walk(seed) => write!(f, "walk {seed}"),
        }
    }
}

/// All that can be done to a sample.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The sample.
    pub sample: Value,
    /// Its mutations.
    pub mutations: Vec<Mutation>,
    /// Its scenarios.
    pub scenarios: Vec<Scenario>,
}

impl Catalogue {
    /// Returns each mutation and each scenario as a case.
    #[must_use]
    pub fn singles(&self) -> Vec<Case> {
        let edits = self.mutations.iter().map(|mutation| Case::Edits(vec![mutation.clone()]));
        edits.chain(self.scenarios.iter().cloned().map(Case::Scenario)).collect()
    }

    /// Returns one case of each place and each scenario of the whole object as a case, without places below those of `alike`. The name of
    /// a place chooses its case, so that a new field changes no case of another, and whether new objects are made as well: at one of
    /// `new_objects` places.
    #[must_use]
    pub fn one_of_each_place(&self, alike: &[&str], new_objects: usize) -> Vec<Case> {
        let mut places: Vec<(&Path, Vec<Case>)> = Vec::new();
        for mutation in &self.mutations {
            let case = Case::Edits(vec![mutation.clone()]);
            match places.last_mut().filter(|(path, _)| *path == mutation.path()) {
                Some((_, cases)) => cases.push(case),
                None => places.push((mutation.path(), vec![case])),
            }
        }
        let mut chosen = Vec::new();
        for scenario in &self.scenarios {
            let path = scenario.path();
            match places.iter_mut().find(|(place, _)| Some(*place) == path) {
                Some((_, cases)) => cases.push(Case::Scenario(scenario.clone())),
                None => chosen.push(Case::Scenario(scenario.clone())),
            }
        }
        chosen.extend(places.into_iter().filter_map(|(path, cases)| {
            let path = path.to_string();
            let turn: usize = path.bytes().map(usize::from).sum();
            let is_alike = alike.iter().any(|alike| path.starts_with(alike));
            let case = cases.get(turn % cases.len()).filter(|_| !is_alike)?;
            Some(match case {
                Case::Edits(edits) if !(turn / cases.len()).is_multiple_of(new_objects) => {
                    Case::Update(edits.first()?.clone())
                }
                case => case.clone(),
            })
        }));
        chosen
    }

    /// Returns each two mutations of different places as a case.
    #[must_use]
    pub fn pairs(&self) -> Vec<Case> {
        let mut pairs = Vec::new();
        for (index, one) in self.mutations.iter().enumerate() {
            let others = self.mutations.iter().skip(index + 1);
            let others = others.filter(|other| !one.path().overlaps(other.path()));
            pairs.extend(others.map(|other| Case::Edits(vec![one.clone(), other.clone()])));
        }
        pairs
    }

    /// Returns the case of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Case> {
        if let Some(seed) = name.strip_prefix("walk ") {
            return seed.parse().ok().map(Case::Walk);
        }
        let scenario = self.scenarios.iter().find(|scenario| scenario.to_string() == name);
        let mutation =
            |name: &str| self.mutations.iter().find(|mutation| mutation.to_string() == name).cloned();
        let edits = || name.split(" & ").map(mutation).collect::<Option<Vec<_>>>().map(Case::Edits);
        scenario.cloned().map(Case::Scenario).or_else(edits)
    }

    /// Reads the CRDs of a sample and of what the operator creates for it.
    async fn of<R: Rig>(lane: &Lane<R>) -> Result<Self> {
        let sample = lane.sample.clone();
        let (schema, scale) = crd::<R>(lane.rig().site(), text(&sample["kind"])?).await?;
        check_samples::<R>(text(&sample["kind"])?, &schema)?;
        let mutations = Mutation::all(&schema, &sample);
        let mut scenarios = Scenario::all::<R>(&schema, scale.as_ref(), &sample);
        for kind in R::SUBJECT.kinds.iter().filter(|kind| !kind.by_users) {
            let (schema, _) = crd::<R>(lane.rig().site(), kind.kind).await?;
            let created = objects(&lane.rig().site().api(kind.kind)).await?;
            let first = created.first().with_context(|| format!("the operator creates no {}", kind.kind))?;
            let edits = Mutation::all(&schema, first).into_iter();
            scenarios.extend(edits.map(|mutation| Scenario::CreatedEdited(kind.kind, mutation)));
        }
        Ok(Self { sample, mutations, scenarios })
    }
}

/// Checks that the rig's samples of a kind set every field of the spec.
fn check_samples<R: Rig>(kind: &str, schema: &Value) -> Result<()> {
    let mut samples = R::samples();
    samples.retain(|sample| sample["kind"] == kind);
    let unset = unset(schema, &samples).into_iter().map(|path| path.to_string());
    let unset: Vec<_> = unset.filter(|path| !R::UNSET.contains(&path.as_str())).collect();
    ensure!(unset.is_empty(), "no sample of {kind} sets {}", unset.join(", "));
    Ok(())
}

/// Returns the schema of a kind, and the path that its scale subresource changes.
async fn crd<R: Rig>(site: &Site, kind: &str) -> Result<(Value, Option<Path>)> {
    let kind = R::SUBJECT.kind(kind).with_context(|| format!("{} has no kind {kind}", R::SUBJECT.name))?;
    let crds: Api<CustomResourceDefinition> = Api::all(site.client());
    let crd = crds.get(&format!("{}.{}", kind.plural, R::SUBJECT.group)).await?;
    let version = crd.spec.versions.into_iter().find(|version| version.name == kind.version);
    let version = serde_json::to_value(version.context("no such version")?)?;
    let scale = version["subresources"]["scale"]["specReplicasPath"].as_str().map(Path::dotted);
    Ok((version["schema"]["openAPIV3Schema"].clone(), scale))
}

/// What a run has found.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that the API server refused with a clear message, both as an update and as a creation.
    pub refused: usize,
    /// Cases after which the API server stores what it had before.
    pub without_effect: usize,
    /// Cases that the operator answered.
    pub answered: usize,
    /// Cases in which the operator or the API server did not do what must hold.
    pub findings: Vec<(Case, Error)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, without_effect, answered, findings } = self;
        write!(
            f,
            "{refused} refused at admission, {without_effect} without effect, {answered} answered by the operator, {} failed",
            findings.len()
        )
    }
}

/// Returns what can be done to each sample of a rig.
///
/// # Errors
/// If a sample cannot be created, or a field is set in none.
pub async fn catalogues<R: Rig>(planes: &Planes) -> Result<Vec<Catalogue>> {
    let mut catalogues = Vec::new();
    for sample in R::samples() {
        let lane = Lane::<R>::start(planes.take(&R::SUBJECT).await?, sample).await?;
        catalogues.push(Catalogue::of(&lane).await?);
        lane.end().await?;
    }
    Ok(catalogues)
}

/// Runs the cases that `select` chooses for each sample of a rig, in that many lanes. `progress` receives each case that
/// the operator has answered, how, and how long that took.
///
/// # Errors
/// If a sample cannot be created, a kind that users create has none, or a field is set in none. A case that fails is in the
/// report.
pub async fn run<R: Rig>(
    planes: &Planes,
    lanes: usize,
    select: impl Fn(&Catalogue) -> Vec<Case>,
    progress: impl Fn(&Case, &Result<String>, Duration),
) -> Result<Report> {
    let mut report = Report::default();
    let samples = R::samples();
    for kind in R::SUBJECT.kinds.iter().filter(|kind| kind.by_users) {
        ensure!(samples.iter().any(|sample| sample["kind"] == kind.kind), "no sample is a {}", kind.kind);
    }
    let mut lane: Option<Lane<R>> = None;
    for sample in samples {
        let ready = match lane {
            Some(lane) => lane.with(sample).await?,
            None => Lane::start(planes.take(&R::SUBJECT).await?, sample).await?,
        };
        let catalogue = Catalogue::of(&ready).await?;
        let cases = select(&catalogue);
        let mut queue = VecDeque::new();
        for case in cases {
            match admission(&ready, &case).await {
                Ok(Some(Admission { update: false, create: false, .. })) => report.refused += 1,
                Ok(Some(Admission { has_effect: false, .. })) => report.without_effect += 1,
                Ok(admission) => queue.push_back((case, admission.unwrap_or_default())),
                Err(error) => report.findings.push((case, error)),
            }
        }
        let lanes = lanes.min(1 + queue.len() / CASES_OF_A_LANE);
        let queue = RefCell::new(queue);
        let shared = RefCell::new(&mut report);
        let first = work(planes, &catalogue, Some(ready), &queue, &shared, &progress);
        let others = (1..lanes).map(|_| async {
            match work::<R>(planes, &catalogue, None, &queue, &shared, &progress).await? {
                Some(lane) => lane.end().await,
                None => Ok(()),
            }
        });
        let others = async { join_all(others).await.into_iter().collect::<Result<()>>() };
        let (first, others) = futures::join!(first, others);
        others?;
        lane = first?;
    }
    Ok(report)
}

/// Runs cases until none is left, and returns the lane. One in which a case failed is replaced.
async fn work<R: Rig>(
    planes: &Planes,
    catalogue: &Catalogue,
    mut lane: Option<Lane<R>>,
    queue: &RefCell<VecDeque<(Case, Admission)>>,
    report: &RefCell<&mut Report>,
    progress: &impl Fn(&Case, &Result<String>, Duration),
) -> Result<Option<Lane<R>>> {
    loop {
        let next = queue.borrow_mut().pop_front();
        let Some((case, admission)) = next else { return Ok(lane) };
        let ready = match lane.take() {
            Some(lane) => lane,
            None => Lane::start(planes.take(&R::SUBJECT).await?, catalogue.sample.clone()).await?,
        };
        let start = Instant::now();
        let result = match &case {
            Case::Edits(edits) => answer(&ready, edits, admission).await,
            Case::Update(edit) => answer(&ready, std::slice::from_ref(edit), admission).await,
            Case::Scenario(scenario) => scenario.play(&ready).await,
            Case::Walk(seed) => walk::walk(&ready, &catalogue.mutations, *seed).await,
        };
        progress(&case, &result, start.elapsed());
        let mut report = report.borrow_mut();
        match result {
            Ok(_) => {
                report.answered += 1;
                lane = Some(ready);
            }
            Err(error) => {
                if R::SUBJECT.has_fixed_names {
                    ready.rig().site().plane().litter();
                }
                report.findings.push((case, error));
            }
        }
    }
}

/// What the API server says of a changed sample.
#[derive(Clone, Copy, Debug, Default)]
struct Admission {
    update: bool,
    create: bool,
    has_effect: bool,
}

/// Asks the API server about the mutations of a case; `None` for other cases.
async fn admission<R: Rig>(lane: &Lane<R>, case: &Case) -> Result<Option<Admission>> {
    Ok(match case {
        Case::Edits(edits) => Some(admit(lane, edits).await?),
        Case::Update(edit) => {
            let admission = admit(lane, std::slice::from_ref(edit)).await?;
            Some(Admission { create: admission.create && !admission.update, ..admission })
        }
        Case::Scenario(_) | Case::Walk(_) => None,
    })
}

/// Asks the API server, and checks that a refusal is clear.
async fn admit<R: Rig>(lane: &Lane<R>, edits: &[Mutation]) -> Result<Admission> {
    let wanted = changed(&lane.sample, edits);
    let mut admission = Admission::default();
    match lane.put(&wanted, true).await? {
        Ok(object) => {
            admission.update = true;
            let now = lane.object().await?;
            admission.has_effect = now.get("spec") != serde_json::to_value(object)?.get("spec");
        }
        Err(error) => is_clear(error, paths(edits)).context("as an update")?,
    }
    let mut new = wanted;
    new["metadata"]["name"] = json!("dry-run");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match lane.api.create(&dry_run, &serde_json::from_value(new)?).await {
        Ok(object) => {
            admission.create = true;
            let now = lane.object().await?;
            admission.has_effect |= now.get("spec") != serde_json::to_value(object)?.get("spec");
        }
        Err(error) => is_clear(error, paths(edits)).context("as a new object")?,
    }
    Ok(admission)
}

fn paths(edits: &[Mutation]) -> impl Iterator<Item = &Path> {
    edits.iter().map(Mutation::path)
}

/// Checks that a refusal names the field of one of the paths.
pub(super) fn is_clear<'a>(error: kube::Error, paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let kube::Error::Api(status) = error else { return Err(error.into()) };
    let fields: Vec<_> = paths.into_iter().map(Path::last_field).collect();
    let is_clear = fields.iter().any(|field| status.message.contains(field));
    ensure!(
        (400..500).contains(&status.code) && is_clear,
        "a refusal that names none of {fields:?}: {} {}",
        status.code,
        status.message
    );
    Ok(())
}

/// Returns the sample with all mutations made.
pub(super) fn changed(sample: &Value, edits: &[Mutation]) -> Value {
    let mut changed = sample.clone();
    for edit in edits {
        edit.apply(&mut changed);
    }
    changed
}

/// Makes the mutations and reverts them; then makes them from a new object, and reverts them. Returns how the operator
/// answered.
async fn answer<R: Rig>(lane: &Lane<R>, edits: &[Mutation], admission: Admission) -> Result<String> {
    let wanted = changed(&lane.sample, edits);
    let (mut judged, mut answers) = (None, Vec::new());
    if admission.update {
        lane.put(&wanted, false).await?.context("accepted only as a dry run")?;
        let state = lane.judge().await.context("after the mutation")?;
        answers.push(format!("updated: {}", state.verdict));
        judged = Some(state);
        if admission.create {
            // One that is paused would not be deleted. That all is as before is checked at the end.
            lane.put(&lane.sample, false).await?.context("the sample is refused as an update")?;
        } else {
            lane.revert().await?;
        }
    }
    if admission.create {
        lane.delete().await?;
        let new = lane.create(&wanted).await.context("as a new object")?;
        answers.push(format!("new: {}", new.verdict));
        if let Some(judged) = &judged {
            lane.is_like(judged, &new)?;
        }
        lane.restore().await?;
    }
    Ok(answers.join("; "))
}

/// Checks that each value that users may write is refused with a clear message, or explained in the status, or carried out, and
/// that the operator comes back from it.
///
/// # Errors
/// If not; the error has each case and the command that replays it.
pub async fn each_value_is_answered<R: Rig>() -> Result<()> {
    let select = |catalogue: &Catalogue| {
        if R::MANY_FIELDS {
            catalogue.one_of_each_place(R::ALIKE, R::NEW_OBJECTS)
        } else {
            catalogue.singles()
        }
    };
    let report = run::<R>(&Planes::default(), R::SUBJECT.lanes(), select, |_, _, _| ()).await?;
    println!("{}: {report}", R::SUBJECT.name);
    ensure!(report.refused > 0 && report.answered > 0, "nothing was tested: {report}");
    report.check(&R::SUBJECT)
}

impl Report {
    /// Fails if a case has failed; the error has the command that repeats each.
    ///
    /// # Errors
    /// If a case has failed.
    pub fn check(&self, subject: &Subject) -> Result<()> {
        let findings = self.findings.iter().map(|(case, error)| {
            // It may have a text of an object.
            let error: String = format!("{error:#}").chars().take(LONGEST).collect();
            format!("{case}: {error}\nrepeat with: {}", replay("mutate", subject, case))
        });
        let findings: Vec<_> = findings.collect();
        if findings.is_empty() {
            return Ok(());
        }
        bail!("{self}\n{}", findings.join("\n"))
    }
}
