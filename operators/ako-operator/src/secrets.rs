//! Reads the Secrets that an AKODeploymentConfig names.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use crate::api::{AkoDeploymentConfigSpec, SecretRef, Vcenter};
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
        Ok(Admin { credentials, version: version([user_secret.as_ref(), authority_secret.as_ref()]) })
    };
    Ok(read())
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

/// Reads the account with which the operator makes port groups; the inner error says what is missing.
///
/// # Errors
/// If the API server refuses a request or does not answer.
pub async fn vcenter(
    client: &Client,
    vcenter: &Vcenter,
) -> Result<Result<VcenterAccount, String>, kube::Error> {
    let user = &vcenter.credential_ref;
    let user_secret = get(client, user).await?;
    let authority = match &vcenter.certificate_authority_ref {
        Some(of) => Some((of, get(client, of).await?)),
        None => None,
    };
    let read = || {
        let pem = |(of, secret): &(&SecretRef, Option<Secret>)| {
            value(of, secret.as_ref(), "certificateAuthorityData")
        };
        Ok(VcenterAccount {
            username: value(user, user_secret.as_ref(), "username")?,
            password: value(user, user_secret.as_ref(), "password")?.into(),
            ca_pem: authority.as_ref().map(pem).transpose()?,
            version: version([
                user_secret.as_ref(),
                authority.as_ref().and_then(|(_, secret)| secret.as_ref()),
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
    client: &Client,
    of: &SecretRef,
    ca_pem: &str,
) -> Result<Result<Credentials, String>, kube::Error> {
    let secret = get(client, of).await?;
    let read = || {
        Ok(Credentials {
            username: value(of, secret.as_ref(), "username")?,
            password: value(of, secret.as_ref(), "password")?.into(),
            ca_pem: ca_pem.to_owned(),
        })
    };
    Ok(read())
}

/// Returns a text that changes when one of the Secrets does.
fn version(secrets: [Option<&Secret>; 2]) -> String {
    let versions =
        secrets.map(|secret| secret.and_then(|secret| Some((secret.uid()?, secret.resource_version()?))));
    format!("{versions:?}")
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
        let (missing, lacks) = ("Secret ns/ca does not exist", "has no text under the key k: add it");
        for (what, secret, wanted) in [
            ("a text", with("k", b"text"), Ok("text")),
            ("no Secret", None, Err(missing)),
            ("an empty Secret", Some(Secret::default()), Err(lacks)),
            ("another key", with("other", b"text"), Err(lacks)),
            ("an empty text", with("k", b""), Err(lacks)),
            ("a blank text", with("k", b" \n"), Err(lacks)),
            ("bytes", with("k", b"\xff"), Err(lacks)),
        ] {
            match (value(&of, secret.as_ref(), "k"), wanted) {
                (Ok(text), Ok(wanted)) => assert_eq!(text, wanted, "{what}"),
                (Err(message), Err(wanted)) => assert!(message.contains(wanted), "{what}: {message}"),
                (value, _) => panic!("{what}: {value:?}"),
            }
        }
    }
}
