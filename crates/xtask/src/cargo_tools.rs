//! Cargo's subcommands that are no dependencies: cargo-deny, cargo-mutants. Owns where they are installed.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use testbed::cache_root;

use crate::checks::{cargo, run_command};

/// Returns the path of `cargo-NAME`: from the PATH, or from the cache, into which this version is installed if necessary.
pub(crate) fn program(name: &str, version: &str) -> Result<PathBuf> {
    let package = format!("cargo-{name}");
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).map(|dir| dir.join(&package)).find(|file| file.is_file()) {
        return Ok(found);
    }
    let root = cache_root()?.join("cargo-tools");
    let program = root.join("bin").join(&package);
    let is_current = Command::new(&program)
        .args([name, "--version"])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with(version));
    if !is_current {
        println!("installing {package} {version} into {}; this takes minutes, once", root.display());
        let mut install = cargo()?;
        install
            .args(["install", &package, "--locked", "--force", "--version", version, "--root"])
            .arg(&root)
            // In a temporary target directory, which cargo removes.
            .env_remove("CARGO_TARGET_DIR");
        run_command(&mut install).with_context(|| format!("cannot install {package}"))?;
    }
    Ok(program)
}
