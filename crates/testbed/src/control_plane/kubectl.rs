//! kubectl commands, as a person would enter them.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

use super::ControlPlane;

impl ControlPlane {
    /// Runs `kubectl` as the administrator. Returns its stdout.
    ///
    /// # Errors
    /// If it fails; the error has its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_stdin(args, "").await
    }

    /// Runs `kubectl` like [`kubectl`](Self::kubectl), with `input` on its stdin, for `apply -f -`.
    ///
    /// # Errors
    /// If it fails; the error has its stderr.
    pub async fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = tokio::process::Command::new(&self.kubectl)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // The default cache is keyed by host and port, so it could be that of an earlier plane.
            .env("KUBECACHEDIR", self.kubectl_cache())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))?;
        let mut stdin = child.stdin.take().context("kubectl's stdin is piped")?;
        let feed = async {
            // kubectl may exit before it has read everything.
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
