//! Secrets are neither in logs nor in objects, metrics, probes and arguments.

use anyhow::{Result, ensure};
use data_encoding::BASE64;

use crate::install::Plane;
use crate::rig::Rig;

/// What stands before the key of a session, which is as good as a password: in cookies of vSphere and AVI, and before the token of a
/// ServiceAccount.
const SESSIONS: [&str; 4] = ["soap_session=", "sessionid=", "csrftoken=", "Bearer ey"];

/// Checks that no secret of the rig, and no key of a session, leaves the operator while it works at log level trace and its calls fail.
///
/// # Errors
/// If one does.
pub async fn secrets_are_nowhere<R: Rig>() -> Result<()> {
    let rig = R::start_on(Plane::of(&R::SUBJECT).await?).await?;
    let site = rig.site();
    let operator = rig.operator_with(&rig.launch().env("RUST_LOG", "trace")).await?;
    let (first, others) = R::STEPS.split_first().ok_or_else(|| anyhow::anyhow!("a rig without steps"))?;
    rig.play(first).await?;
    for fault in R::FAULTS {
        rig.inject(fault).await?;
    }
    let (last, others) = others.split_last().ok_or_else(|| anyhow::anyhow!("a rig with one step"))?;
    for step in others {
        rig.play(step).await?;
    }
    let mut kinds: Vec<_> =
        R::SUBJECT.kinds.iter().map(|kind| format!("{}.{}", kind.plural, R::SUBJECT.group)).collect();
    kinds.push("events,configmaps,secrets".to_owned());
    let objects = site.kubectl(&["get", &kinds.join(","), "-o", "yaml"]).await?;
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
    let secrets = rig.secrets().into_iter().flat_map(|secret| spellings(&secret));
    for text in secrets.chain(SESSIONS.map(str::to_owned)) {
        for (place, content) in [
            ("log", &*log),
            ("objects", &objects),
            ("metrics", &metrics),
            ("readyz", &ready),
            ("arguments", &arguments),
        ] {
            ensure!(!content.contains(&text), "a secret is in the {place}: {text:?}");
        }
    }
    Ok(())
}

/// Returns a secret as logs and documents may spell it, and its first characters.
fn spellings(secret: &str) -> Vec<String> {
    let start: String = secret.chars().take(4).collect();
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
        assert!(spellings("s3cr&t<\"").iter().any(|text| document.contains(text)));
        assert!(spellings("s3cr&t<\"").iter().any(|text| "pass=s3cr&amp;t".contains(text)));
    }
}
