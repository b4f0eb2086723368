//! The Go programs that tests, the demo and the benchmarks run: where they are, and how they get there.
//!
//! Owns the cache of built programs. Each Go module under `e2e/tools/` is pinned by its `go.mod` and
//! `go.sum`; its programs are built once into `<cache>/tools/<module>-<hash of the module>/bin` and
//! shared by every checkout and every test process of the machine. What a program needs of its module's
//! files lies beside `bin`, in `manifests`. Never downloads a binary, and never removes a cache entry:
//! another checkout may be using it.

mod build;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cache::{CacheKey, cache_root};

/// One Go module under `e2e/tools/`.
struct Module {
    /// Its directory there, also the first half of its cache key.
    name: &'static str,
    /// The module in `go.mod` whose version is the programs' version, where there is one.
    pinned: Option<&'static str>,
    /// The programs: name of the binary and package to build. None where only files are wanted.
    programs: &'static [(&'static str, &'static str)],
    /// Files and directories of the pinned module that are wanted with the programs.
    manifests: &'static [&'static str],
    /// Said before a build, so that nobody takes a long one for a hang.
    duration: &'static str,
}

const MODULES: &[Module] = &[
    Module {
        name: "vcsim",
        pinned: Some("github.com/vmware/govmomi"),
        programs: &[("vcsim", "./cmd/vcsim"), ("supervise", "./cmd/supervise")],
        manifests: &[],
        duration: "1.5 minutes",
    },
    Module {
        name: "etcd",
        pinned: Some("go.etcd.io/etcd/server/v3"),
        programs: &[("etcd", "go.etcd.io/etcd/server/v3")],
        manifests: &[],
        duration: "25 seconds",
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
    },
    Module {
        name: "tanzu",
        pinned: Some("github.com/vmware-tanzu/tanzu-framework/apis/run"),
        programs: &[],
        manifests: &["config/crd/bases/run.tanzu.vmware.com_clusterbootstraps.yaml"],
        duration: "5 seconds",
    },
];

/// Programs that are present.
#[derive(Debug, Clone)]
pub struct Tools {
    paths: BTreeMap<&'static str, PathBuf>,
    /// Where each module lies in the cache.
    modules: BTreeMap<&'static str, PathBuf>,
}

impl Tools {
    /// Finds every program, and builds those that are missing. Costs a millisecond when nothing is.
    ///
    /// `KUBEBUILDER_ASSETS` wins for the programs found in it. Says on stderr what it builds and how
    /// far it is. Processes that ask at the same time wait for one build.
    ///
    /// # Errors
    /// If `go` is missing or a build fails; the end of the compiler's output is in the error.
    pub fn ensure() -> Result<Tools> {
        Self::find(MODULES)
    }

    /// As [`Tools::ensure`], but only the modules that have these names or build programs of these names, so that
    /// nobody waits for what they do not use.
    ///
    /// # Errors
    /// As `ensure`, and if there is neither a module nor a program of such a name.
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
            let mut wanted = Vec::new();
            for &(name, package) in module.programs {
                let asset = assets.as_ref().map(|dir| dir.join(name)).filter(|path| path.is_file());
                let path = asset.unwrap_or_else(|| directory.join("bin").join(name));
                if !path.is_file() {
                    wanted.push((name, package));
                }
                tools.paths.insert(name, path);
            }
            if !wanted.is_empty() || !module.has_manifests(&directory) {
                module.build(&source, &directory, &wanted)?;
            }
            tools.modules.insert(module.name, directory);
        }
        Ok(tools)
    }

    /// Where the program `name` is.
    ///
    /// # Errors
    /// If it was not asked for, or no module builds a program of that name.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.paths.get(name).cloned().with_context(|| unknown(name))
    }

    /// What was taken from the Go module that `e2e/tools/<module>` pins besides programs: files under the paths they
    /// have there.
    ///
    /// # Errors
    /// If the module was not asked for, or there is none of that name.
    pub fn manifests(&self, module: &str) -> Result<PathBuf> {
        Ok(self.modules.get(module).with_context(|| unknown(module))?.join("manifests"))
    }

    /// Every program: its name and where it is.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

fn unknown(name: &str) -> String {
    format!("no Go module under e2e/tools is or builds {name}, or it was not asked for")
}

/// A key that changes with everything that decides what a module's programs are.
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

/// The checkout around the working directory, or else the one this crate was compiled in.
///
/// # Errors
/// If there is neither.
pub fn project_root() -> Result<PathBuf> {
    let is_root = |path: &Path| path.join("e2e/tools").is_dir() && path.join("Cargo.toml").is_file();
    // First where we are: checkouts that share a target directory share binaries, too.
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
    fn the_key_follows_names_and_contents() {
        let module = tempfile::tempdir().unwrap();
        let key = || module_hash(module.path()).unwrap();
        fs::write(module.path().join("go.mod"), "module m").unwrap();
        let first = key();
        fs::write(module.path().join("main_test.go"), "package m").unwrap();
        fs::write(module.path().join("README.md"), "text").unwrap();
        assert_eq!(key(), first, "neither tests nor texts decide what is built");
        fs::create_dir(module.path().join("cmd")).unwrap();
        fs::write(module.path().join("cmd/main.go"), "package main").unwrap();
        assert_ne!(key(), first);
    }

    #[test]
    fn a_program_nobody_builds_is_refused_before_anything_is_built() {
        let error = Tools::of(&["supervise", "nonesuch"]).unwrap_err().to_string();
        assert!(error.contains("nonesuch"), "{error}");
    }
}
