//! Which AKO works with which controller and which Kubernetes. Owns the numbers and where they are from.

use std::str::FromStr;

use infra_clients::avi::Version;

use crate::api::reason::CONTROLLER_UNSUPPORTED;
use crate::problem::Problem;

/// What is known of a minor version of AKO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The minor version of AKO.
    ako: (u16, u16),
    /// The oldest controller that AKO starts with.
    oldest_controller: Version,
    /// Oldest and newest controller that the vendor documents.
    controllers: (Version, Version),
    /// Oldest and newest Kubernetes that the vendor builds it for.
    kubernetes: ((u16, u16), (u16, u16)),
    /// Where the numbers are from: the oldest controller and Kubernetes are in the first file, the controllers in the second.
    source: &'static str,
}

/// The newest minor version of AKO that can be delivered.
static NEWEST: Row = Row {
    ako: (2, 2),
    oldest_controller: Version(22, 1, 3),
    controllers: (Version(30, 1, 1), Version(31, 2, 1)),
    kubernetes: ((1, 29), (1, 34)),
    source: "buildsettings.json and docs/README.md of AKO 2.2.1",
};

/// All of them.
static MATRIX: &[&Row] = &[&NEWEST];

/// A minor version of AKO whose template is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AkoMinor(&'static Row);

impl Default for AkoMinor {
    fn default() -> Self {
        Self(&NEWEST)
    }
}

impl FromStr for AkoMinor {
    type Err = String;

    /// Reads a version, such as `2.2.1`.
    fn from_str(version: &str) -> Result<Self, String> {
        let minor = two_numbers(version);
        MATRIX.iter().find(|row| Some(row.ako) == minor).map(|row| Self(row)).ok_or_else(|| {
            let known = MATRIX.iter().map(|Row { ako: (major, minor), .. }| format!("{major}.{minor}"));
            let known = known.collect::<Vec<_>>().join(", ");
            format!("the operator has no template for this AKO: write a version of AKO {known}")
        })
    }
}

impl AkoMinor {
    /// Returns the newest controller that this AKO knows.
    pub(super) fn newest_controller(self) -> Version {
        self.0.controllers.1
    }
}

/// Whether a combination is supported by the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is documented.
    Documented,
    /// AKO starts, but the vendor does not document the combination: what is outside, and of which range.
    Undocumented(String),
}

/// Returns whether this AKO works with this controller and, where it is known, this Kubernetes.
///
/// # Errors
/// If AKO ends at once with this controller, or if the controller is newer than it knows.
pub(super) fn support(ako: AkoMinor, controller: &str, kubernetes: Option<&str>) -> Result<Support, Problem> {
    let row = ako.0;
    let (low, high) = row.controllers;
    let unsupported = |message| Problem { reason: CONTROLLER_UNSUPPORTED, message };
    let version: Version = controller.parse().map_err(|_| {
        unsupported(format!(
            "spec.controllerVersion: {controller:?} is no version of a controller: write one such as {low}"
        ))
    })?;
    let (major, minor) = row.ako;
    if version < row.oldest_controller {
        return Err(unsupported(format!(
            "controller {version} is too old: AKO {major}.{minor} needs {} or later: upgrade the controller, or correct \
             spec.controllerVersion",
            row.oldest_controller
        )));
    }
    if version > high {
        return Err(unsupported(format!(
            "controller {version} is newer than AKO {major}.{minor} knows: set spec.controllerVersion to {high}, which newer \
             controllers serve"
        )));
    }
    let mut outside = Vec::new();
    if version < low {
        outside.push(format!("controllers {low} to {high} (this is {version})"));
    }
    let (oldest, newest) = row.kubernetes;
    if let Some(text) = kubernetes {
        let known = two_numbers(text);
        if known.is_none_or(|known| known < oldest || known > newest) {
            outside.push(format!(
                "Kubernetes {}.{} to {}.{} (this is {text})",
                oldest.0, oldest.1, newest.0, newest.1
            ));
        }
    }
    if outside.is_empty() {
        return Ok(Support::Documented);
    }
    let outside = outside.join(" and for ");
    Ok(Support::Undocumented(format!("AKO {major}.{minor} is documented for {outside}: see {}", row.source)))
}

/// Returns the first two numbers of a version, such as `v1.33.2` or `2.2.1-patch1`.
fn two_numbers(version: &str) -> Option<(u16, u16)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
