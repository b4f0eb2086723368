//! The commands that a person runs: the operator's binary with an administrator's kubeconfig.

use anyhow::{Result, ensure};
use data_encoding::BASE64;
use serde_json::Value;
use tokio::process::Command;

use super::VdoRig;
use crate::operator::binary;
use crate::rig::Rig as _;

/// What a command has printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Its exit status.
    pub code: i32,
    /// What it has printed on standard output.
    pub out: String,
    /// What it has printed on standard error.
    pub error: String,
}

impl VdoRig {
    /// Runs a command such as `plan`.
    ///
    /// # Errors
    /// If it cannot be started, or has printed a password of the vCenter.
    pub async fn run(&self, args: &[&str]) -> Result<Printed> {
        self.run_with(args, &[]).await
    }

    /// Runs a command with variables.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Result<Printed> {
        let output = Command::new(binary(Self::SUBJECT.name)?)
            .args(args)
            .env_clear()
            .env("KUBECONFIG", self.control_plane().kubeconfig())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables.iter().copied())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let printed = Printed {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            error: text(&output.stderr),
        };
        for password in [super::PASSWORD, self.vcenter.password()] {
            let in_json = Value::from(password).to_string();
            for form in [password, in_json.trim_matches('"'), &BASE64.encode(password.as_bytes())] {
                let is_shown = printed.out.contains(form) || printed.error.contains(form);
                ensure!(!is_shown, "`vdo {}` prints a password: {printed:?}", args.join(" "));
            }
        }
        Ok(printed)
    }

    /// Runs a command, and reads the JSON that it prints.
    ///
    /// # Errors
    /// As [`run`](Self::run), or if it prints no JSON.
    pub async fn run_json(&self, args: &[&str]) -> Result<Value> {
        let printed = self.run(&[args, &["-o", "json"]].concat()).await?;
        ensure!(!printed.out.is_empty(), "`vdo {}` prints nothing: {printed:?}", args.join(" "));
        Ok(serde_json::from_str(&printed.out)?)
    }
}
