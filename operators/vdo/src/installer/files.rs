//! The files that a driver is installed from: the matrix, and the manifests of a version.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use operator_kit::Key;
use operator_kit::names::check_object_name;

use super::kinds::MatrixPlace;
use super::seen::File;
use super::{Asks, Shared};
use crate::api::{CompatibilityMatrix, MATRIX_CONFIG_MAPS, reason};
use crate::connection::said;
use crate::error::Error;
use crate::fetch::{Fetcher, Source};
use crate::matrix::{self, InvalidMatrix, Matrix, Release};
use crate::plan::Hold;
use crate::render::parse;

/// The matrix that an object uses.
pub(super) struct Chosen {
    pub(super) matrix: Matrix,
    pub(super) auto_upgrade: bool,
}

/// Why a file is not there.
pub(crate) enum Lack {
    /// It has to be downloaded first.
    Files(Vec<File>),
    /// It cannot be used, or fetched now.
    Hold(Hold),
}

impl From<Hold> for Lack {
    fn from(hold: Hold) -> Self {
        Self::Hold(hold)
    }
}

fn unusable(message: String) -> Hold {
    Hold { reason: reason::FILE_UNUSABLE, message }
}

/// Returns the matrix that an object uses.
pub(super) async fn matrix<K: Asks>(shared: &Shared, object: &K) -> Result<Result<Chosen, Lack>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    match object.matrix() {
        MatrixPlace::BuiltIn => Ok(read(Matrix::built_in(), true)),
        MatrixPlace::Named(name) => named(shared, &namespace, name).await,
        MatrixPlace::ConfigMap => of_config_map(shared, &namespace).await,
    }
}

fn read(matrix: Result<Matrix, InvalidMatrix>, auto_upgrade: bool) -> Result<Chosen, Lack> {
    match matrix {
        Ok(matrix) => Ok(Chosen { matrix, auto_upgrade }),
        Err(error) => Err(unusable(format!("the matrix: {error}")).into()),
    }
}

async fn of_config_map(shared: &Shared, namespace: &str) -> Result<Result<Chosen, Lack>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(shared.client.clone(), namespace);
    for name in MATRIX_CONFIG_MAPS {
        let Some(object) = api.get_opt(name).await? else { continue };
        let of = |message: String| unusable(format!("the ConfigMap {namespace}/{name}: {message}"));
        let settings = match matrix::settings(&object.data.unwrap_or_default()) {
            Ok(settings) => settings,
            Err(message) => return Ok(Err(of(message).into())),
        };
        let source = match settings.source {
            matrix::Source::Content(text) => return Ok(read(Matrix::parse(&text), settings.auto_upgrade)),
            matrix::Source::Url(url) => url.parse::<Source>(),
        };
        return match source {
            Ok(source) => of_source(shared, namespace, source, settings.auto_upgrade).await,
            Err(message) => Ok(Err(of(message).into())),
        };
    }
    Ok(read(Matrix::built_in(), false))
}

async fn named(shared: &Shared, namespace: &str, name: &str) -> Result<Result<Chosen, Lack>, Error> {
    let object = shared.caches.matrices.valid(&Key::new(namespace, name));
    let Some(object) = object else {
        let hold = match check_object_name(name) {
            Ok(()) => unusable(format!(
                "spec.matrix: the CompatibilityMatrix {namespace}/{name} does not exist: create it"
            )),
            Err(why) => Hold { reason: reason::INVALID_SETTINGS, message: format!("spec.matrix: {why}") },
        };
        return Ok(Err(hold.into()));
    };
    let CompatibilityMatrix { spec, .. } = &*object;
    match Source::of_matrix(spec) {
        Ok(None) => Ok(read(Matrix::parse(spec.inline.as_deref().unwrap_or_default()), true)),
        Ok(Some(source)) => of_source(shared, namespace, source, true).await,
        Err(problem) => Ok(Err(unusable(format!("the CompatibilityMatrix {name}: {problem}")).into())),
    }
}

async fn of_source(
    shared: &Shared,
    namespace: &str,
    source: Source,
    auto_upgrade: bool,
) -> Result<Result<Chosen, Lack>, Error> {
    let now = shared.clock.now();
    let may_differ = source.is_remote() && !source.is_pinned();
    let file = || File { source: source.clone(), namespace: namespace.to_owned() };
    if may_differ && shared.memory.is_old(source.identity(), now) {
        return Ok(Err(Lack::Files(vec![file()])));
    }
    let found = text(shared, &file()).await?;
    Ok(found.and_then(|text| read(Matrix::parse(&text), auto_upgrade)))
}

/// Returns the objects in the manifests of a version.
pub(super) async fn manifests(
    shared: &Shared,
    namespace: &str,
    release: &Release,
) -> Result<Result<Vec<DynamicObject>, Lack>, Error> {
    let (mut objects, mut missing) = (Vec::new(), Vec::new());
    for path in &release.manifests {
        let source = match path.parse::<Source>() {
            Ok(source) => source,
            Err(message) => return Ok(Err(unusable(format!("deploymentPath: {message}")).into())),
        };
        match text(shared, &File { source, namespace: namespace.to_owned() }).await? {
            Ok(text) => match parse(&text) {
                Ok(more) => objects.extend(more),
                Err(problem) => return Ok(Err(unusable(format!("{path}: {}", said(&[problem]))).into())),
            },
            Err(Lack::Files(files)) => missing.extend(files),
            Err(lack) => return Ok(Err(lack)),
        }
    }
    Ok(if missing.is_empty() { Ok(objects) } else { Err(Lack::Files(missing)) })
}

/// Returns the text of a file that needs no download.
pub(crate) async fn text(shared: &Shared, file: &File) -> Result<Result<String, Lack>, Error> {
    let failed = || shared.memory.failure(file.source.identity(), shared.clock.now());
    match fetcher(shared, file).known(&file.source).await {
        Ok(Some(fetched)) => Ok(Ok(fetched.text)),
        Ok(None) => Ok(Err(failed().map_or_else(|| Lack::Files(vec![file.clone()]), Lack::Hold))),
        Err(crate::fetch::Error::Kube { error, .. }) => Err((*error).into()),
        Err(error) => Ok(Err(error.hold().into())),
    }
}

/// Returns what fetches a file.
pub(super) fn fetcher(shared: &Shared, file: &File) -> Fetcher {
    Fetcher { sources: file.namespace.clone(), ..shared.fetcher.clone() }
}
