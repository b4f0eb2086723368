//! How a server's certificate is checked. Owns the reading of thumbprints; reads no files and checks no certificate
//! itself.

use std::fmt;
use std::str::FromStr;

use super::SettingError;

/// How the server's certificate is checked.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the system's certificate authorities.
    System,
    /// By these authorities and no others: PEM, one certificate or more.
    CaBundle(Vec<u8>),
    /// It has to be exactly this certificate; its names, dates and issuer are ignored.
    Thumbprint(Thumbprint),
    /// Not at all. Anyone on the network in between can read and change everything, the password included.
    Insecure,
}

/// The SHA-1 or SHA-256 digest of a certificate, as vCenter and browsers show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Thumbprint {
    /// 20 bytes.
    Sha1([u8; 20]),
    /// 32 bytes.
    Sha256([u8; 32]),
}

impl Trust {
    /// Trusts the authorities in a PEM text.
    ///
    /// # Errors
    /// The text holds no certificate, or one that cannot be read.
    pub fn ca_bundle(pem: Vec<u8>) -> Result<Self, SettingError> {
        super::roots(&pem)?;
        Ok(Self::CaBundle(pem))
    }
}

impl FromStr for Thumbprint {
    type Err = SettingError;

    /// Reads 40 or 64 hexadecimal digits in either case, with or without colons.
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let bad = || {
            SettingError::new(
                "a certificate thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, with or without colons",
            )
        };
        let digits: Vec<u8> = text
            .trim()
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        if !digits.len().is_multiple_of(2) {
            return Err(bad());
        }
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if let Ok(sha1) = <[u8; 20]>::try_from(bytes.as_slice()) {
            Ok(Self::Sha1(sha1))
        } else {
            bytes.as_slice().try_into().map(Self::Sha256).map_err(|_| bad())
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        for (i, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_in_every_spelling() {
        let sha1 = "AB:CD:EF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:01";
        let parsed: Thumbprint = sha1.parse().unwrap();
        assert_eq!(parsed.to_string(), sha1);
        assert_eq!(sha1.replace(':', "").to_lowercase().parse::<Thumbprint>().unwrap(), parsed);
        assert!(matches!("ab".repeat(32).parse(), Ok(Thumbprint::Sha256(_))));
        for bad in ["", "ab", "zz", &"ab".repeat(21), &"a".repeat(41), "é"] {
            assert!(bad.parse::<Thumbprint>().is_err(), "{bad}");
        }
    }
}
