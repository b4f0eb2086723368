//! How a registry wants to be asked: its `WWW-Authenticate`.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::super::Address;

/// What a registry wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password.
    Basic,
    /// A token of `realm`, which is asked with these parameters.
    Bearer {
        /// The server that gives tokens.
        realm: String,
        /// `service` and `scope`.
        query: Vec<(String, String)>,
    },
}

impl Challenge {
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| Self::parse(value.to_str().ok()?))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut query) = (None, Vec::new());
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" | "scope" => query.push((name, value)),
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm?, query })
    }
}

/// Reads `name="value"` with commas between them, which a value may hold as well.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name.trim_matches([' ', ',']).to_owned(), value.trim().to_owned()));
        rest = next;
    }
    found
}

/// Returns where a token is asked for; `None` if the realm is no https address.
pub(super) fn token_address(realm: &str, query: &[(String, String)], repository: &str) -> Option<Address> {
    let mut query = query.to_vec();
    if !query.iter().any(|(name, _)| name == "scope") {
        query.push(("scope".to_owned(), format!("repository:{repository}:pull")));
    }
    realm
        .parse::<Address>()
        .ok()
        .filter(|address| !address.is_plain())
        .map(|address| address.with_query(&query))
}

/// Returns whether the login of a registry may be sent to a server that gives tokens for it: the same host, or one of the same domain.
pub(super) fn may_see_login(registry: &str, server: &str) -> bool {
    let domain = |host: &str| {
        let (_, domain) = host.split_once('.')?;
        (domain.contains('.') && host.parse::<std::net::Ipv4Addr>().is_err()).then(|| domain.to_owned())
    };
    let of_registry = domain(registry);
    registry == server
        || of_registry.is_some() && (of_registry == domain(server) || of_registry.as_deref() == Some(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, query: &[(&str, &str)]| {
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Some(Challenge::Bearer { realm: realm.to_owned(), query })
        };
        for (text, wanted) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth/token\",service=\"r\",scope=\"repository:a/b:pull,push\"",
                bearer("https://auth/token", &[("service", "r"), ("scope", "repository:a/b:pull,push")]),
            ),
            ("bearer realm=https://auth/token, error=\"x\"", bearer("https://auth/token", &[])),
            ("Bearer service=\"r\"", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn tokens_are_asked_for_over_https() {
        let query = [("service".to_owned(), "a b".to_owned())];
        let address = token_address("https://auth.example.com/token?x=1", &query, "a/b").unwrap();
        assert_eq!(
            address.url().as_str(),
            "https://auth.example.com/token?x=1&service=a+b&scope=repository%3Aa%2Fb%3Apull"
        );
        assert_eq!(token_address("http://auth.example.com/token", &query, "a/b"), None);
    }

    #[test]
    fn logins_stay_in_the_domain() {
        for (registry, server, may) in [
            ("registry.example.com", "registry.example.com", true),
            ("registry.example.com", "auth.example.com", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("registry-1.docker.io", "auth.docker.io", true),
            ("localhost", "localhost", true),
            ("registry.example.com", "auth.example.org", false),
            ("registry.example.com", "evil.com", false),
            ("example.com", "evil.com", false),
            ("registry.example.com", "auth.registry.example.com.evil.com", false),
            ("10.0.0.1", "10.0.0.2", false),
            ("127.0.0.1", "8.0.0.1", false),
        ] {
            assert_eq!(may_see_login(registry, server), may, "{registry} {server}");
        }
    }
}
