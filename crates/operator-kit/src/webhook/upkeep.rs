//! Upkeep of the webhook's certificate.
//!
//! Owns the Secret with the certificate, and `caBundle` of the ValidatingWebhookConfiguration. Every replica watches both and serves
//! what the Secret has. The leader makes a certificate where none is usable, names its authority to the API server, and renews it in
//! time. Where another program keeps the Secret, no replica writes.
//!
//! A renewal fails no request: the API server learns the new authority beside the old one first.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration as Registration, core::v1::Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher::watch_object},
};
use prometheus::IntGauge;
use serde_json::from_value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    certificate::{self, AUTHORITIES, CERTIFICATE, KEY, Made, Pair, Served},
    name_of,
    registration::{Hosts, bundle_patch, trusts},
};
use crate::{error::Chain, health::Readiness, run::Kit};

/// How long before its end a certificate is renewed.
const MARGIN: Duration = Duration::from_hours(24 * 90);
/// How often its age is looked at.
const AUDIT: Duration = Duration::from_hours(1);
/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(5);
/// How long the API servers may take to learn a new authority.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a certificate still has to be good for the metric to call it usable: several audits, and less than any certificate is kept.
const NOTICE: Duration = Duration::from_hours(6);

/// Keeps the certificate.
pub(super) struct Upkeep {
    kit: Kit,
    secrets: Api<Secret>,
    registrations: Api<Registration>,
    /// Name of the Secret.
    secret: String,
    /// Name of the registration and of the Service.
    name: String,
    /// By which the API server calls where there is no registration.
    default_host: String,
    is_kept_by_others: bool,
    served: Arc<Served>,
    readiness: Readiness,
    /// 1 while the certificate is good, and for [`NOTICE`] more.
    is_usable: IntGauge,
}

/// What the API server has, as far as it is known.
#[derive(Default)]
struct Seen {
    secret: Option<Secret>,
    registration: Option<Registration>,
    knows_secret: bool,
    knows_registration: bool,
    made: Option<MadeBefore>,
}

/// The last certificate that was made: another one for the same names would be like it.
struct MadeBefore {
    names: Vec<String>,
    /// Version of the Secret.
    version: Option<String>,
    at: Instant,
}

impl Seen {
    fn is_complete(&self) -> bool {
        self.knows_secret && self.knows_registration
    }
}

/// What is to be written.
#[derive(Debug, Eq, PartialEq)]
enum Step {
    /// Nothing.
    Rest,
    /// A certificate, because there is none, or none that the API server accepts.
    Make,
    /// The authorities of the Secret into the registration.
    Announce,
    /// A new certificate in place of one that is still good.
    Renew,
}

impl MadeBefore {
    /// Returns whether a certificate for these names would be the same again, or too soon.
    fn is_again(&self, names: &[String], secret: Option<&Secret>) -> bool {
        let is_there = secret.is_some() && secret.and_then(ResourceExt::resource_version) == self.version;
        let age = self.at.elapsed();
        age < RETRY || is_there && names == self.names && age < AUDIT
    }
}

impl Upkeep {
    pub(super) fn new(kit: &Kit, kept_by_others: Option<&str>) -> Result<Self, prometheus::Error> {
        let is_usable = IntGauge::new(
            "operator_webhook_certificate_usable",
            "1 while the webhook has a certificate that is good, and stays so for 6 hours",
        )?;
        kit.metrics().registry().register(Box::new(is_usable.clone()))?;
        let client: Client = kit.client();
        let (name, namespace) = (name_of(kit.operator().name), kit.namespace());
        Ok(Self {
            secrets: Api::namespaced(client.clone(), namespace),
            registrations: Api::all(client),
            secret: kept_by_others.unwrap_or(&name).to_owned(),
            default_host: format!("{name}.{namespace}.svc"),
            name,
            is_kept_by_others: kept_by_others.is_some(),
            served: Arc::default(),
            readiness: kit.readiness("webhook certificate"),
            is_usable,
            kit: kit.clone(),
        })
    }

    /// Returns the certificate to serve.
    pub(super) fn certificate(&self) -> Arc<Served> {
        Arc::clone(&self.served)
    }

    /// Watches, serves and writes until the task is dropped.
    pub(super) async fn run(self) {
        let mut secrets = pin!(watch_object(self.secrets.clone(), &self.secret).default_backoff());
        let mut registrations = pin!(watch_object(self.registrations.clone(), &self.name).default_backoff());
        // The registration is not read where others keep the Secret.
        let mut seen = Seen { knows_registration: self.is_kept_by_others, ..Seen::default() };
        let mut leads = false;
        loop {
            let pause = if self.step(&mut seen, leads).await { AUDIT } else { RETRY };
            let problem = tokio::select! {
                event = secrets.next() => match event {
                    Some(Ok(secret)) => {
                        seen.knows_secret = true;
                        replace(&mut seen.secret, secret);
                        None
                    }
                    Some(Err(error)) => Some(error),
                    None => pending().await,
                },
                event = registrations.next(), if !self.is_kept_by_others => match event {
                    Some(Ok(registration)) => {
                        seen.knows_registration = true;
                        for host in registration.as_ref().map(Hosts::of).unwrap_or_default().unusable {
                            warn!(host, registration = self.name, "webhook: no certificate can be for this name, correct it");
                        }
                        replace(&mut seen.registration, registration);
                        None
                    }
                    Some(Err(error)) => Some(error),
                    None => pending().await,
                },
                () = self.kit.leads(), if !leads => { leads = true; None }
                () = tokio::time::sleep(pause) => None,
            };
            if let Some(error) = problem {
                warn!(error = %Chain(&error), "webhook: cannot watch the Secret or the ValidatingWebhookConfiguration");
                if !seen.is_complete() {
                    self.readiness.not_ready(Chain(&error).to_string());
                }
            }
        }
    }

    /// Serves what there is, and writes what is due. Returns false if that failed.
    async fn step(&self, seen: &mut Seen, leads: bool) -> bool {
        if !seen.is_complete() {
            return true;
        }
        let Seen { secret, registration, made, .. } = seen;
        loop {
            let names = self.names(registration.as_ref());
            let now = self.kit.clock().now();
            self.serve(secret.as_ref(), &names, now);
            if !leads || self.is_kept_by_others {
                return true;
            }
            let step = plan(secret.as_ref(), registration.as_ref(), &names, now);
            let written = match step {
                Step::Rest => return true,
                Step::Make if made.as_ref().is_some_and(|made| made.is_again(&names, secret.as_ref())) => {
                    warn!(
                        secret = self.secret,
                        "webhook: the certificate that was made cannot be used, see /readyz"
                    );
                    return false;
                }
                Step::Make => {
                    let written = self.make(secret, &names, now).await;
                    if written.is_ok() {
                        let version = secret.as_ref().and_then(ResourceExt::resource_version);
                        *made = Some(MadeBefore { names, version, at: Instant::now() });
                    }
                    written
                }
                Step::Announce => self.announce(secret.as_ref(), registration).await,
                Step::Renew => self.renew(secret, registration, &names, now).await,
            };
            if let Err(error) = written {
                warn!(?step, error, "webhook: cannot keep the certificate");
                return false;
            }
            info!(?step, secret = self.secret, "webhook: wrote");
        }
    }

    fn names(&self, registration: Option<&Registration>) -> Vec<String> {
        if self.is_kept_by_others {
            // Those that the certificate has.
            return Vec::new();
        }
        let names = registration.map(Hosts::of).unwrap_or_default().usable;
        if names.is_empty() { vec![self.default_host.clone()] } else { names }
    }

    /// Serves the certificate of the Secret, and reports whether it can be used.
    fn serve(&self, secret: Option<&Secret>, names: &[String], now: Timestamp) {
        self.is_usable.set(0);
        let Some(secret) = secret else {
            // Must not keep a new version from replacing one without a webhook, which leads until then.
            return if self.is_kept_by_others || self.kit.is_leading() {
                self.readiness.not_ready(format!("there is no Secret {}", self.secret));
            } else {
                self.readiness.ready_with("no certificate yet, standby");
            };
        };
        let checked = Pair::of(secret).and_then(|pair| {
            if self.served.set(&pair) {
                info!(secret = self.secret, "webhook: serves a new certificate");
            }
            // Others need not say which authority their certificate is of.
            if self.is_kept_by_others && !pair.has_authorities() {
                return Ok(true);
            }
            pair.check(names, now)?;
            Ok(pair.check(names, now + NOTICE).is_ok())
        });
        match checked {
            Ok(is_usable) => {
                self.is_usable.set(is_usable.into());
                self.readiness.ready();
            }
            Err(problem) => self.readiness.not_ready(format!("Secret {}: {problem}", self.secret)),
        }
    }

    async fn make(
        &self,
        secret: &mut Option<Secret>,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), String> {
        let made = certificate::make(names, now).map_err(|error| error.to_string())?;
        let authorities = made.authority.clone();
        *secret = Some(self.write(secret.as_ref(), made, authorities).await?);
        Ok(())
    }

    async fn announce(
        &self,
        secret: Option<&Secret>,
        registration: &mut Option<Registration>,
    ) -> Result<(), String> {
        self.set_bundle(registration, &authorities(secret)).await
    }

    async fn renew(
        &self,
        secret: &mut Option<Secret>,
        registration: &mut Option<Registration>,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), String> {
        let made = certificate::make(names, now).map_err(|error| error.to_string())?;
        let old = authorities(secret.as_ref());
        let both = format!("{}{}\n", made.authority, certificate::first(&old));
        self.set_bundle(registration, &both).await?;
        tokio::time::sleep(SETTLE).await;
        *secret = Some(self.write(secret.as_ref(), made, both).await?);
        Ok(())
    }

    /// Creates the Secret, or replaces it unless it has changed meanwhile.
    async fn write(&self, old: Option<&Secret>, made: Made, authorities: String) -> Result<Secret, String> {
        let data = [(CERTIFICATE, made.certificate), (KEY, made.key), (AUTHORITIES, authorities)];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        let named = || ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
        let secret = Secret {
            metadata: old.map_or_else(named, |old| old.metadata.clone()),
            type_: old.map_or_else(|| Some("kubernetes.io/tls".to_owned()), |old| old.type_.clone()),
            data: Some(data.into()),
            ..Secret::default()
        };
        let params = PostParams { field_manager: Some(self.field_manager()), ..PostParams::default() };
        let written = match old {
            None => self.secrets.create(&params, &secret).await,
            Some(_) => self.secrets.replace(&self.secret, &params, &secret).await,
        };
        written.map_err(|error| format!("Secret {}: {}", self.secret, Chain(&error)))
    }

    async fn set_bundle(
        &self,
        registration: &mut Option<Registration>,
        authorities: &str,
    ) -> Result<(), String> {
        let Some(old) = registration else { return Ok(()) };
        let patch = from_value(bundle_patch(old, authorities)).map_err(|error| error.to_string())?;
        let params = PatchParams { field_manager: Some(self.field_manager()), ..PatchParams::default() };
        let patched = self.registrations.patch(&self.name, &params, &Patch::Json::<()>(patch)).await;
        *old = patched
            .map_err(|error| format!("ValidatingWebhookConfiguration {}: {}", self.name, Chain(&error)))?;
        Ok(())
    }

    fn field_manager(&self) -> String {
        self.kit.field_manager("webhook")
    }
}

/// Keeps an own write where a watch is still at an earlier version.
fn replace<K: ResourceExt>(known: &mut Option<K>, seen: Option<K>) {
    let version = |object: &K| object.resource_version()?.parse::<u64>().ok();
    let is_older = match (&*known, &seen) {
        (Some(known), Some(seen)) => known.uid() == seen.uid() && version(seen) < version(known),
        _ => false,
    };
    if !is_older {
        *known = seen;
    }
}

fn authorities(secret: Option<&Secret>) -> String {
    let data = secret.and_then(|secret| secret.data.as_ref()?.get(AUTHORITIES));
    data.map(|ByteString(bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// Decides what the leader writes.
fn plan(
    secret: Option<&Secret>,
    registration: Option<&Registration>,
    names: &[String],
    now: Timestamp,
) -> Step {
    let Some(pair) = secret.and_then(|secret| Pair::of(secret).ok()) else { return Step::Make };
    if pair.check(names, now).is_err() {
        return Step::Make;
    }
    if registration.is_some_and(|registration| !trusts(registration, |bundle| pair.is_trusted_by(bundle))) {
        return Step::Announce;
    }
    let later = now.saturating_add(MARGIN).unwrap_or(Timestamp::MAX);
    if pair.check(names, later).is_err() { Step::Renew } else { Step::Rest }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "op-webhook.ns.svc";

    fn names() -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn secret(made: &Made) -> Secret {
        let parts = [(CERTIFICATE, &made.certificate), (KEY, &made.key), (AUTHORITIES, &made.authority)];
        let data = parts.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
        Secret { data: Some(data.into()), ..Secret::default() }
    }

    fn registration(bundle: Option<&str>) -> Registration {
        let bundle = bundle.map(|bundle| data_encoding::BASE64.encode(bundle.as_bytes()));
        let config = json!({ "service": { "name": "op-webhook", "namespace": "ns" }, "caBundle": bundle });
        serde_json::from_value(json!({ "webhooks": [{ "name": "a.b.c", "clientConfig": config,
            "admissionReviewVersions": ["v1"], "sideEffects": "None" }] }))
        .unwrap()
    }

    #[test]
    fn a_late_event_does_not_undo_an_own_write() {
        let at = |uid: &str, version: &str| {
            let (uid, resource_version) = (Some(uid.to_owned()), Some(version.to_owned()));
            let metadata = ObjectMeta { uid, resource_version, ..ObjectMeta::default() };
            Some(Secret { metadata, ..Secret::default() })
        };
        for (known, seen, is_kept) in [
            (at("a", "10"), at("a", "9"), true),
            (at("a", "10"), at("a", "10"), false),
            (at("a", "10"), at("a", "11"), false),
            (at("a", "10"), at("b", "9"), false),
            (at("a", "10"), None, false),
            (None, at("a", "9"), false),
        ] {
            let mut now = known.clone();
            replace(&mut now, seen.clone());
            assert_eq!(now, if is_kept { known } else { seen });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_cannot_be_used_is_not_made_again_and_again() {
        let of = |version: &str| {
            let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
            Secret { metadata, ..Secret::default() }
        };
        let (same, changed) = (of("1"), of("2"));
        let other = ["other".to_owned()];
        for (age, names, secret, wanted) in [
            (RETRY / 2, &names()[..], None, true),
            (RETRY, &names()[..], None, false),
            (RETRY / 2, &other[..], Some(&same), true),
            (RETRY, &other[..], Some(&same), false),
            (RETRY, &names()[..], Some(&changed), false),
            (AUDIT / 2, &names()[..], Some(&same), true),
            (AUDIT, &names()[..], Some(&same), false),
        ] {
            let made = MadeBefore { names: self::names(), version: Some("1".to_owned()), at: Instant::now() };
            tokio::time::advance(age).await;
            assert_eq!(made.is_again(names, secret), wanted, "{age:?} {names:?} {secret:?}");
        }
    }

    #[test]
    fn a_certificate_is_made_announced_and_renewed_in_time() {
        let now = Timestamp::now();
        let made = certificate::make(&names(), now).unwrap();
        let other = certificate::make(&names(), now).unwrap();
        let (good, known) = (secret(&made), registration(Some(&made.authority)));
        let both = registration(Some(&format!("{}{}", other.authority, made.authority)));
        let later = |days: u64| now.saturating_add(Duration::from_hours(24 * days)).unwrap();
        let wrong_name = certificate::make(&["other".to_owned()], now).unwrap();
        let broken = Secret::default();
        for (what, secret, registration, at, wanted) in [
            ("no Secret", None, Some(&known), now, Step::Make),
            ("an empty Secret", Some(&broken), Some(&known), now, Step::Make),
            ("another name", Some(&secret(&wrong_name)), Some(&known), now, Step::Make),
            ("expired", Some(&good), Some(&known), later(366), Step::Make),
            ("no authority", Some(&good), Some(&registration(None)), now, Step::Announce),
            (
                "another authority",
                Some(&good),
                Some(&registration(Some(&other.authority))),
                now,
                Step::Announce,
            ),
            ("no registration", Some(&good), None, now, Step::Rest),
            ("all is well", Some(&good), Some(&known), now, Step::Rest),
            ("an authority more, as in a renewal", Some(&good), Some(&both), now, Step::Rest),
            ("old, but not too old", Some(&good), Some(&known), later(274), Step::Rest),
            ("too old", Some(&good), Some(&known), later(277), Step::Renew),
            ("too old and not announced", Some(&good), Some(&registration(None)), later(277), Step::Announce),
        ] {
            assert_eq!(plan(secret, registration, &names(), at), wanted, "{what}");
        }
    }
}
