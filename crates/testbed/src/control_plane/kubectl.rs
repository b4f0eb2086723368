//! What a person would type.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

use super::ControlPlane;

impl ControlPlane {
    /// Runs `kubectl` as the administrator; yields what it wrote to stdout.
    ///
    /// # Errors
    /// If it fails; what it wrote to stderr is in the error.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_stdin(args, "").await
    }

    /// As [`kubectl`](Self::kubectl), with `input` on its stdin, for `apply -f -`.
    ///
    /// # Errors
    /// As `kubectl`.
    pub async fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = tokio::process::Command::new(&self.kubectl)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // The usual cache is kept by host and port, so it may be of a plane long gone.
            .env("KUBECACHEDIR", self.workdir.path().join("kubectl-cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))?;
        let mut stdin = child.stdin.take().context("kubectl's stdin is piped")?;
        let feed = async {
            // kubectl may rightly end without reading what it does not need.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}: {}", args.join(" "), output.status, stderr.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
