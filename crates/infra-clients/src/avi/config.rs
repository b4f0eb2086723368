//! The settings of a client. Reads no environment and no files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::error::Error;
use super::observe::Observer;
use super::version::Version;
use crate::{Secret, Trust, https};

/// Settings of a client of one controller.
///
/// ```
/// use infra_clients::avi::{Avi, Config, Credentials, Scope};
/// use infra_clients::{Secret, Trust};
///
/// # fn example(ca: Vec<u8>, token: Secret) -> Result<Avi, infra_clients::avi::Error> {
/// let mut config = Config::new("avi.example.com", Credentials::token("ako", token));
/// config.trust = Trust::CaBundle(ca);
/// config.scope = Scope::Name("team-a".into());
/// let avi = Avi::start(config)?;
/// # Ok(avi) }
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// `name`, `name:port`, or `https://name[:port]`. Port 443 unless given.
    pub controller: String,
    /// The account.
    pub credentials: Credentials,
    /// How the controller's certificate is judged.
    pub trust: Trust,
    /// The tenant of calls that name no other. Default: `admin`.
    pub scope: Scope,
    /// Name and version of the program, sent with every request.
    pub agent: (&'static str, &'static str),
    /// The newest API version to use. Default: [`Version::KNOWN`]. Older controllers are called with their own
    /// version.
    pub api_version: Version,
    /// Longest wait for a connection. Default: 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for an answer to begin, and for the limit on calls. Default: 60 s.
    pub reply_timeout: Duration,
    /// Longest wait for an answer to be complete after it began. Default: 60 s.
    pub body_timeout: Duration,
    /// Largest answer, in bytes. Default: 64 MiB.
    pub max_reply: usize,
    /// How many calls may be in flight at once. Default: 8. Clients of one controller can share a limit.
    pub limit: Limit,
    /// How often a change is attempted when other clients change the object in between. Default: 50, which takes half
    /// a minute.
    pub stale_tries: u32,
    /// Idle time after which the client logs out. Default: 5 minutes. The next call logs in again. `None`: the
    /// controller ends the session, by default after 15 idle minutes.
    pub idle_logout: Option<Duration>,
    /// How long credentials that the controller refused are not sent again, unless others are set. Default: 30
    /// minutes, the time after which a controller releases a locked account (`account_lock_timeout` of the account's
    /// profile). Where that is longer, give at least as much.
    pub lock_period: Duration,
    /// Receives every exchange, for metrics.
    pub observer: Option<Observer>,
}

impl Config {
    /// Creates settings with every default, trusting the system's certificate authorities.
    #[must_use]
    pub fn new(controller: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            controller: controller.into(),
            credentials,
            trust: Trust::System,
            scope: Scope::admin(),
            agent: (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            api_version: Version::KNOWN,
            connect_timeout: Duration::from_secs(10),
            reply_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_mins(1),
            max_reply: 64 << 20,
            limit: Limit::new(8),
            stale_tries: 50,
            idle_logout: Some(Duration::from_mins(5)),
            lock_period: Duration::from_mins(30),
            observer: None,
        }
    }

    /// Returns the identity of a client with these settings, to find an existing one without creating another.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`](super::Kind::Config): the address cannot be used.
    pub fn identity(&self) -> Result<Identity, Error> {
        Ok(Identity::new(&self.authority()?, &self.credentials, &self.trust, &self.scope))
    }

    /// Returns host and port of the controller.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`](super::Kind::Config): the address cannot be used.
    pub fn authority(&self) -> Result<String, Error> {
        authority(&self.controller)
    }
}

/// Returns host and port of a controller, in one spelling, from the address that people write: a URL, capitals, a trailing slash.
///
/// # Errors
///
/// [`Kind::Config`](super::Kind::Config): the address cannot be used.
pub fn authority(controller: &str) -> Result<String, Error> {
    Ok(https::authority("AVI controller", &[], controller)?)
}

/// An account and what proves it.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The name to log in with.
    pub user: String,
    /// What proves it.
    pub proof: Proof,
}

impl Credentials {
    /// Creates credentials with a password.
    #[must_use]
    pub fn password(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), proof: Proof::Password(password) }
    }

    /// Creates credentials with an API token.
    #[must_use]
    pub fn token(user: impl Into<String>, token: Secret) -> Self {
        Self { user: user.into(), proof: Proof::Token(token) }
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user
            && self.proof.field() == other.proof.field()
            && self.proof.secret().expose() == other.proof.secret().expose()
    }
}

impl Eq for Credentials {}

/// What proves an account.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Its password.
    Password(Secret),
    /// A token that the controller issued.
    Token(Secret),
}

impl Proof {
    pub(super) fn secret(&self) -> &Secret {
        match self {
            Self::Password(secret) | Self::Token(secret) => secret,
        }
    }

    /// Returns the name of the field in the login.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::Token(_) => "token",
        }
    }
}

/// The tenant of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// By its name, as far as it [can be](Self::can_name). Name any other tenant by its uuid.
    Name(String),
    /// By its uuid.
    Uuid(String),
    /// All tenants. Only for reads: no object can be created there.
    All,
}

impl Scope {
    /// Returns the tenant that every controller has.
    #[must_use]
    pub fn admin() -> Self {
        Self::Name("admin".to_owned())
    }

    /// Returns whether a tenant of this name can be named in a call. `""` and `*` would mean the tenant `admin` and all tenants. A header
    /// loses the spaces around its value, and has no common encoding of what is not ASCII: it could arrive as no tenant at all.
    #[must_use]
    pub fn can_name(tenant: &str) -> bool {
        let is_printable = tenant.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        !matches!(tenant, "" | "*") && tenant.trim() == tenant && is_printable
    }
}

/// A limit on calls in flight. Clones share it.
#[derive(Debug, Clone)]
pub struct Limit(pub(super) Arc<Semaphore>);

impl Limit {
    /// Creates a limit of that many calls, at least one.
    #[must_use]
    pub fn new(calls: usize) -> Self {
        Self(Arc::new(Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS))))
    }
}

/// What makes two clients equal: controller, credentials, trust and tenant. Serves as a key; shows nothing of the
/// secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    authority: String,
    user: String,
    digest: [u8; 32],
}

impl Identity {
    pub(super) fn new(authority: &str, credentials: &Credentials, trust: &Trust, scope: &Scope) -> Self {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(credentials.proof.field().as_bytes());
        part(credentials.proof.secret().expose().as_bytes());
        match trust {
            Trust::System => part(b"system"),
            Trust::CaBundle(pem) => {
                part(b"ca");
                part(pem);
            }
            Trust::Thumbprint(thumbprint) => {
                part(b"thumbprint");
                part(thumbprint.to_string().as_bytes());
            }
            Trust::Insecure => part(b"insecure"),
        }
        match scope {
            Scope::Name(name) => part(&[b"name ", name.as_bytes()].concat()),
            Scope::Uuid(uuid) => part(&[b"uuid ", uuid.as_bytes()].concat()),
            Scope::All => part(b"all"),
        }
        Self {
            authority: authority.to_owned(),
            user: credentials.user.clone(),
            digest: digest.finalize().into(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Proves = fn(String, Secret) -> Credentials;

    #[test]
    fn what_makes_clients_the_same() {
        let identity = |user: &str, proof: Proves, secret: &str, trust: &Trust, scope: &Scope| {
            Identity::new("c", &proof(user.to_owned(), Secret::new(secret)), trust, scope)
        };
        let password: Proves = |user, secret| Credentials::password(user, secret);
        let token: Proves = |user, secret| Credentials::token(user, secret);
        let ca = |pem: &str| Trust::CaBundle(pem.into());
        let one = identity("u", password, "p", &ca("x"), &Scope::admin());
        assert_eq!(one, identity("u", password, "p", &ca("x"), &Scope::admin()));
        for other in [
            identity("v", password, "p", &ca("x"), &Scope::admin()),
            identity("u", token, "p", &ca("x"), &Scope::admin()),
            identity("u", password, "q", &ca("x"), &Scope::admin()),
            identity("u", password, "p", &ca("y"), &Scope::admin()),
            identity("u", password, "p", &Trust::System, &Scope::admin()),
            identity("u", password, "p", &ca("x"), &Scope::Uuid("admin".into())),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(format!("{one:?}"), "u@c");
    }
}
