//! Passwords from the random source of the operating system.

use infra_clients::Secret;

/// Characters of a password. Their number is a power of two, so that each is as likely as the others. Without letters and digits that
/// look alike, and without characters that YAML, JSON or a shell would have to quote.
const ALPHABET: &[u8; 64] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789!@#%-_";
/// Length of a password: 144 bits of chance.
const LENGTH: usize = 24;

/// Returns a new password. It has the four kinds of characters that AVI's policy may ask for.
///
/// # Errors
/// If the operating system has no randomness.
pub fn generate() -> Result<Secret, getrandom::Error> {
    compose(getrandom::fill)
}

/// Returns a new id of a password, which does not depend on it.
///
/// # Errors
/// If the operating system has no randomness.
pub fn new_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// Draws passwords until one has all kinds of characters: nearly every third one lacks one.
fn compose<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Secret, E> {
    loop {
        let mut bytes = [0; LENGTH];
        fill(&mut bytes)?;
        let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect();
        let password = Secret::new(text);
        if is_strong(password.expose()) {
            return Ok(password);
        }
    }
}

/// Returns whether a password has a lower-case and an upper-case letter, a digit and a special character.
fn is_strong(password: &str) -> bool {
    let kinds = [
        |c: char| c.is_ascii_lowercase(),
        |c: char| c.is_ascii_uppercase(),
        |c: char| c.is_ascii_digit(),
        |c: char| c.is_ascii_punctuation(),
    ];
    kinds.iter().all(|kind| password.contains(*kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_have_all_kinds_of_characters_and_differ() {
        let passwords: BTreeSet<String> = (0..200).map(|_| generate().unwrap().expose().to_owned()).collect();
        assert_eq!(passwords.len(), 200);
        for password in &passwords {
            assert_eq!(password.len(), LENGTH);
            assert!(is_strong(password));
        }
        let used: BTreeSet<u8> = passwords.iter().flat_map(|password| password.bytes()).collect();
        assert_eq!(used, ALPHABET.iter().copied().collect(), "no character is left out, or there twice");
        assert_eq!(used.len(), ALPHABET.len());
    }

    #[test]
    fn without_randomness_there_is_no_password() {
        assert!(compose(|_| Err(())).is_err());
    }

    proptest! {
        #[test]
        fn a_weak_draw_is_drawn_again(first in proptest::collection::vec(any::<u8>(), LENGTH)) {
            let mut draws = vec![b"\x00\x19\x32\x3a".repeat(LENGTH / 4), first];
            let password = compose(|bytes| {
                if let Some(draw) = draws.pop() { bytes.copy_from_slice(&draw) }
                Ok::<_, Infallible>(())
            });
            prop_assert!(is_strong(password.unwrap().expose()));
        }
    }
}
