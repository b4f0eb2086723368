//! The commands demo, bench and docs, which build something and run it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{self, binaries, build, cargo, run_command};
use crate::operators::{self, OPERATORS};
use crate::runner::{self, Selection};

/// The test binaries that run every operator.
const SHARED: &[&str] = &["contract", "perturb"];
/// The interval of the progress lines of a build.
const PROGRESS: Duration = Duration::from_secs(15);

/// Runs the demo of an operator, with binaries of the dev profile.
pub(crate) fn demo(arguments: &[&str]) -> Result<()> {
    let (names, flags): (Vec<&str>, Vec<&str>) =
        arguments.iter().copied().partition(|argument| !argument.starts_with('-'));
    let operator = match names.as_slice() {
        [] => OPERATORS.first().context("there is no operator")?,
        [name] => operators::find_for("demo", name)?,
        _ => bail!("usage: cargo xtask demo [{}] [--keep] [--drivers]", operators::shorts()),
    };
    if let Some(unknown) = flags.iter().find(|flag| !["--keep", "--drivers"].contains(flag)) {
        bail!(
            "unknown argument {unknown}; usage: cargo xtask demo [{}] [--keep] [--drivers]",
            operators::shorts()
        );
    }
    if flags.contains(&"--drivers") && operator.short != "vdo" {
        bail!("--drivers is for the demo of vdo");
    }
    Tools::of(operator.tools)?;
    build_with_progress(&[operator.name, "demo"])?;
    let mut demo = Command::new(binaries()?.join("demo"));
    demo.arg(operator.short).args(flags).current_dir(project_root()?);
    exec(&mut demo)
}

/// Builds binaries and shows the elapsed time meanwhile: the first build takes minutes.
fn build_with_progress(names: &[&str]) -> Result<()> {
    let begin = Instant::now();
    let (done, is_done) = mpsc::channel::<()>();
    println!("building {}; the first time takes minutes", names.join(" and "));
    let progress = thread::spawn(move || {
        while is_done.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
            println!("still building after {} s", begin.elapsed().as_secs());
        }
    });
    let built = build(names);
    drop(done);
    let _ = progress.join();
    built
}

/// Runs the end-to-end tests, the contract and the perturbed runs of the named operators, or of all, and then their checks. Returns
/// whether no check failed.
pub(crate) fn e2e(names: &[&str]) -> Result<bool> {
    let chosen: Vec<_> = names.iter().map(|name| operators::find(name)).collect::<Result<_>>()?;
    let of = if names.is_empty() { OPERATORS.iter().collect() } else { chosen };
    let own = of.iter().flat_map(|operator| operator.tests).map(|binary| Selection::all(binary));
    // These have a module for each operator, and of the kit's examples.
    let shared: Vec<_> = if names.is_empty() {
        SHARED.iter().map(|binary| Selection::all(binary)).collect()
    } else {
        let modules = of.iter().map(|operator| format!("{}::", operator.short));
        modules
            .flat_map(|filter| SHARED.iter().map(move |binary| Selection { binary, filter: filter.clone() }))
            .collect()
    };
    runner::run(&own.chain(shared).collect::<Vec<_>>())?;
    let checks: Vec<_> = of.iter().flat_map(|operator| operator.checks).copied().collect();
    if checks.is_empty() { Ok(true) } else { checks::run(&checks) }
}

/// Builds the measured program and the benchmark, and runs the benchmark.
pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    let [subject, rest @ ..] = arguments else {
        bail!(
            "usage: cargo xtask bench SUBJECT [PART…|--write]; SUBJECT is one of {}, avi",
            operators::shorts()
        );
    };
    let (variable, program) = if *subject == "avi" {
        // With the dev profile, as in the tests.
        build(&["avi-simulator"])?;
        ("AVI_SIMULATOR_BIN".to_owned(), binaries()?.join("avi-simulator"))
    } else {
        let Ok(operator) = operators::find(subject) else {
            bail!("unknown subject {subject}; use one of {}, avi", operators::shorts());
        };
        operators::find_for("bench", subject)?;
        Tools::of(operator.tools)?;
        let variable = format!("{}_BIN", operator.name.to_uppercase().replace('-', "_"));
        (variable, release(operator.name)?)
    };
    build(&["bench"])?;
    let mut bench = Command::new(binaries()?.join("bench"));
    bench.arg(subject).args(rest).env(variable, program).current_dir(project_root()?);
    exec(&mut bench)
}

/// Builds an operator with the release profile. Returns its path.
fn release(name: &str) -> Result<PathBuf> {
    println!("building {name} for release");
    let mut release = cargo()?;
    release.args(["rustc", "--release", "--package", name, "--bin", name, "--"]);
    if cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        // Packed relocations make the file smaller and touch fewer pages at the start.
        release.args(["-C", "link-arg=-Wl,-z,pack-relative-relocs"]);
    }
    run_command(&mut release)?;
    Ok(binaries()?.parent().context("no target directory")?.join("release").join(name))
}

/// Replaces this process by the program, so that Ctrl-C reaches only the program and the shell waits for its cleanup.
pub(crate) fn exec(program: &mut Command) -> Result<()> {
    let error = program.exec();
    Err(error).with_context(|| format!("cannot run {}", program.get_program().to_string_lossy()))
}

/// Builds the API documentation and the book.
pub(crate) fn docs() -> Result<()> {
    run_command(cargo()?.args(["doc", "--workspace", "--no-deps"]))?;
    let root = project_root()?;
    let book = binaries()?.join("../book");
    let built =
        Command::new("mdbook").arg("build").arg(root.join("docs")).arg("--dest-dir").arg(&book).status();
    match built {
        Ok(status) if status.success() => println!("book: {}", book.join("index.html").display()),
        Ok(status) => bail!("mdbook build: {status}"),
        Err(_) => println!("mdbook is not installed: the book is not built, read the Markdown files in docs"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::checks::DRIVERS;

    #[test]
    fn every_test_of_e2e_is_run_by_a_command() {
        let files = fs::read_dir(project_root().unwrap().join("e2e/tests")).unwrap();
        let files: BTreeSet<_> =
            files.map(|file| file.unwrap().path().file_stem().unwrap().to_owned()).collect();
        let files: BTreeSet<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let of = OPERATORS.iter().flat_map(|operator| operator.tests.iter().chain(operator.checks));
        assert_eq!(files, of.chain(SHARED).chain(&[DRIVERS]).copied().collect());
    }
}
