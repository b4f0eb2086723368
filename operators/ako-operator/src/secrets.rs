//! Reads the Secrets that an AKODeploymentConfig names.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use crate::api::{AkoDeploymentConfigSpec, SecretRef};
use crate::delivery::Credentials;

/// Credentials of the controller's administrator.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The credentials.
    pub credentials: Credentials,
    /// Changes when one of the Secrets does.
    pub version: String,
}

/// Reads the credentials with which the operator sets the controller up; the inner error says what is missing.
///
/// # Errors
/// If the API server refuses a request or does not answer.
pub async fn admin(
    client: &Client,
    spec: &AkoDeploymentConfigSpec,
) -> Result<Result<Admin, String>, kube::Error> {
    let (user, authority) = (&spec.admin_credential_ref, &spec.certificate_authority_ref);
    let (user_secret, authority_secret) = (get(client, user).await?, get(client, authority).await?);
    let read = || {
        let credentials = Credentials {
            username: value(user, user_secret.as_ref(), "username")?,
            password: value(user, user_secret.as_ref(), "password")?.into(),
            ca_pem: value(authority, authority_secret.as_ref(), "certificateAuthorityData")?,
        };
        let version = [&user_secret, &authority_secret].map(|secret| {
            secret.as_ref().and_then(|secret| Some((secret.uid()?, secret.resource_version()?)))
        });
        Ok(Admin { credentials, version: format!("{version:?}") })
    };
    Ok(read())
}

async fn get(client: &Client, of: &SecretRef) -> Result<Option<Secret>, kube::Error> {
    Api::namespaced(client.clone(), &of.namespace).get_opt(&of.name).await
}

/// Returns the value of a key of a Secret, or what is missing.
fn value(of: &SecretRef, secret: Option<&Secret>, key: &str) -> Result<String, String> {
    let SecretRef { namespace, name } = of;
    let secret = secret.ok_or_else(|| format!("Secret {namespace}/{name} does not exist: create it"))?;
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    let text = text.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| format!("Secret {namespace}/{name} has no text under the key {key}: add it"))
}
