//! How a vCenter is reached: an object, and the Secret and authorities that it names.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};
use operator_kit::Key;
use operator_kit::names::check_object_name;

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
        let generation = connection.meta().generation.unwrap_or_default();
        let object = format!("{}/{generation}", connection.uid().unwrap_or_default());
        if let Err(hold) = check_names(connection) {
            return Ok(Login { vcenter: Err(hold), identity: object });
        }
        let account = connection.account();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), account.namespace());
        let secret = secrets.get_opt(account.name()).await?;
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
        let identity = format!("{object},{source}");
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

/// Checks the names that a connection gives.
fn check_names<C: Connection>(connection: &C) -> Result<(), Hold> {
    let names =
        [("credentials", Some(connection.account())), ("certificateAuthority", connection.authority())];
    let problems: Vec<_> = names
        .into_iter()
        .filter_map(|(field, key)| {
            let message = check_object_name(key?.name()).err()?;
            Some(Problem::new(format!("spec.{field}"), message))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Hold { reason: reason::INVALID_SETTINGS, message: said(&problems) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{VSphereConnection, VSphereConnectionSpec, VsphereCloudConfig, VsphereCloudConfigSpec};

    #[test]
    fn a_name_that_no_object_can_have_is_asked_of_no_api_server() {
        let connection = |credentials: &str, authority: Option<&str>| {
            let spec = VSphereConnectionSpec {
                credentials: credentials.to_owned(),
                certificate_authority: authority.map(str::to_owned),
                ..VSphereConnectionSpec::default()
            };
            check_names(&VSphereConnection::new("vc", spec))
        };
        assert_eq!(connection("account", Some("authority")), Ok(()));
        let hold = connection("a\nb", Some("")).unwrap_err();
        assert_eq!(hold.reason, reason::INVALID_SETTINGS);
        let [account, authority] =
            ["spec.credentials: \"a\\nb\" is no name", "; spec.certificateAuthority: \"\" is no"];
        assert!(hold.message.starts_with(account) && hold.message.contains(authority), "{hold:?}");
        let spec =
            VsphereCloudConfigSpec { credentials: "a".repeat(300), ..VsphereCloudConfigSpec::default() };
        let hold = check_names(&VsphereCloudConfig::new("vc", spec)).unwrap_err();
        assert!(hold.message.contains("write at most 253"), "{hold:?}");
    }
}
