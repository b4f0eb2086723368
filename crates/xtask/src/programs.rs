//! The commands demo, bench and docs, which build something and run it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{binaries, build, cargo, run_command};

/// The Go programs of the demo and of the benchmark of vm-operator.
const RUN: &[&str] = &["etcd", "kube-apiserver", "vcsim"];

/// Runs the demo of vm-operator, with binaries of the dev profile.
pub(crate) fn demo(arguments: &[&str]) -> Result<()> {
    if let Some(unknown) = arguments.iter().find(|argument| **argument != "--keep") {
        bail!("unknown argument {unknown}; usage: cargo xtask demo [--keep]");
    }
    Tools::of(RUN)?;
    println!("building vm-operator and the demo");
    build(&["vm-operator", "demo"])?;
    let binaries = binaries()?;
    let mut demo = Command::new(binaries.join("demo"));
    demo.args(arguments).env("VM_OPERATOR_BIN", binaries.join("vm-operator")).current_dir(project_root()?);
    exec(&mut demo)
}

/// Builds the measured program and the benchmark, and runs the benchmark.
pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    let [what @ ("vm" | "avi"), rest @ ..] = arguments else {
        bail!("usage: cargo xtask bench vm|avi [--write]");
    };
    let (variable, program) = if *what == "vm" {
        Tools::of(RUN)?;
        ("VM_OPERATOR_BIN", release_operator()?)
    } else {
        // With the dev profile, as in the tests.
        build(&["avi-simulator"])?;
        ("AVI_SIMULATOR_BIN", binaries()?.join("avi-simulator"))
    };
    build(&["bench"])?;
    let mut bench = Command::new(binaries()?.join("bench"));
    bench.arg(what).args(rest).env(variable, program).current_dir(project_root()?);
    exec(&mut bench)
}

/// Builds vm-operator with the release profile. Returns its path.
fn release_operator() -> Result<PathBuf> {
    println!("building vm-operator for release");
    let mut release = cargo()?;
    release.args(["rustc", "--release", "--package", "vm-operator", "--bin", "vm-operator", "--"]);
    if cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        // Packed relocations make the file smaller and touch fewer pages at the start.
        release.args(["-C", "link-arg=-Wl,-z,pack-relative-relocs"]);
    }
    run_command(&mut release)?;
    Ok(binaries()?.parent().context("no target directory")?.join("release/vm-operator"))
}

/// Replaces this process by the program, so that Ctrl-C reaches only the program and the shell waits for its cleanup.
fn exec(program: &mut Command) -> Result<()> {
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
