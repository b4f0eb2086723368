//! Log lines on standard error.
//!
//! Owns format and filter. Crates that print secrets or too much are limited to a higher level unless the filter names them;
//! SIGUSR1 toggles debug for all others.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{ParseError, filter_fn},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    args::{CommonArgs, LogFormat},
    error::Error,
};

/// The most verbose level of crates that print too much, or bodies with passwords, unless the filter names them.
const QUIET: [(&str, LevelFilter); 11] = [
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
    ("vim_rs", LevelFilter::INFO),
    ("kube_runtime", LevelFilter::WARN),
    // Logs every refused watch in debug form, which the kit logs once, with a remedy.
    ("kube_runtime::watcher", LevelFilter::OFF),
    // Logs a certificate that it refuses, which is in the error of the connection.
    ("rustls_platform_verifier", LevelFilter::OFF),
    // Logs every failed call, which its caller logs with more context.
    ("kube_client::client::builder", LevelFilter::OFF),
];
/// Prints requests at trace level, so its most verbose level is debug whatever the filter says.
const SECRETIVE: &str = "vim_rs";
/// Print nothing, whatever the filter says: the first prints every answer that does not parse, which may be a Secret, and its callers log
/// what failed; the second prints the cookie of a session, which is as good as the password.
const SILENT: [&str; 2] = ["kube_client::client", "cookie_store::cookie_store"];

/// Starts logging to standard error, as the flags say. Only the first call of a process has an effect.
pub(crate) fn start(args: &CommonArgs) -> Result<(), Error> {
    let (layer, handle) = reload::Layer::new(filter(&args.log_level)?);
    // Where standard error is a full disk, its own complaint about that would end the process.
    let lines = fmt::layer().log_internal_errors(false).with_writer(io::stderr);
    let may_print = filter_fn(|about| may_print(about.target()));
    let lines = match args.log_format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_span_list(false).with_filter(may_print).boxed()
        }
        LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).with_filter(may_print).boxed(),
    };
    if Registry::default().with(layer).with(lines).try_init().is_ok() {
        if args.log_format == LogFormat::Json {
            std::panic::set_hook(Box::new(|panic| error!(%panic, "a bug in the operator")));
        }
        tokio::spawn(toggle(handle, args.log_level.clone()));
    }
    Ok(())
}

/// Returns whether lines of a target are printed, if the filter lets them pass.
fn may_print(target: &str) -> bool {
    !SILENT.contains(&target)
}

/// Writes why the process ends to standard error, whatever the filter: for people `name: message`, else a JSON object with
/// the members of the other lines.
pub(crate) fn report_end(format: LogFormat, name: &str, message: &str) {
    let line = match format {
        LogFormat::Human => format!("{name}: {message}\n"),
        LogFormat::Json => {
            let timestamp = Timestamp::now().to_string();
            let line = serde_json::json!({
                "timestamp": timestamp, "level": "ERROR", "message": message, "target": name,
            });
            format!("{line}\n")
        }
    };
    // A full disk cannot be reported anywhere.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Accepts a level or directives for the flag.
pub(crate) fn directives(text: &str) -> Result<String, String> {
    let is_known = |directive: &str| {
        directive.contains(['=', '[']) || directive.is_empty() || directive.parse::<LevelFilter>().is_ok()
    };
    if text.split(',').map(str::trim).all(is_known) && filter(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("write error, warn, info, debug, trace or off, or directives such as `info,vm_operator=debug`"
        .to_owned())
}

/// Toggles debug at each SIGUSR1.
async fn toggle(handle: reload::Handle<EnvFilter, Registry>, usual: String) {
    let Ok(mut signals) = signal(SignalKind::user_defined1()) else {
        return warn!("SIGUSR1 cannot be listened to: the log level stays");
    };
    let mut raised = false;
    while signals.recv().await.is_some() {
        raised = !raised;
        let directives = if raised { format!("{usual},debug") } else { usual.clone() };
        let reloaded = filter(&directives).map(|filter| handle.reload(filter));
        info!(directives, done = matches!(reloaded, Ok(Ok(()))), "log level changed by SIGUSR1");
    }
}

/// Returns the filter of the flag, with the limits.
fn filter(asked: &str) -> Result<EnvFilter, ParseError> {
    let directives: Vec<_> = asked.split(',').map(str::trim).filter(|d| !d.is_empty()).collect();
    // The last level without target counts, as in the filter itself.
    let usual = directives.iter().rev().find_map(|directive| directive.parse::<LevelFilter>().ok());
    let usual = usual.unwrap_or(LevelFilter::INFO);
    let mut filter = EnvFilter::builder().with_default_directive(usual.into()).parse("")?;
    for (target, most) in QUIET {
        filter = filter.add_directive(format!("{target}={}", most.min(usual)).parse()?);
    }
    for directive in directives {
        if directive.parse::<LevelFilter>().is_ok() {
            continue;
        }
        filter = filter.add_directive(directive.parse()?);
    }
    // Whatever the flag says, also by a span or a module.
    for directive in asked.split(',').map(str::trim).filter(|d| d.starts_with(SECRETIVE)) {
        let target = directive.split(['=', '[']).next().unwrap_or(SECRETIVE);
        let most = filter_level(directive).min(LevelFilter::DEBUG);
        filter = filter.add_directive(format!("{target}={most}").parse()?);
    }
    Ok(filter)
}

fn filter_level(directive: &str) -> LevelFilter {
    directive.rsplit_once('=').and_then(|(_, level)| level.parse().ok()).unwrap_or(LevelFilter::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(asked: &str) -> Vec<String> {
        let mut directives: Vec<_> =
            filter(asked).unwrap().to_string().split(',').map(str::to_owned).collect();
        directives.sort();
        directives
    }

    fn has(asked: &str, directive: &str) -> bool {
        shows(asked).iter().any(|shown| shown == directive)
    }

    #[test]
    fn noisy_crates_are_kept_down_unless_named() {
        assert!(has("debug", "debug") && has("debug", "hyper=info") && has("debug", "kube_runtime=warn"));
        assert!(
            has("info", "kube_runtime::watcher=off")
                && has("kube_runtime::watcher=warn", "kube_runtime::watcher=warn")
        );
        assert!(has("hyper=debug,info", "hyper=debug"));
        assert!(has("error", "hyper=error"), "a cap never raises: {:?}", shows("error"));
    }

    #[test]
    fn answers_are_never_printed() {
        assert!(!may_print("kube_client::client") && may_print("kube_client") && may_print("operator_kit"));
        assert!(!may_print("cookie_store::cookie_store"));
    }

    #[test]
    fn vim_rs_never_traces() {
        assert!(has("trace", "vim_rs=info"));
        assert!(has("vim_rs=trace", "vim_rs=debug"));
        assert!(has("vim_rs", "vim_rs=debug"));
        assert!(has("vim_rs::core=trace", "vim_rs::core=debug"));
        assert!(has("vim_rs=warn", "vim_rs=warn"));
    }

    #[test]
    fn the_default_is_info_and_nonsense_is_refused() {
        assert!(has("vm_operator=debug", "info") && has("vm_operator=debug", "vm_operator=debug"));
        assert!(filter("a=b=c").is_err());
    }
}
