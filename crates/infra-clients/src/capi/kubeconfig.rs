//! Reads connection settings from the text of a kubeconfig Secret. Owns what such a kubeconfig may contain; reads no
//! file and no environment, and runs nothing.
//!
//! Users who may write the Secret choose where the operator connects to and as which user, and no more: programs (`exec`,
//! `auth-provider`), files, proxies and unverified connections are refused. Errors name the field, and never quote a
//! value that could be a key or a password, which a parser's own message might do.

use data_encoding::BASE64;
use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret;

use super::error::{Error, Kind};

/// Returns the settings of the current context.
pub(super) fn read(text: &[u8]) -> Result<Config, Error> {
    let text = std::str::from_utf8(text).map_err(|_| bad("not text"))?;
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|_| bad("not a kubeconfig in YAML"))?;
    let current = kubeconfig.current_context.filter(|name| !name.is_empty());
    let current = current.ok_or_else(|| bad("current-context is not set"))?;
    let context = kubeconfig.contexts.into_iter().find(|context| context.name == current);
    let context = context
        .and_then(|context| context.context)
        .ok_or_else(|| bad("current-context names a context that does not exist"))?;
    let cluster = kubeconfig.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
    let cluster = cluster
        .and_then(|cluster| cluster.cluster)
        .ok_or_else(|| bad("the context names a cluster that does not exist"))?;
    let user = kubeconfig.auth_infos.into_iter().find(|user| Some(&user.name) == context.user.as_ref());
    let user = user
        .and_then(|user| user.auth_info)
        .ok_or_else(|| bad("the context names a user that does not exist"))?;

    let mut config = Config::new(server(&cluster)?);
    config.root_cert = authority(&cluster)?;
    config.tls_server_name = cluster.tls_server_name;
    config.auth_info = credentials(user)?;
    if let Some(namespace) = context.namespace {
        config.default_namespace = namespace;
    }
    Ok(config)
}

fn server(cluster: &Cluster) -> Result<Uri, Error> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(bad("insecure-skip-tls-verify is refused: give certificate-authority-data"));
    }
    if cluster.proxy_url.is_some() {
        return Err(bad("proxy-url is refused"));
    }
    let server = cluster.server.as_deref().unwrap_or_default();
    let uri: Uri = server.parse().map_err(|_| bad("server is not a URL"))?;
    if uri.scheme_str() != Some("https") || uri.host().is_none_or(str::is_empty) {
        return Err(bad("server is not an https:// URL"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(bad("server holds a user name"));
    }
    Ok(uri)
}

fn authority(cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>, Error> {
    refuse_file("certificate-authority", cluster.certificate_authority.as_ref())?;
    let Some(data) = &cluster.certificate_authority_data else { return Ok(None) };
    let certificates = certificates("certificate-authority-data", data)?;
    Ok(Some(certificates.iter().map(|certificate| certificate.to_vec()).collect()))
}

/// Returns only known fields: kube must not find anything to run or to read.
fn credentials(user: AuthInfo) -> Result<AuthInfo, Error> {
    if user.exec.is_some() {
        return Err(bad("exec is refused: the operator runs no programs to get credentials"));
    }
    if user.auth_provider.is_some() {
        return Err(bad("auth-provider is refused: the operator runs no programs to get credentials"));
    }
    refuse_file("tokenFile", user.token_file.as_ref())?;
    refuse_file("client-certificate", user.client_certificate.as_ref())?;
    refuse_file("client-key", user.client_key.as_ref())?;
    let known = AuthInfo {
        username: user.username,
        password: user.password,
        token: user.token,
        client_certificate_data: user.client_certificate_data,
        client_key_data: user.client_key_data,
        impersonate: user.impersonate,
        impersonate_uid: user.impersonate_uid,
        impersonate_groups: user.impersonate_groups,
        impersonate_user_extra: user.impersonate_user_extra,
        ..AuthInfo::default()
    };
    let pair = match (&known.client_certificate_data, &known.client_key_data) {
        (Some(_), None) => return Err(bad("client-certificate-data has no client-key-data")),
        (None, Some(_)) => return Err(bad("client-key-data has no client-certificate-data")),
        (None, None) => false,
        (Some(certificate), Some(key)) => {
            check_pair(certificate, key.expose_secret())?;
            true
        }
    };
    let token = known.token.as_ref().map(ExposeSecret::expose_secret);
    if token.is_some_and(|token| token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(bad("token is empty or has characters that no token has"));
    }
    let password = known.username.is_some() && known.password.is_some();
    if !pair && token.is_none() && !password {
        return Err(bad(
            "the user has no credentials: neither a client certificate nor a token nor a password",
        ));
    }
    Ok(known)
}

fn check_pair(certificate: &str, key: &str) -> Result<(), Error> {
    let chain = certificates("client-certificate-data", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&decoded("client-key-data", key)?)
        .map_err(|_| bad("client-key-data holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                bad("client-key-data is not the key of client-certificate-data")
            }
            _ => bad("client-certificate-data or client-key-data is of a kind that is not supported"),
        })
        .map(drop)
}

fn certificates(field: &str, data: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = decoded(field, data)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| bad(&format!("{field} holds no certificates in PEM")))
}

fn decoded(field: &str, data: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
    let bytes = BASE64.decode(data.as_bytes()).map_err(|_| bad(&format!("{field} is not base64")))?;
    Ok(bytes.into())
}

fn refuse_file(field: &str, path: Option<&String>) -> Result<(), Error> {
    match path {
        Some(path) if !path.is_empty() => Err(bad(&format!(
            "{field} is refused: the Secret has to contain everything itself instead of naming files"
        ))),
        _ => Ok(()),
    }
}

fn bad(problem: &str) -> Error {
    Error::new(Kind::BadKubeconfig, problem)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::{Value, json};

    use super::*;
    use crate::failure::{Class, Failure};

    struct Material {
        certificate: String,
        key: String,
        other_key: String,
    }

    fn material() -> Material {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["x".into()]).unwrap().self_signed(&key).unwrap();
        let encode = |pem: String| BASE64.encode(pem.as_bytes());
        Material {
            certificate: encode(certificate.pem()),
            key: encode(key.serialize_pem()),
            other_key: encode(KeyPair::generate().unwrap().serialize_pem()),
        }
    }

    fn kubeconfig(cluster: &Value, user: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        })
    }

    fn read_value(value: &Value) -> Result<Config, Error> {
        super::read(value.to_string().as_bytes())
    }

    #[test]
    fn credentials_inside_are_taken() {
        let Material { certificate, key, .. } = material();
        let cluster = json!({
            "server": "https://10.0.0.1:6443",
            "certificate-authority-data": certificate,
            "tls-server-name": "api",
        });
        for user in [
            json!({"client-certificate-data": certificate, "client-key-data": key}),
            json!({"token": "abc.def-ghi"}),
            json!({"username": "a", "password": "b"}),
        ] {
            let config = read_value(&kubeconfig(&cluster, &user)).unwrap();
            assert_eq!(config.cluster_url, "https://10.0.0.1:6443/");
            assert_eq!(config.default_namespace, "ns");
            assert_eq!(config.tls_server_name.as_deref(), Some("api"));
            assert_eq!(config.root_cert.unwrap().len(), 1);
            assert!(!config.accept_invalid_certs);
        }
    }

    const SECRET: &str = "s3cr3t-M4terial";

    fn with(mut base: Value, field: &str, value: Value) -> Value {
        base[field] = value;
        base
    }

    fn check_refusal(cluster: &Value, user: &Value, key: &str, expected: &str) {
        let Err(error) = read_value(&kubeconfig(cluster, user)) else { panic!("{expected}: accepted") };
        let text = format!("{error} {error:?}");
        assert_eq!((error.kind(), error.class()), (Kind::BadKubeconfig, Class::NeedsHelp));
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains(SECRET) && !text.contains(&key[..32]), "{text}");
    }

    #[test]
    fn a_bad_cluster_is_named_and_no_secret_is_shown() {
        let Material { key, .. } = material();
        let good = || json!({"server": "https://a"});
        let cases = [
            (with(good(), "server", "".into()), "server is not"),
            (with(good(), "server", format!("http://{SECRET}").into()), "server is not an https:// URL"),
            (with(good(), "server", format!("https://u:{SECRET}@a").into()), "server holds a user name"),
            (with(good(), "insecure-skip-tls-verify", true.into()), "insecure-skip-tls-verify is refused"),
            (with(good(), "proxy-url", "http://p".into()), "proxy-url is refused"),
            (with(good(), "certificate-authority", "/etc/passwd".into()), "certificate-authority is refused"),
            (
                with(good(), "certificate-authority-data", SECRET.into()),
                "certificate-authority-data is not base64",
            ),
            (
                with(good(), "certificate-authority-data", key.clone().into()),
                "certificate-authority-data holds no cert",
            ),
        ];
        for (cluster, expected) in cases {
            check_refusal(&cluster, &json!({"token": SECRET}), &key, expected);
        }
    }

    #[test]
    fn a_bad_user_is_named_and_no_secret_is_shown() {
        let Material { certificate, key, other_key } = material();
        let token = || json!({"token": SECRET});
        let cases = [
            (with(token(), "exec", json!({"command": "/bin/sh"})), "exec is refused"),
            (with(token(), "auth-provider", json!({"name": "gcp"})), "auth-provider is refused"),
            (with(token(), "tokenFile", "/var/run/token".into()), "tokenFile is refused"),
            (with(token(), "client-certificate", "/x".into()), "client-certificate is refused"),
            (with(token(), "client-key", "/x".into()), "client-key is refused"),
            (json!({"token": format!("{SECRET}\n")}), "token is empty or has"),
            (json!({"token": ""}), "token is empty or has"),
            (json!({}), "the user has no credentials"),
            (json!({"username": "u"}), "the user has no credentials"),
            (json!({"client-key-data": key}), "client-key-data has no"),
            (json!({"client-certificate-data": certificate}), "client-certificate-data has no"),
            (
                json!({"client-certificate-data": certificate, "client-key-data": SECRET}),
                "client-key-data is not base64",
            ),
            (
                json!({"client-certificate-data": certificate, "client-key-data": certificate}),
                "client-key-data holds no",
            ),
            (
                json!({"client-certificate-data": certificate, "client-key-data": other_key}),
                "is not the key of",
            ),
        ];
        for (user, expected) in cases {
            check_refusal(&json!({"server": "https://a"}), &user, &key, expected);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let whole = kubeconfig(&json!({"server": "https://a"}), &json!({"token": "t"}));
        let without = |field: &str, value: Value| {
            let mut some = whole.clone();
            some[field] = value;
            some
        };
        let cases = [
            (json!({}), "current-context is not set"),
            (without("current-context", "".into()), "current-context is not set"),
            (without("current-context", "gone".into()), "current-context names a context"),
            (without("clusters", json!([])), "the context names a cluster"),
            (without("users", json!([])), "the context names a user"),
        ];
        for (value, expected) in cases {
            let error = read_value(&value).unwrap_err();
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
        for text in [&b"\xff\xfe"[..], b"", b": :", b"users: hunter2", b"- hunter2", b"token: \"hunter2"] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind(), Kind::BadKubeconfig);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn users_that_are_not_chosen_do_not_matter() {
        let mut value = kubeconfig(&json!({"server": "https://a"}), &json!({"token": "t"}));
        value["users"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "other", "user": {"exec": {"command": "/x"}}}));
        assert!(read_value(&value).unwrap().auth_info.exec.is_none());
    }
}
