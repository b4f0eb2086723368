//! `avi-simulator`: runs one simulated AVI controller until SIGTERM or SIGINT.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{Context, Result};
use avi_simulator::{ADMIN, Config, Simulator, Version};
use clap::{Parser, value_parser};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The environment variable of the administrator's password. It is not an argument, because every user of the machine
/// can see arguments.
const PASSWORD: &str = "AVI_SIMULATOR_ADMIN_PASSWORD";

/// Simulates an AVI (NSX Advanced Load Balancer) controller: its REST API over HTTPS, everything in memory.
///
/// Prints one line of JSON to standard output when it is ready: `{"url", "control_url", "ca_file", "username"}`.
/// The administrator is `admin`; its password comes from AVI_SIMULATOR_ADMIN_PASSWORD.
#[derive(Debug, Parser)]
#[command(version, after_long_help = avi_simulator::CONTROL_HELP)]
struct Arguments {
    /// Address of the REST API
    #[arg(long, env = "AVI_SIMULATOR_LISTEN", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Address of the control API, which has no authentication; without it the control API is not served
    #[arg(long, env = "AVI_SIMULATOR_CONTROL_LISTEN")]
    control_listen: Option<SocketAddr>,
    /// host:port of the URLs in replies; default: the address of the REST API
    #[arg(long, env = "AVI_SIMULATOR_ADVERTISE")]
    advertise: Option<String>,
    /// Additional name or address in the certificate; may be repeated
    #[arg(long = "name", env = "AVI_SIMULATOR_NAMES", value_delimiter = ',')]
    names: Vec<String>,
    /// Version of the controller
    #[arg(long, env = "AVI_SIMULATOR_VERSION", default_value = "30.2.1")]
    controller_version: Version,
    /// YAML file with the initial objects: a map of kinds to lists of objects
    #[arg(long, env = "AVI_SIMULATOR_SEED")]
    seed: Option<PathBuf>,
    /// File to which the CA certificate is written, as PEM
    #[arg(long, env = "AVI_SIMULATOR_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Minutes until an idle session expires, up to 1440; 0 disables expiry
    #[arg(long, env = "AVI_SIMULATOR_API_IDLE_TIMEOUT", default_value_t = 15, value_parser = value_parser!(u64).range(..=1440))]
    api_idle_timeout: u64,
    /// Log level of standard error: off, error, warn, info, debug (every request), or a tracing-subscriber filter
    #[arg(long, env = "AVI_SIMULATOR_LOG", default_value = "info")]
    log: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_new(&arguments.log).context("--log")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let seed = arguments
        .seed
        .as_ref()
        .map(|path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())));
    let admin_password = env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    if admin_password.is_none() {
        tracing::warn!("{PASSWORD} is not set: {ADMIN} gets a random password; set it to log in");
    }
    // Before the start, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let simulator = Simulator::start(Config {
        listen: arguments.listen,
        names: arguments.names,
        advertise: arguments.advertise,
        version: arguments.controller_version,
        admin_password,
        seed: seed.transpose()?,
        api_idle_timeout: Duration::from_mins(arguments.api_idle_timeout),
        control_listen: arguments.control_listen,
        ..Config::default()
    })
    .await?;
    if let Some(path) = &arguments.ca_file {
        fs::write(path, simulator.ca_pem()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let ready = serde_json::json!({
        "url": simulator.url(),
        "control_url": simulator.control_url(),
        "ca_file": arguments.ca_file,
        "username": ADMIN,
    });
    println!("{ready}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}
