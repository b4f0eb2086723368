//! The commands that build something and run it: demo, bench, docs.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{binaries, build, cargo, succeed};

/// What the demo and the benchmark of vm-operator run: nobody waits for the programs of the tests' other servers.
const RUN: &[&str] = &["etcd", "kube-apiserver", "vcsim"];

/// Shows vm-operator at work. The operator and the program that shows it are the dev profile's.
pub(crate) fn demo(arguments: &[&str]) -> Result<()> {
    if let Some(unknown) = arguments.iter().find(|argument| **argument != "--keep") {
        bail!("unknown argument {unknown}: cargo xtask demo [--keep]");
    }
    Tools::of(RUN)?;
    println!("building vm-operator and the demo");
    build(&["vm-operator", "demo"])?;
    let binaries = binaries()?;
    let mut demo = Command::new(binaries.join("demo"));
    demo.args(arguments).env("VM_OPERATOR_BIN", binaries.join("vm-operator")).current_dir(project_root()?);
    become_it(&mut demo)
}

/// Measures: the subject's program, then the measuring, which goes on in our place.
pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    let [what @ ("vm" | "avi"), rest @ ..] = arguments else {
        bail!("cargo xtask bench vm|avi [--write]");
    };
    let (variable, program) = if *what == "vm" {
        Tools::of(RUN)?;
        ("VM_OPERATOR_BIN", release_operator()?)
    } else {
        // Dev profile, as in the tests: its times are what a test waits.
        build(&["avi-simulator"])?;
        ("AVI_SIMULATOR_BIN", binaries()?.join("avi-simulator"))
    };
    build(&["bench"])?;
    let mut bench = Command::new(binaries()?.join("bench"));
    bench.arg(what).args(rest).env(variable, program).current_dir(project_root()?);
    become_it(&mut bench)
}

/// Builds vm-operator as it is shipped.
fn release_operator() -> Result<PathBuf> {
    println!("building vm-operator for release");
    let mut release = cargo()?;
    release.args(["rustc", "--release", "--package", "vm-operator", "--bin", "vm-operator", "--"]);
    if cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        // Packed relocations: a smaller file and fewer pages touched at the start.
        release.args(["-C", "link-arg=-Wl,-z,pack-relative-relocs"]);
    }
    succeed(&mut release)?;
    Ok(binaries()?.parent().context("no target directory")?.join("release/vm-operator"))
}

/// Goes on as the program: Ctrl-C reaches it alone, and the shell waits until it has cleaned up.
fn become_it(program: &mut Command) -> Result<()> {
    let error = program.exec();
    Err(error).with_context(|| format!("cannot run {}", program.get_program().to_string_lossy()))
}

/// Builds the documentation for reading.
pub(crate) fn docs() -> Result<()> {
    succeed(cargo()?.args(["doc", "--workspace", "--no-deps"]))?;
    let root = project_root()?;
    let book = binaries()?.join("../book");
    let built =
        Command::new("mdbook").arg("build").arg(root.join("docs")).arg("--dest-dir").arg(&book).status();
    match built {
        Ok(status) if status.success() => println!("book: {}", book.join("index.html").display()),
        Ok(status) => bail!("mdbook build: {status}"),
        Err(_) => println!("mdbook is not installed: read docs as it is"),
    }
    Ok(())
}
