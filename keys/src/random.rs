//! Randomness, from the operating system's generator and nowhere else.
//!
//! No random number, nonce or salt is ever passed into this crate.

use crate::error::KeysError;

/// `N` fresh random bytes.
///
/// # Errors
/// [`KeysError::Random`] when the operating system's generator fails; the operation that asked must stop.
pub fn bytes<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}

/// Fills `out` with fresh random bytes, in place.
///
/// # Errors
/// [`KeysError::Random`] when the operating system's generator fails; what `out` then holds must not be used.
pub fn fill(out: &mut [u8]) -> Result<(), KeysError> {
    #[cfg(test)]
    if let Some(byte) = stuck::byte() {
        out.fill(byte);
        return Ok(());
    }
    getrandom::fill(out).map_err(|_| KeysError::Random)
}

/// A generator that repeats itself, as in a virtual machine resumed twice from one snapshot. Tests only.
#[cfg(test)]
pub(crate) mod stuck {
    use std::cell::Cell;

    thread_local! { static BYTE: Cell<Option<u8>> = const { Cell::new(None) }; }

    pub(super) fn byte() -> Option<u8> {
        BYTE.get()
    }

    /// Runs `work` while every random byte of this thread is `byte`.
    pub(crate) fn at<T>(byte: u8, work: impl FnOnce() -> T) -> T {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                BYTE.set(None);
            }
        }
        BYTE.set(Some(byte));
        let _reset = Reset;
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
    }

    #[test]
    fn a_stuck_generator_is_stuck_for_the_test_only() {
        assert_eq!(stuck::at(7, || bytes::<4>().unwrap()), [7; 4]);
        assert_ne!(bytes::<32>().unwrap(), [7; 32]);
    }
}
