//! The Go programs that tests, the demo and the benchmarks run: where they are, and how they get there.
//!
//! Owns the cache of built programs. Each Go module under `e2e/tools/` is pinned by its `go.mod` and
//! `go.sum`; its programs are built once into `<cache>/tools/<module>-<hash of the module>/bin` and
//! shared by every checkout and every test process of the machine. Never downloads a binary, and
//! never removes a cache entry: another checkout may be using it.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How often a running build says that it is still alive.
const PROGRESS: Duration = Duration::from_secs(15);
/// How many lines of a failed build are shown.
const FAILURE_LINES: usize = 30;

/// One Go module under `e2e/tools/`.
struct Module {
    /// Its directory there, also the first half of its cache key.
    name: &'static str,
    /// The module in `go.mod` whose version is the programs' version, where there is one.
    pinned: Option<&'static str>,
    /// The programs: name of the binary and package to build.
    programs: &'static [(&'static str, &'static str)],
    /// Said before a build, so that nobody takes a long one for a hang.
    duration: &'static str,
}

const MODULES: &[Module] = &[
    Module {
        name: "vcsim",
        pinned: Some("github.com/vmware/govmomi"),
        programs: &[("vcsim", "./cmd/vcsim"), ("supervise", "./cmd/supervise")],
        duration: "1.5 minutes",
    },
    Module {
        name: "etcd",
        pinned: Some("go.etcd.io/etcd/server/v3"),
        programs: &[("etcd", "go.etcd.io/etcd/server/v3")],
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
        duration: "4.5 minutes",
    },
];

/// The programs, all present.
#[derive(Debug, Clone)]
pub struct Tools {
    paths: BTreeMap<&'static str, PathBuf>,
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
        let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let sources = project_root()?.join("e2e/tools");
        let cache = cache_root()?.join("tools");
        let mut paths = BTreeMap::new();
        for module in MODULES {
            let source = sources.join(module.name);
            let directory = cache.join(format!("{}-{}", module.name, module_hash(&source)?));
            let mut wanted = Vec::new();
            for &(name, package) in module.programs {
                let asset = assets.as_ref().map(|dir| dir.join(name)).filter(|path| path.is_file());
                let path = asset.unwrap_or_else(|| directory.join("bin").join(name));
                if !path.is_file() {
                    wanted.push((name, package));
                }
                paths.insert(name, path);
            }
            if !wanted.is_empty() {
                module.build(&source, &directory, &wanted)?;
            }
        }
        Ok(Tools { paths })
    }

    /// Where the program `name` is.
    ///
    /// # Errors
    /// If no module builds a program of that name.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.paths
            .get(name)
            .cloned()
            .with_context(|| format!("no Go module under e2e/tools builds a program named {name}"))
    }

    /// Every program: its name and where it is.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

impl Module {
    /// Builds `wanted` into a scratch directory and moves each program into place when all are done.
    fn build(&self, source: &Path, directory: &Path, wanted: &[(&str, &str)]) -> Result<()> {
        let bin = directory.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        // The lock goes with the file handle: a builder that dies leaves nothing locked.
        let lock = File::create(directory.join("lock")).context("cannot create the build lock")?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for another process that builds {}", self.name);
            lock.lock().context("cannot lock the build directory")?;
        }
        let wanted: Vec<_> = wanted.iter().filter(|(name, _)| !bin.join(name).is_file()).collect();
        if wanted.is_empty() {
            return Ok(());
        }

        let version = self.version(source)?;
        let names = wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let cores = thread::available_parallelism().map_or(1, usize::from);
        eprintln!(
            "building {names} ({version}); up to {} cold on 2 cores (this machine: {cores}), once",
            self.duration
        );
        let started = Instant::now();
        let scratch = tempfile::Builder::new().prefix("building-").tempdir_in(directory)?;
        // The name go gives a binary is the last element of its package's path; etcd needs another.
        let output = match wanted.as_slice() {
            [(name, _)] => scratch.path().join(name),
            _ => scratch.path().to_owned(),
        };
        // The same flags for all programs of a module: the compiler's cache is missed otherwise.
        let mut go = Command::new("go");
        go.current_dir(source)
            .env("CGO_ENABLED", "0")
            .args(["build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags"])
            .arg(self.ldflags(&version))
            .arg("-o")
            .arg(output)
            .args(wanted.iter().map(|(_, package)| package));
        run_with_progress(go, self.name)?;
        for (name, package) in wanted {
            fs::rename(scratch.path().join(name), bin.join(name))
                .with_context(|| format!("go build of {package} left no binary {name}"))?;
        }
        eprintln!("built {names} in {} s", started.elapsed().as_secs());
        Ok(())
    }

    /// The version in go.mod of the module the programs come from.
    fn version(&self, source: &Path) -> Result<String> {
        let Some(pinned) = self.pinned else {
            return Ok("our own".to_owned());
        };
        let file = fs::read_to_string(source.join("go.mod"))?;
        required_version(&file, pinned)
            .map(str::to_owned)
            .with_context(|| format!("{}/go.mod requires no {pinned}", source.display()))
    }

    fn ldflags(&self, version: &str) -> String {
        if self.name != "kubernetes" {
            return "-s -w".to_owned();
        }
        // Without these, /version and `kubectl version` say v0.0.0, and clients choose by version.
        let mut parts = version.trim_start_matches('v').split('.');
        let major = parts.next().unwrap_or_default();
        let minor = parts.next().unwrap_or_default();
        let package = "k8s.io/component-base/version";
        format!(
            "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        )
    }
}

/// Runs `go build -v`, showing a line now and then instead of the thousand packages it names.
fn run_with_progress(mut go: Command, name: &str) -> Result<()> {
    let started = Instant::now();
    let mut child = match go.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "`go` is not on the PATH. The tests run real servers built from Go modules: install Go \
             (the version e2e/tools/kubernetes/go.mod names, or newer) from https://go.dev/dl/"
        ),
        Err(error) => return Err(error).context("cannot run go"),
    };
    let stderr = child.stderr.take().context("go's stderr is piped")?;
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });

    let (mut downloaded, mut compiled) = (0_u32, 0_u32);
    let mut output = Vec::new();
    let mut next = started + PROGRESS;
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with("go: downloading ") => downloaded += 1,
            Ok(line) => {
                compiled += 1;
                output.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {
                next += PROGRESS;
                eprintln!(
                    "  {name}: {} s, {downloaded} modules downloaded, {compiled} packages compiled",
                    started.elapsed().as_secs()
                );
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let tail = &output[output.len().saturating_sub(FAILURE_LINES)..];
        bail!("go build of {name} failed ({status}):\n{}", tail.join("\n"));
    }
    Ok(())
}

/// The version `go.mod` requires of `module`.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        let path = if first == "require" { words.next()? } else { first };
        let version = words.next()?;
        (path == module && version.starts_with('v')).then_some(version)
    })
}

/// A key that changes with everything that decides what a module's programs are.
fn module_hash(source: &Path) -> Result<String> {
    let mut files = Vec::new();
    source_files(source, &mut files)
        .with_context(|| format!("cannot read the Go module {}", source.display()))?;
    files.sort();
    let mut hash = Fnv::new();
    for file in files {
        let name = file.strip_prefix(source).unwrap_or(&file);
        hash.write(name.as_os_str().as_encoded_bytes());
        hash.write(&fs::read(&file)?);
    }
    Ok(hash.hex())
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

/// FNV-1a: a cache key needs no strength, and a stable answer from every version of std.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        // The length goes first, so that two files never read as one.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The directory outside any checkout where built things are kept: `$INFRA_OPERATORS_CACHE`, else
/// `$XDG_CACHE_HOME/infra-operators`, else `~/.cache/infra-operators`.
///
/// # Errors
/// If none of the three variables is set.
pub fn cache_root() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("INFRA_OPERATORS_CACHE") {
        return Ok(path);
    }
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let base = base.context("set INFRA_OPERATORS_CACHE: neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("infra-operators"))
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
    fn versions_come_from_go_mod() {
        let file = "module m\nrequire a.b/c v1.2.3\nrequire (\n\td.e/f v0.9.0 // indirect\n)\nreplace x => d.e/g v1.0.0\n";
        assert_eq!(required_version(file, "a.b/c"), Some("v1.2.3"));
        assert_eq!(required_version(file, "d.e/f"), Some("v0.9.0"));
        assert_eq!(required_version(file, "d.e/g"), None);
    }

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
    fn kubernetes_knows_its_version() {
        let module = MODULES.iter().find(|module| module.name == "kubernetes").unwrap();
        let flags = module.ldflags("v1.36.1");
        assert!(flags.contains("gitVersion=v1.36.1") && flags.contains("gitMinor=36"), "{flags}");
    }
}
