//! Where a file is: an absolute URL. Owns which URLs can be used, and where a redirect may lead.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use super::SettingError;

/// An `https` or `http` URL without a user. Formats without query and fragment: a query may hold a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Returns whether it is plain HTTP: anyone on the network in between can change the file.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Returns the host without a port.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Returns the address with further parameters in its query.
    pub(super) fn with_query(mut self, query: &[(String, String)]) -> Self {
        self.0.query_pairs_mut().extend_pairs(query);
        self
    }

    /// Returns the address of something below this one.
    pub(super) fn below(&self, segments: [&str; 2]) -> Self {
        let mut below = self.clone();
        if let Ok(mut path) = below.0.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        below
    }

    /// Returns whether scheme, host and port are the same.
    pub(super) fn has_origin_of(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Returns where a redirect leads.
    ///
    /// # Errors
    /// If it leads to no address, or from https to http.
    pub(super) fn redirect(&self, location: Option<&str>) -> Result<Self, String> {
        let location = location.ok_or("a redirect leads nowhere")?;
        let url = self.0.join(location).map_err(|_| "a redirect leads to no URL".to_owned())?;
        let next = Self::of(url).map_err(|why| format!("a redirect leads to a URL that {why}"))?;
        if next.is_plain() && !self.is_plain() {
            return Err(format!("a redirect leads from https to {next}"));
        }
        Ok(next)
    }

    fn of(url: Url) -> Result<Self, &'static str> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err("has another scheme than https and http");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user: credentials do not belong into it");
        }
        Ok(Self(url))
    }
}

impl FromStr for Address {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let bad = |why: &str| {
            // The text may hold a password.
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
            SettingError::new(format!(
                "the URL {shown:?} {why}: write one such as https://host.example.com/manifest.yaml"
            ))
        };
        let url = Url::parse(text.trim()).map_err(|_| bad("cannot be read"))?;
        Self::of(url).map_err(bad)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_absolute_and_hold_no_user() {
        assert_eq!(address(" https://Host/a?sig=secret#x ").to_string(), "https://host/a");
        assert!(address("http://host:8080/a").is_plain() && !address("https://host/a").is_plain());
        for (bad, why) in [
            ("", "cannot be read"),
            ("host/a", "cannot be read"),
            ("ftp://host/a", "has another scheme"),
            ("file:///etc/passwd", "has another scheme"),
            ("https://user:pw@host/a", "holds a user"),
        ] {
            let error = bad.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("write one such as https://"), "{bad}: {error}");
            assert!(!error.contains("pw"), "{error}");
        }
    }

    #[test]
    fn redirects_stay_encrypted() {
        let from = address("https://host/dir/a");
        for (location, wanted) in [
            ("b", Ok("https://host/dir/b")),
            ("/b", Ok("https://host/b")),
            ("https://other/b?sig=x", Ok("https://other/b")),
            ("http://host/b", Err("a redirect leads from https to http://host/b")),
            ("file:///b", Err("a redirect leads to a URL that has another scheme than https and http")),
            (
                "https://u:pw@host/b",
                Err("a redirect leads to a URL that holds a user: credentials do not belong into it"),
            ),
        ] {
            let next = from.redirect(Some(location)).map(|next| next.to_string());
            assert_eq!(next, wanted.map(str::to_owned).map_err(str::to_owned), "{location}");
        }
        assert!(from.redirect(None).is_err());
        assert!(address("http://host/a").redirect(Some("http://other/b")).is_ok());
        assert!(address("http://host/a").redirect(Some("https://other/b")).is_ok());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let one = address("https://host/a");
        assert!(address("https://host:443/b").has_origin_of(&one));
        for other in ["https://host:8443/a", "http://host/a", "https://other/a", "https://sub.host/a"] {
            assert!(!address(other).has_origin_of(&one), "{other}");
        }
    }
}
