//! `vdo configure`: writes the objects that ask for drivers, from flags or from answers on a terminal.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use infra_clients::{Failure as _, Secret};
use k8s_openapi::api::core::v1::{ConfigMap, Secret as SecretObject};
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::Access;
use super::error::Error;
use super::terminal::{Terminal, password};
use super::{Done, Ends};
use crate::api::{
    CompatibilityMatrix, CompatibilityMatrixSpec, ConfigMapKey, CpiSpec, CsiSpec, Download, DriverSet,
    DriverSetSpec, DriverSpec, VSphereConnection, VSphereConnectionSpec, VersionPolicy,
};
use crate::config::{Account, Vcenter};
use crate::connection::{ask, said};
use crate::fetch::Source;
use crate::matrix::Matrix;
use crate::program::OPERATOR;

/// Writes what asks for drivers: from flags, and on a terminal from answers
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Configure {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Writes a DriverSet, with a VSphereConnection and the Secret of its account
    Drivers(Drivers),
    /// Writes a CompatibilityMatrix, which DriverSets can name
    CompatibilityMatrix(MatrixArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct Drivers {
    /// Name of the DriverSet, and of what belongs to it
    #[arg(long, value_name = "NAME", default_value = "drivers")]
    name: String,

    /// Host name or IP address of the vCenter, with a port if it is not 443
    #[arg(long, value_name = "HOST")]
    server: Option<String>,

    /// User name with its domain, such as csi@vsphere.local
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// File with the password; - is standard input [default: the variable VDO_PASSWORD, else it is asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Datacenter in which the machines of the cluster are; may be repeated [default: all that the account sees]
    #[arg(long = "datacenter", value_name = "NAME")]
    datacenters: Vec<String>,

    #[command(flatten)]
    trust: Trust,

    /// Drivers that vdo manages
    #[arg(long = "drivers", value_enum, value_delimiter = ',', default_values_t = [Name::Cpi, Name::Csi])]
    managed: Vec<Name>,

    /// How versions are chosen
    #[arg(long, value_enum, default_value_t = Versions::Latest)]
    versions: Versions,

    /// Name of a CompatibilityMatrix [default: the one that is built in]
    #[arg(long, value_name = "NAME")]
    matrix: Option<String>,

    /// Take over drivers that another tool has installed
    #[arg(long)]
    adopt: bool,

    /// Do not log in to the vCenter before the objects are written
    #[arg(long)]
    no_login: bool,

    /// Print the objects without the password, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    access: Access,
}

/// How the vCenter's certificate is checked.
#[derive(Clone, Debug, clap::Args)]
#[group(multiple = false)]
struct Trust {
    /// SHA-1 or SHA-256 fingerprint of the vCenter's certificate
    #[arg(long, value_name = "FINGERPRINT")]
    thumbprint: Option<String>,

    /// File with the authorities that signed the vCenter's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Trust any certificate
    #[arg(long)]
    insecure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The network: Antrea
    Cni,
    /// The cloud provider
    Cpi,
    /// The kinds of snapshots and their controller
    SnapshotController,
    /// The storage driver
    Csi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Versions {
    /// The highest that fits
    Latest,
    /// Patches of the one that is installed
    Patch,
    /// The highest of those that the matrix marks with lts
    Lts,
}

impl Versions {
    fn policy(self) -> Option<VersionPolicy> {
        match self {
            // What a DriverSet means that says nothing.
            Self::Latest => None,
            Self::Patch => Some(VersionPolicy::Patch),
            Self::Lts => Some(VersionPolicy::Lts),
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
struct MatrixArgs {
    /// Name of the CompatibilityMatrix
    #[arg(long, value_name = "NAME", default_value = "matrix")]
    name: String,

    /// File with the matrix in JSON, which is read now
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    file: Option<PathBuf>,

    /// Where the operator reads it: `https://…#sha256=…`, `oci://registry/repository:tag` or `configmap:name/key`
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Print the object, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    access: Access,
}

impl Configure {
    pub(super) fn access(&self) -> &Access {
        match &self.what {
            What::Drivers(drivers) => &drivers.access,
            What::CompatibilityMatrix(matrix) => &matrix.access,
        }
    }

    pub(super) async fn run(&self) -> Result<Done, Error> {
        match &self.what {
            What::Drivers(drivers) => drivers.clone().run().await,
            What::CompatibilityMatrix(matrix) => matrix.clone().run().await,
        }
    }
}

/// The objects that ask for drivers.
struct Objects {
    secret: Option<SecretObject>,
    authority: Option<ConfigMap>,
    connection: Option<VSphereConnection>,
    set: DriverSet,
}

impl Drivers {
    async fn run(mut self) -> Result<Done, Error> {
        let mut notes = Vec::new();
        let mut account = None;
        let mut pem = None;
        if self.uses_vcenter() {
            self.ask()?;
            let question = format!("Password of {}: ", self.username.as_deref().unwrap_or_default());
            account = Some(self.account(password(self.password_file.as_deref(), &question)?));
            pem = self.trust.ca_file.as_ref().map(read).transpose()?;
        }
        let objects = self.objects(account.clone(), pem.as_deref());
        if let (Some(connection), Some(account)) = (&objects.connection, account) {
            notes.extend(self.verify(connection, account, pem.as_deref()).await?);
        }
        let namespace = &self.access.operator_namespace;
        let mut written = Written::new(self.access.client().await?, namespace, self.dry_run);
        if let Some(secret) = &objects.secret {
            written.apply(secret).await?;
        }
        if let Some(authority) = &objects.authority {
            written.apply(authority).await?;
        }
        if let Some(connection) = &objects.connection {
            written.apply(connection).await?;
        }
        written.apply(&objects.set).await?;
        Ok(written.done(
            &notes,
            "`vdo plan` shows what the operator does with it, `vdo status --wait` waits for it",
        ))
    }

    fn uses_vcenter(&self) -> bool {
        self.managed.iter().any(|driver| matches!(driver, Name::Cpi | Name::Csi))
    }

    /// Asks for what was not given.
    fn ask(&mut self) -> Result<(), Error> {
        let missing: Vec<_> = [("--server", &self.server), ("--username", &self.username)]
            .into_iter()
            .filter(|(_, value)| value.is_none())
            .map(|(flag, _)| flag)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut terminal = Terminal::open().ok_or_else(|| {
            Error::Usage(format!("write {}: there is no terminal to ask on", missing.join(" and ")))
        })?;
        if self.server.is_none() {
            self.server = Some(terminal.ask("vCenter (host name or IP address): ")?);
        }
        if self.username.is_none() {
            self.username = Some(terminal.ask("User name (such as csi@vsphere.local): ")?);
        }
        if self.datacenters.is_empty() {
            let names = terminal.ask("Datacenters, with commas between them [all]: ")?;
            self.datacenters =
                names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        }
        if self.trust.thumbprint.is_none() && self.trust.ca_file.is_none() && !self.trust.insecure {
            let thumbprint = terminal.ask("Fingerprint of its certificate [checked by authorities]: ")?;
            self.trust.thumbprint = Some(thumbprint).filter(|text| !text.is_empty());
        }
        Ok(())
    }

    fn account(&self, password: Secret) -> Account {
        Account { username: self.username.clone().unwrap_or_default(), password }
    }

    /// Returns the objects.
    fn objects(&self, account: Option<Account>, pem: Option<&str>) -> Objects {
        let (name, namespace) = (&self.name, &self.access.operator_namespace);
        let meta = |name: String| ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        };
        let credentials = format!("{name}-account");
        let authority = pem.map(|_| format!("{name}-authority"));
        let connection = account.as_ref().map(|_| VSphereConnection {
            metadata: meta(name.clone()),
            spec: VSphereConnectionSpec {
                server: self.server.clone().unwrap_or_default(),
                credentials: credentials.clone(),
                datacenters: self.datacenters.clone(),
                insecure: self.trust.insecure.then_some(true),
                thumbprint: self.trust.thumbprint.clone(),
                certificate_authority: authority.clone(),
            },
            status: None,
        });
        let secret = account.map(|account| SecretObject {
            metadata: meta(credentials),
            string_data: Some(
                [
                    ("username".to_owned(), account.username),
                    ("password".to_owned(), account.password.expose().to_owned()),
                ]
                .into(),
            ),
            ..SecretObject::default()
        });
        let authority = authority.zip(pem).map(|(name, pem)| ConfigMap {
            metadata: meta(name),
            data: Some([("ca.crt".to_owned(), pem.to_owned())].into()),
            ..ConfigMap::default()
        });
        let mut set = DriverSet::new(name, self.spec());
        set.metadata.namespace = Some(namespace.clone());
        Objects { secret, authority, connection, set }
    }

    fn spec(&self) -> DriverSetSpec {
        let driver = DriverSpec {
            adopt: self.adopt.then_some(true),
            version_policy: self.versions.policy(),
            ..DriverSpec::default()
        };
        let connections = vec![self.name.clone()];
        let has = |name| self.managed.contains(&name);
        DriverSetSpec {
            matrix: self.matrix.clone(),
            cni: has(Name::Cni).then(|| driver.clone()),
            cpi: has(Name::Cpi).then(|| CpiSpec {
                driver: driver.clone(),
                connections: connections.clone(),
                ..CpiSpec::default()
            }),
            snapshot_controller: has(Name::SnapshotController).then(|| driver.clone()),
            csi: has(Name::Csi).then(|| CsiSpec { driver, connections, ..CsiSpec::default() }),
            ..DriverSetSpec::default()
        }
    }

    /// Logs in, so that a mistake is seen at once.
    async fn verify(
        &self,
        connection: &VSphereConnection,
        account: Account,
        pem: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let vcenter = Vcenter::read_connection(&connection.spec, account, pem);
        let vcenter = vcenter.map_err(|problems| Error::Usage(said(&problems)))?;
        if self.no_login {
            return Ok(None);
        }
        let answer = ask(&vcenter, String::new(), jiff::Timestamp::now()).await.map_err(|error| {
            Error::Usage(format!(
                "{error}: {}; to write the objects all the same, add --no-login",
                error.remedy()
            ))
        })?;
        if !answer.missing.is_empty() {
            let names = answer.missing.join(", ");
            return Err(Error::Usage(format!(
                "the account sees no datacenter with these names: {names}; correct --datacenter, or grant it the right to read them"
            )));
        }
        Ok(Some(format!(
            "vCenter {} accepts the account, which sees {} machines",
            answer.release,
            answer.machines.len()
        )))
    }
}

impl MatrixArgs {
    async fn run(self) -> Result<Done, Error> {
        let mut notes = Vec::new();
        let spec = match (&self.file, &self.source) {
            (Some(file), _) => {
                let text = read(file)?;
                let matrix = Matrix::parse(&text)
                    .map_err(|error| Error::Usage(format!("--file {}: {error}", file.display())))?;
                if !matrix.ignored.is_empty() {
                    notes.push(format!("these members mean nothing: {}", matrix.ignored.join(", ")));
                }
                CompatibilityMatrixSpec { inline: Some(text), ..CompatibilityMatrixSpec::default() }
            }
            (None, Some(source)) => of_source(source)?,
            (None, None) => {
                return Err(Error::Usage("write --file or --source: where the matrix is".to_owned()));
            }
        };
        let namespace = &self.access.operator_namespace;
        let mut object = CompatibilityMatrix::new(&self.name, spec);
        object.metadata.namespace = Some(namespace.clone());
        let mut written = Written::new(self.access.client().await?, namespace, self.dry_run);
        written.apply(&object).await?;
        let next = format!("name it in a DriverSet: `vdo configure drivers --matrix {}`", self.name);
        Ok(written.done(&notes, &next))
    }
}

/// Returns the spec that names a source.
fn of_source(text: &str) -> Result<CompatibilityMatrixSpec, Error> {
    let wrong = |message: String| Error::Usage(format!("--source: {message}"));
    let source: Source = text.parse().map_err(wrong)?;
    let (place, _) = text.split_once('#').unwrap_or((text, ""));
    let none = CompatibilityMatrixSpec::default;
    if let Some(reference) = place.strip_prefix("oci://") {
        return Ok(CompatibilityMatrixSpec { oci: Some(reference.to_owned()), ..none() });
    }
    if let Some((name, key)) = place.strip_prefix("configmap:").and_then(|rest| rest.split_once('/')) {
        let key = ConfigMapKey { name: name.to_owned(), key: key.to_owned() };
        return Ok(CompatibilityMatrixSpec { config_map: Some(key), ..none() });
    }
    match source.sha256() {
        Some(sha256) if place.starts_with("http") => {
            let url = Download { url: place.to_owned(), sha256: sha256.to_owned() };
            Ok(CompatibilityMatrixSpec { url: Some(url), ..none() })
        }
        _ => Err(wrong(format!(
            "{text}: write `https://…#sha256=…` with the checksum that `sha256sum` prints, `oci://…` or `configmap:…`"
        ))),
    }
}

fn read(file: &PathBuf) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

/// Objects that are written, or shown.
struct Written {
    client: Client,
    namespace: String,
    dry_run: bool,
    names: Vec<String>,
    shown: Vec<Value>,
}

impl Written {
    fn new(client: Client, namespace: &str, dry_run: bool) -> Self {
        let (names, shown) = (Vec::new(), Vec::new());
        Self { client, namespace: namespace.to_owned(), dry_run, names, shown }
    }

    async fn apply<K>(&mut self, object: &K) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let kind = K::kind(&()).into_owned();
        let mut value = serde_json::to_value(object).map_err(|error| Error::Internal(error.to_string()))?;
        value["apiVersion"] = json!(K::api_version(&()));
        value["kind"] = json!(kind);
        // Also without a change the API server says what it would refuse.
        let params =
            PatchParams { dry_run: self.dry_run, ..PatchParams::apply(&OPERATOR.field_manager("configure")) };
        let api = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        match api.patch(&object.name_any(), &params, &Patch::Apply(&value)).await {
            Err(kube::Error::Api(status)) if status.code == 404 && status.reason != "NotFound" => {
                return Err(Error::NotInstalled(kind));
            }
            patched => drop(patched?),
        }
        self.names.push(format!("{kind} {}/{}", self.namespace, object.name_any()));
        if let Some(fields) = value["stringData"].as_object_mut() {
            fields.insert("password".to_owned(), json!("***"));
        }
        self.shown.push(value);
        Ok(())
    }

    fn done(self, notes: &[String], next: &str) -> Done {
        let verb = if self.dry_run { "would be written" } else { "written" };
        let names = self.names.iter().map(|name| format!("{name}: {verb}"));
        let mut lines: Vec<_> = notes.iter().cloned().chain(names).collect();
        if self.dry_run {
            lines.extend(self.shown.iter().map(|object| format!("{object:#}")));
        } else {
            lines.push(next.to_owned());
        }
        let json = json!({"objects": self.shown, "notes": notes, "written": !self.dry_run});
        Done { text: lines.join("\n") + "\n", json, ends: Ends::Well }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_where_its_source_says() {
        let sum = "0".repeat(64);
        let spec = |text: &str| of_source(text).map_err(|error| error.to_string());
        let url = spec(&format!("https://example.com/m.json#sha256={sum}")).unwrap().url.unwrap();
        assert_eq!((url.url.as_str(), url.sha256.as_str()), ("https://example.com/m.json", sum.as_str()));
        assert_eq!(
            spec("oci://registry.example.com/m:v1").unwrap().oci.unwrap(),
            "registry.example.com/m:v1"
        );
        let key = spec("configmap:maps/matrix.json").unwrap().config_map.unwrap();
        assert_eq!((key.name.as_str(), key.key.as_str()), ("maps", "matrix.json"));
        for bad in ["https://example.com/m.json", "file:m.json", "nonsense"] {
            assert!(spec(bad).unwrap_err().starts_with("--source: "), "{bad}");
        }
    }
}
