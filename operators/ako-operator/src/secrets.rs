//! `Secrets`: reads the Secrets that AKODeploymentConfigs name, and kubeconfigs.
//!
//! Keeps what it has read until the watch of their metadata has another version: a pass asks the API server for none of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use operator_kit::{Cache, Key};

use crate::api::{AkoDeploymentConfigSpec, SecretRef, Vcenter};
use crate::delivery::Credentials;

/// Reads Secrets.
pub struct Secrets {
    client: Client,
    metadata: Cache<PartialObjectMeta<Secret>>,
    known: Mutex<HashMap<Key, Arc<Secret>>>,
}

/// A Secret that an AKODeploymentConfig names, and the field that does.
#[derive(Clone, Copy)]
struct Named<'a>(&'static str, &'a SecretRef);

/// Credentials of the controller's administrator.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The credentials.
    pub credentials: Credentials,
    /// Changes when one of the Secrets does.
    pub version: String,
}

/// An account of a vCenter, and the authority of its certificate.
#[derive(Clone, Debug)]
pub struct VcenterAccount {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: infra_clients::Secret,
    /// PEM certificates; `None`: the system's authorities.
    pub ca_pem: Option<String>,
    /// Changes when one of the Secrets does.
    pub version: String,
}

impl Secrets {
    /// Creates a reader. `metadata`: what is watched of the Secrets.
    #[must_use]
    pub fn new(client: Client, metadata: Cache<PartialObjectMeta<Secret>>) -> Self {
        Self { client, metadata, known: Mutex::default() }
    }

    /// Returns a Secret if it exists, as of what the watch has seen or later.
    ///
    /// # Errors
    /// If the API server refuses the request or does not answer.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Secret>>, kube::Error> {
        let version = self.metadata.get(key).and_then(|secret| secret.resource_version());
        let known = self.known().get(key).cloned();
        if let Some(known) = known.filter(|known| version.is_some() && known.resource_version() == version) {
            return Ok(Some(known));
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), key.namespace());
        let secret = secrets.get_opt(key.name()).await?.map(Arc::new);
        let mut known = self.known();
        known.retain(|key, _| self.metadata.get(key).is_some());
        match &secret {
            Some(secret) => known.insert(key.clone(), Arc::clone(secret)),
            None => known.remove(key),
        };
        Ok(secret)
    }

    async fn named(&self, Named(_, of): Named<'_>) -> Result<Option<Arc<Secret>>, kube::Error> {
        self.get(&of.key()).await
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Arc<Secret>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the credentials with which the operator sets the controller up; the inner error says what is missing.
    ///
    /// # Errors
    /// If the API server refuses a request or does not answer.
    pub async fn admin(&self, spec: &AkoDeploymentConfigSpec) -> Result<Result<Admin, String>, kube::Error> {
        let user = Named("spec.adminCredentialRef", &spec.admin_credential_ref);
        let authority = Named("spec.certificateAuthorityRef", &spec.certificate_authority_ref);
        let (user_secret, authority_secret) = (self.named(user).await?, self.named(authority).await?);
        let read = || {
            let credentials = Credentials {
                username: value(user, user_secret.as_deref(), "username")?,
                password: value(user, user_secret.as_deref(), "password")?.into(),
                ca_pem: value(authority, authority_secret.as_deref(), "certificateAuthorityData")?,
            };
            Ok(Admin { credentials, version: version([user_secret.as_deref(), authority_secret.as_deref()]) })
        };
        Ok(read())
    }

    /// Reads the account with which the operator makes port groups; the inner error says what is missing.
    ///
    /// # Errors
    /// If the API server refuses a request or does not answer.
    pub async fn vcenter(&self, vcenter: &Vcenter) -> Result<Result<VcenterAccount, String>, kube::Error> {
        let user = Named("spec.vcenter.credentialRef", &vcenter.credential_ref);
        let user_secret = self.named(user).await?;
        let authority = match &vcenter.certificate_authority_ref {
            Some(of) => {
                let of = Named("spec.vcenter.certificateAuthorityRef", of);
                Some((of, self.named(of).await?))
            }
            None => None,
        };
        let read = || {
            let pem = |(of, secret): &(Named<'_>, Option<Arc<Secret>>)| {
                value(*of, secret.as_deref(), "certificateAuthorityData")
            };
            Ok(VcenterAccount {
                username: value(user, user_secret.as_deref(), "username")?,
                password: value(user, user_secret.as_deref(), "password")?.into(),
                ca_pem: authority.as_ref().map(pem).transpose()?,
                version: version([
                    user_secret.as_deref(),
                    authority.as_ref().and_then(|(_, secret)| secret.as_deref()),
                ]),
            })
        };
        Ok(read())
    }

    /// Reads the credentials that a person gives AKO; the inner error says what is missing.
    ///
    /// # Errors
    /// If the API server refuses a request or does not answer.
    pub async fn workload(
        &self,
        of: &SecretRef,
        ca_pem: &str,
    ) -> Result<Result<Credentials, String>, kube::Error> {
        let of = Named("spec.workloadCredentialRef", of);
        let secret = self.named(of).await?;
        let read = || {
            Ok(Credentials {
                username: value(of, secret.as_deref(), "username")?,
                password: value(of, secret.as_deref(), "password")?.into(),
                ca_pem: ca_pem.to_owned(),
            })
        };
        Ok(read())
    }
}

/// Returns a text that changes when one of the Secrets does.
fn version(secrets: [Option<&Secret>; 2]) -> String {
    let versions =
        secrets.map(|secret| secret.and_then(|secret| Some((secret.uid()?, secret.resource_version()?))));
    format!("{versions:?}")
}

/// Returns the value of a key of a Secret, or what is missing.
fn value(Named(field, of): Named<'_>, secret: Option<&Secret>, key: &str) -> Result<String, String> {
    let SecretRef { namespace, name } = of;
    let secret =
        secret.ok_or_else(|| format!("{field}: Secret {namespace}/{name} does not exist: create it"))?;
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    let text = text.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| format!("{field}: Secret {namespace}/{name} has no text under the key {key}: add it"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    /// Without an authority nothing would check the certificate of the controller, so none is never taken for "do not check".
    #[test]
    fn what_a_secret_lacks_is_said_and_never_taken_as_empty() {
        let of = SecretRef { name: "ca".into(), namespace: "ns".into() };
        let with = |key: &str, bytes: &[u8]| {
            let data = Some([(key.to_owned(), ByteString(bytes.to_vec()))].into());
            Some(Secret { data, ..Secret::default() })
        };
        let (missing, lacks) = ("spec.f: Secret ns/ca does not exist", "has no text under the key k: add it");
        for (what, secret, wanted) in [
            ("a text", with("k", b"text"), Ok("text")),
            ("no Secret", None, Err(missing)),
            ("an empty Secret", Some(Secret::default()), Err(lacks)),
            ("another key", with("other", b"text"), Err(lacks)),
            ("an empty text", with("k", b""), Err(lacks)),
            ("a blank text", with("k", b" \n"), Err(lacks)),
            ("bytes", with("k", b"\xff"), Err(lacks)),
        ] {
            match (value(Named("spec.f", &of), secret.as_ref(), "k"), wanted) {
                (Ok(text), Ok(wanted)) => assert_eq!(text, wanted, "{what}"),
                (Err(message), Err(wanted)) => assert!(message.contains(wanted), "{what}: {message}"),
                (value, _) => panic!("{what}: {value:?}"),
            }
        }
    }
}
