//! Secrets are neither in logs nor in objects, metrics, probes and arguments.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use data_encoding::BASE64;

use crate::install::Plane;
use crate::rig::Rig;

/// What stands before the key of a session, which is as good as a password: in cookies of vSphere and AVI, and before the token of a
/// ServiceAccount.
const SESSIONS: [&str; 4] = ["soap_session=", "sessionid=", "csrftoken=", "Bearer ey"];

/// How many characters of a secret of a rig tell that it is one.
const START: usize = 4;
/// The same of one that is random: four characters of that kind may be in a log by chance.
const RANDOM_START: usize = 8;

/// Checks that no secret of the rig, none that the operator makes, and no key of a session, leaves the operator while it works at log level
/// trace and its calls fail.
///
/// # Errors
/// If one does.
pub async fn secrets_are_nowhere<R: Rig>() -> Result<()> {
    let rig = R::start_on(Plane::of(&R::SUBJECT).await?).await?;
    let operator = rig.operator_with(&rig.launch().env("RUST_LOG", "trace")).await?;
    let (first, others) = R::STEPS.split_first().ok_or_else(|| anyhow::anyhow!("a rig without steps"))?;
    rig.play(first).await?;
    for fault in R::FAULTS {
        rig.inject(fault).await?;
    }
    let (last, others) = others.split_last().ok_or_else(|| anyhow::anyhow!("a rig with one step"))?;
    let mut generated = BTreeSet::new();
    for step in others {
        rig.play(step).await?;
        generated.extend(rig.generated().await?);
    }
    ensure!(generated.is_empty() != R::GENERATES, "the operator has made {} secrets", generated.len());
    let (objects, reports) = (objects(&rig).await?, reports(&rig).await?);
    // Two faults of one call meet two calls, of which there may be only one.
    let faults: Vec<_> = R::FAULTS.iter().filter(|fault| R::is_of_change(fault)).collect();
    let mut fired = faults.is_empty();
    for fault in &faults {
        fired |= rig.has_fired(fault).await?;
    }
    ensure!(fired, "no call met one of {faults:?}");
    let (_, metrics) = operator.get("/metrics").await?;
    let (_, ready) = operator.get("/readyz").await?;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", operator.process.pid()))?;
    rig.play(last).await?;

    let log = operator.process.log();
    // The clients that carry a secret have lines at that level; an operator without secrets may have none.
    ensure!(rig.secrets().is_empty() || log.contains("TRACE"), "the log has no line at level trace");
    let arguments = String::from_utf8_lossy(&arguments);
    let of_rig = rig.secrets().into_iter().flat_map(|secret| spellings(&secret, START));
    let of_operator = generated.iter().flat_map(|secret| spellings(secret, RANDOM_START));
    let places = [
        ("log", &*log),
        ("reports", &reports),
        ("metrics", &metrics),
        ("readyz", &ready),
        ("arguments", &arguments),
    ];
    for text in of_rig.chain(SESSIONS.map(str::to_owned)) {
        is_absent(&text, &places)?;
        is_absent(&text, &[("objects", &objects)])?;
    }
    // These are in Secrets.
    for text in of_operator {
        is_absent(&text, &places)?;
    }
    Ok(())
}

fn is_absent(text: &str, places: &[(&str, &str)]) -> Result<()> {
    let found = places.iter().find(|(_, content)| content.contains(text));
    found.map_or(Ok(()), |(place, _)| bail!("a secret is in the {place}: {text:?}"))
}

/// Returns the kinds of the operator, to list them with others.
fn kinds<R: Rig>(others: &str) -> String {
    let kinds = R::SUBJECT.kinds.iter().map(|kind| format!("{}.{}", kind.plural, R::SUBJECT.group));
    kinds.chain([others.to_owned()]).collect::<Vec<_>>().join(",")
}

/// Returns all objects of the rig's namespace in which a secret of the rig could be.
async fn objects<R: Rig>(rig: &R) -> Result<String> {
    let kinds = kinds::<R>("events,configmaps,secrets");
    rig.site().kubectl(&["get", &kinds, "-o", "yaml"]).await
}

/// Returns all objects, of whatever namespace, that an operator that makes secrets reports on or writes, beside Secrets.
async fn reports<R: Rig>(rig: &R) -> Result<String> {
    if !R::GENERATES {
        return Ok(String::new());
    }
    let others = [&["events", "configmaps"], R::REPORTS_ON].concat().join(",");
    rig.site().control_plane().kubectl(&["get", &kinds::<R>(&others), "-A", "-o", "yaml"]).await
}

/// Returns a secret as logs and documents may spell it, and its first characters.
fn spellings(secret: &str, start: usize) -> Vec<String> {
    let start: String = secret.chars().take(start).collect();
    let base64 = |bytes: &[u8]| BASE64.encode(bytes).trim_end_matches('=').to_owned();
    vec![
        secret.to_owned(),
        secret.escape_debug().to_string(),
        // Three bytes are four characters, whatever follows.
        base64(secret.as_bytes().get(..6).unwrap_or(secret.as_bytes())),
        start,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_in_base64_and_in_part() {
        let document = BASE64.encode(b"s3cr&t and more");
        assert!(spellings("s3cr&t<\"", START).iter().any(|text| document.contains(text)));
        assert!(spellings("s3cr&t<\"", START).iter().any(|text| "pass=s3cr&amp;t".contains(text)));
    }
}
