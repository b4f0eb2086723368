//! What `--keep` prints for the running servers, and when the operator ends.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{Demo, Stage};

/// Prints how to use the running servers.
pub(crate) fn print_access<D: Demo>(demo: &D, stage: &Stage) -> Result<()> {
    let site = demo.site();
    let (process, plane) = (&stage.operator.process, site.control_plane());
    println!("\n== Left running, until Ctrl-C (or kill {})\n", std::process::id());
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    if !on_path("kubectl") {
        let directory = plane.kubectl_path().parent().context("kubectl has no directory")?;
        println!("export PATH=\"$PATH:{}\"   # kubectl", directory.display());
    }
    println!();
    for line in demo.access()? {
        println!("   {line}");
    }
    println!("   operator      process {}, log {}", process.pid(), site.log_path().display());
    println!("   metrics       {}/metrics", stage.operator.url());
    println!("   restart it    kill {}; {}", process.pid(), restart(demo, stage)?);
    println!("   to try        {}", D::TRY.join("\n                 "));
    Ok(())
}

/// Waits for the ends of the operator, and says each time how to start it again.
pub(crate) async fn notice_ends<D: Demo>(demo: &D, stage: &mut Stage) {
    let status = stage.operator.process.wait().await;
    println!("\nthe operator ended with {status}; its log: {}", demo.site().log_path().display());
    match restart(demo, stage) {
        Ok(command) => println!("to start it again: {command}"),
        Err(error) => eprintln!("cannot write the command that starts it again: {error:#}"),
    }
    // The other servers run on.
    std::future::pending::<()>().await;
}

/// Writes a script that starts the operator again, readable by the user only because it has credentials. Returns its path.
fn restart<D: Demo>(demo: &D, stage: &Stage) -> Result<String> {
    let path = demo.site().directory().join("restart.sh");
    let mut script = private_file(&path)?;
    writeln!(script, "#!/bin/sh")?;
    for (name, value) in stage.operator.environment() {
        writeln!(script, "export {name}={}", quoted(&value.to_string_lossy()))?;
    }
    let arguments: Vec<String> = stage.operator.command().iter().map(|argument| quoted(argument)).collect();
    writeln!(script, "exec {}", arguments.join(" "))?;
    Ok(format!("sh {}", path.display()))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Creates a file that only the user can read.
pub(crate) fn private_file(path: &Path) -> Result<std::fs::File> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// Returns whether a program is in the PATH.
fn on_path(program: &str) -> bool {
    let directories: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    directories.iter().any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_quotes_survives_a_shell() {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted("a'b \"$c"))])
            .output();
        assert_eq!(output.unwrap().stdout, b"a'b \"$c");
    }
}
