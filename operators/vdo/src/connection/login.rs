//! How a vCenter is reached: an object, and the Secret and authorities that it names.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};
use operator_kit::Key;

use super::Connection;
use crate::api::reason;
use crate::config::{Account, Vcenter};
use crate::error::Error;
use crate::plan::Hold;
use crate::problem::Problem;

/// Key of the authorities in their ConfigMap.
const AUTHORITY: &str = "ca.crt";

/// How a vCenter is reached.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The vCenter, or why that is not known.
    pub(crate) vcenter: Result<Vcenter, Hold>,
    /// The versions of the object, the Secret and the authorities: an answer of the vCenter is valid for these only.
    pub(crate) identity: String,
}

/// Reads Secrets and authorities.
#[derive(Clone)]
pub(crate) struct Logins {
    pub(crate) client: Client,
}

impl Logins {
    /// Reads how a vCenter is reached.
    pub(crate) async fn read<C: Connection>(&self, connection: &C) -> Result<Login, Error> {
        let account = connection.account();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), account.namespace());
        let secret = if account.name().is_empty() { None } else { secrets.get_opt(account.name()).await? };
        let authority = match connection.authority() {
            Some(key) => Some(self.authority(&key).await?),
            None => None,
        };
        let version = |object: &kube::core::ObjectMeta| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{}/{}", text(&object.uid), text(&object.resource_version))
        };
        let authority_version = authority.as_ref().map(|(version, _)| version.clone()).unwrap_or_default();
        let secret_version = secret.as_ref().map(|secret| version(&secret.metadata)).unwrap_or_default();
        let source = format!("{secret_version},{authority_version}");
        let generation = connection.meta().generation.unwrap_or_default();
        let identity = format!("{}/{generation},{source}", connection.uid().unwrap_or_default());
        let vcenter = vcenter(connection, secret, authority.map(|(_, pem)| pem));
        Ok(Login { vcenter, identity })
    }

    /// Returns the version of a ConfigMap, and the authorities in it.
    async fn authority(&self, key: &Key) -> Result<(String, Result<String, Hold>), Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), key.namespace());
        let found = api.get_opt(key.name()).await?;
        let version = found.as_ref().and_then(kube::ResourceExt::resource_version).unwrap_or_default();
        let pem = found.and_then(|found| found.data?.remove(AUTHORITY));
        let missing = || Hold {
            reason: reason::CREDENTIALS_MISSING,
            message: format!(
                "spec.certificateAuthority: the ConfigMap {key} has no key {AUTHORITY}: create it"
            ),
        };
        Ok((version, pem.ok_or_else(missing)))
    }
}

fn vcenter<C: Connection>(
    connection: &C,
    secret: Option<Secret>,
    authority: Option<Result<String, Hold>>,
) -> Result<Vcenter, Hold> {
    let (key, authority) = (connection.account(), authority.transpose()?);
    let Some(secret) = secret else {
        let message = format!(
            "spec.credentials: the Secret {key} does not exist: create it, with the keys username and password"
        );
        return Err(Hold { reason: reason::CREDENTIALS_MISSING, message });
    };
    let account = Account::read(&secret.data.unwrap_or_default()).map_err(|problems| Hold {
        reason: reason::CREDENTIALS_MISSING,
        message: format!("spec.credentials: the Secret {key}: {}", said(&problems)),
    })?;
    connection
        .vcenter(account, authority.as_deref())
        .map_err(|problems| Hold { reason: reason::INVALID_SETTINGS, message: said(&problems) })
}

pub(crate) fn said(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
