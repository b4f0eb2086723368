//! The Go programs that tests, the demo and the benchmarks run.
//!
//! Owns the cache of built programs. Each Go module under `e2e/tools/` is pinned by its `go.mod` and `go.sum`. Its programs
//! are built once into `<cache>/tools/<module>-<hash of the module>/bin`, for all checkouts and test processes of the
//! machine. Files of the module that tests need are in `manifests`, next to `bin`. Programs that only some tests need are built
//! when these ask for them. Never downloads a binary, and never removes a cache entry, because another checkout may use it.

mod build;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cache::{CacheKey, cache_root};

/// A Go module under `e2e/tools/`.
struct Module {
    /// Its directory, and the first part of its cache key.
    name: &'static str,
    /// The module in `go.mod` whose version is that of the programs, if there is one.
    pinned: Option<&'static str>,
    /// The programs: name of the binary and package to build. Empty if tests need only files.
    programs: &'static [(&'static str, &'static str)],
    /// Files and directories of the pinned module that tests need.
    manifests: &'static [&'static str],
    /// The usual duration of a build, for a message, so that a long build does not look like a hang.
    duration: &'static str,
    /// Whether it is built only for who names it.
    on_demand: bool,
}

/// Environment variables with the path of a program to use instead of the built one, such as a newer driver that no module has.
const OVERRIDES: &[(&str, &str)] = &[("vsphere-csi", "CSI_BIN"), ("syncer", "SYNCER_BIN")];

const MODULES: &[Module] = &[
    Module {
        name: "vcsim",
        pinned: Some("github.com/vmware/govmomi"),
        programs: &[
            ("vcsim", "./cmd/vcsim"),
            ("supervise", "./cmd/supervise"),
            ("container", "./cmd/container"),
        ],
        manifests: &[],
        duration: "1.5 minutes",
        on_demand: false,
    },
    Module {
        name: "etcd",
        pinned: Some("go.etcd.io/etcd/server/v3"),
        programs: &[("etcd", "go.etcd.io/etcd/server/v3")],
        manifests: &[],
        duration: "25 seconds",
        on_demand: false,
    },
    Module {
        name: "kubernetes",
        pinned: Some("k8s.io/kubernetes"),
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
        manifests: &[],
        duration: "4.5 minutes",
        on_demand: false,
    },
    Module {
        name: "capi",
        pinned: Some("sigs.k8s.io/cluster-api"),
        programs: &[("capi-core", "sigs.k8s.io/cluster-api/core")],
        manifests: &[
            "core/config/crd/bases",
            "core/config/webhook/manifests.yaml",
            "controlplane/kubeadm/config/crd/bases",
        ],
        duration: "2.5 minutes",
        on_demand: false,
    },
    Module {
        name: "tanzu",
        pinned: Some("github.com/vmware-tanzu/tanzu-framework/apis/run"),
        programs: &[],
        manifests: &[
            "config/crd/bases/run.tanzu.vmware.com_clusterbootstraps.yaml",
            "config/crd/bases/run.tanzu.vmware.com_tanzukubernetesreleases.yaml",
        ],
        duration: "5 seconds",
        on_demand: false,
    },
    Module {
        name: "cpi",
        pinned: Some("k8s.io/cloud-provider-vsphere"),
        programs: &[(
            "vsphere-cloud-controller-manager",
            "k8s.io/cloud-provider-vsphere/cmd/vsphere-cloud-controller-manager",
        )],
        manifests: &[
            "releases/v1.30",
            "releases/v1.31",
            "releases/v1.32",
            "releases/v1.33",
            "releases/v1.34",
            "releases/v1.35",
            "releases/v1.36",
        ],
        duration: "5 minutes",
        on_demand: true,
    },
    Module {
        name: "csi",
        pinned: Some("sigs.k8s.io/vsphere-csi-driver/v3"),
        programs: &[
            ("vsphere-csi", "sigs.k8s.io/vsphere-csi-driver/v3/cmd/vsphere-csi"),
            ("syncer", "sigs.k8s.io/vsphere-csi-driver/v3/cmd/syncer"),
            ("nodeinfo", "./cmd/nodeinfo"),
        ],
        manifests: &["manifests/vanilla"],
        duration: "4 minutes",
        on_demand: true,
    },
    Module {
        name: "csi-provisioner",
        pinned: Some("github.com/kubernetes-csi/external-provisioner/v6"),
        programs: &[(
            "csi-provisioner",
            "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
        )],
        manifests: &["deploy/kubernetes/rbac.yaml"],
        duration: "5 minutes",
        on_demand: true,
    },
];

/// Built programs.
#[derive(Debug, Clone)]
pub struct Tools {
    paths: BTreeMap<&'static str, PathBuf>,
    /// The directory of each module in the cache.
    modules: BTreeMap<&'static str, PathBuf>,
}

impl Tools {
    /// Finds all programs but those that only some tests need, and builds the missing ones. Takes a millisecond if none is missing.
    ///
    /// A program in the directory `KUBEBUILDER_ASSETS` has precedence. Prints the progress of builds to stderr. If several
    /// processes need a build, one builds and the others wait.
    ///
    /// # Errors
    /// If `go` is missing or a build fails; the error has the end of the compiler's output.
    pub fn ensure() -> Result<Tools> {
        Self::find(MODULES.iter().filter(|module| !module.on_demand))
    }

    /// Does the same as [`Tools::ensure`] only for modules with these names or programs with these names, so that a test does
    /// not wait for builds that it does not need. Only here are the drivers of vSphere built: `cpi`, `csi`, `csi-provisioner`. The
    /// variables `CSI_BIN` and `SYNCER_BIN` name other builds of the CSI driver.
    ///
    /// # Errors
    /// Those of `ensure`, if no module or program has one of the names, and if a variable names no file.
    pub fn of(names: &[&str]) -> Result<Tools> {
        let has = |module: &Module, name: &str| {
            module.name == name || module.programs.iter().any(|(built, _)| *built == name)
        };
        for name in names {
            ensure!(MODULES.iter().any(|module| has(module, name)), "{}", unknown(name));
        }
        Self::find(MODULES.iter().filter(|module| names.iter().any(|name| has(module, name))))
    }

    fn find<'a>(modules: impl IntoIterator<Item = &'a Module>) -> Result<Tools> {
        let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let sources = project_root()?.join("e2e/tools");
        let cache = cache_root()?.join("tools");
        let mut tools = Tools { paths: BTreeMap::new(), modules: BTreeMap::new() };
        for module in modules {
            let source = sources.join(module.name);
            let directory = cache.join(format!("{}-{}", module.name, module_hash(&source)?));
            let mut missing = Vec::new();
            for &(name, package) in module.programs {
                let asset = match given(name, |variable| env::var_os(variable))? {
                    Some(path) => Some(path),
                    None => assets.as_ref().map(|dir| dir.join(name)).filter(|path| path.is_file()),
                };
                let path = asset.unwrap_or_else(|| directory.join("bin").join(name));
                if !path.is_file() {
                    missing.push((name, package));
                }
                tools.paths.insert(name, path);
            }
            if !missing.is_empty() || !module.has_manifests(&directory) {
                module.build(&source, &directory, &missing)?;
            }
            tools.modules.insert(module.name, directory);
        }
        Ok(tools)
    }

    /// Returns the path of a program.
    ///
    /// # Errors
    /// If the program was not requested, or no module builds it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.paths.get(name).cloned().with_context(|| unknown(name))
    }

    /// Returns the directory of files copied from the Go module that `e2e/tools/<module>` pins, with the paths of that module.
    ///
    /// # Errors
    /// If the module was not requested, or does not exist.
    pub fn manifests(&self, module: &str) -> Result<PathBuf> {
        Ok(self.modules.get(module).with_context(|| unknown(module))?.join("manifests"))
    }

    /// Returns name and path of each program.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

/// Returns the program that an environment variable names instead of a built one.
fn given(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>> {
    let Some((_, key)) = OVERRIDES.iter().find(|(program, _)| *program == name) else { return Ok(None) };
    let Some(path) = variable(key).map(PathBuf::from) else { return Ok(None) };
    ensure!(path.is_file(), "{key} names {}, which is no file", path.display());
    Ok(Some(path))
}

fn unknown(name: &str) -> String {
    format!(
        "{name} is neither a Go module under e2e/tools nor one of their programs, or was not requested from Tools::of"
    )
}

/// Returns a hash of the files that determine a module's programs.
fn module_hash(source: &Path) -> Result<String> {
    let mut files = Vec::new();
    source_files(source, &mut files)
        .with_context(|| format!("cannot read the Go module {}", source.display()))?;
    files.sort();
    let mut key = CacheKey::default();
    for file in files {
        let name = file.strip_prefix(source).unwrap_or(&file);
        key.add(name.as_os_str().as_encoded_bytes());
        key.add(&fs::read(&file)?);
    }
    Ok(key.to_string())
}

fn source_files(directory: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        if path.is_dir() {
            source_files(&path, into)?;
        } else if matches!(name, "go.mod" | "go.sum") || (extension == "go" && !stem.ends_with("_test")) {
            into.push(path);
        }
    }
    Ok(())
}

/// Returns the root of the checkout that contains the working directory, or else of the one in which this crate was
/// compiled.
///
/// # Errors
/// If neither is a checkout.
pub fn project_root() -> Result<PathBuf> {
    let is_root = |path: &Path| path.join("e2e/tools").is_dir() && path.join("Cargo.toml").is_file();
    // The working directory has precedence: checkouts with the same target directory share binaries.
    let cwd = env::current_dir()?;
    if let Some(root) = cwd.ancestors().find(|path| is_root(path)) {
        return Ok(root.to_owned());
    }
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    ensure!(
        is_root(&compiled),
        "run this inside a checkout of infra-operators: no e2e/tools at or above the working directory"
    );
    Ok(compiled.canonicalize()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_names_and_contents() {
        let module = tempfile::tempdir().unwrap();
        let key = || module_hash(module.path()).unwrap();
        fs::write(module.path().join("go.mod"), "module m").unwrap();
        let first = key();
        fs::write(module.path().join("main_test.go"), "package m").unwrap();
        fs::write(module.path().join("README.md"), "text").unwrap();
        assert_eq!(key(), first, "tests and texts do not affect the programs");
        fs::create_dir(module.path().join("cmd")).unwrap();
        fs::write(module.path().join("cmd/main.go"), "package main").unwrap();
        assert_ne!(key(), first);
    }

    #[test]
    fn a_variable_names_another_build_of_a_driver() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let names_it = |variable: &str| (variable == "CSI_BIN").then(|| file.path().into());
        assert_eq!(given("vsphere-csi", names_it).unwrap().as_deref(), Some(file.path()));
        assert_eq!(given("syncer", names_it).unwrap(), None);
        assert_eq!(given("kubectl", |_| Some("/none".into())).unwrap(), None);
        let error = given("syncer", |_| Some("/none".into())).unwrap_err().to_string();
        assert_eq!(error, "SYNCER_BIN names /none, which is no file");
    }

    #[test]
    fn the_drivers_are_built_only_on_demand() {
        let of = |on_demand| MODULES.iter().filter(move |module| module.on_demand == on_demand);
        let drivers: Vec<_> = of(true).map(|module| module.name).collect();
        assert_eq!(drivers, ["cpi", "csi", "csi-provisioner"]);
        assert!(of(false).any(|module| module.name == "kubernetes"));
    }

    #[test]
    fn an_unknown_program_is_refused_before_any_build() {
        let error = Tools::of(&["supervise", "nonesuch"]).unwrap_err().to_string();
        assert!(error.contains("nonesuch"), "{error}");
    }
}
