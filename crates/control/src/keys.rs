//! New client keys.

use cutover_store::{Secret, WeakSecret};
use cutover_units::hex;

/// What every key begins with, so that secret scanners and people recognise one.
pub const PREFIX: &str = "ck-";

/// What helps whoever wants a name that is taken.
pub const NAME_TAKEN_HINT: &str = "names stay unique, revoked ones too, so that records stay clear; for another \
                                   secret under the same name: cutover key rotate NAME";

/// Random bytes of a key: 256 bits, out of any guesser's reach.
const RANDOM_BYTES: usize = 32;

/// Why no key could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
    /// The store does not take what was made.
    #[error(transparent)]
    Weak(#[from] WeakSecret),
}

/// A new key: its text, to be shown once, and the form the store takes.
pub fn generate() -> Result<(String, Secret), KeyError> {
    let mut bytes = [0u8; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
    let text = format!("{PREFIX}{}", hex(&bytes));
    let secret = Secret::new(&text)?;
    Ok((text, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognisable_and_never_the_same() {
        let (a, _) = generate().unwrap();
        let (b, _) = generate().unwrap();
        assert!(a.starts_with(PREFIX) && a.len() == PREFIX.len() + 64);
        assert_ne!(a, b);
    }
}
