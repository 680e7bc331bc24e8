//! The cipher stage: authenticated encryption in place.

#[cfg(feature = "ring")]
use super::xchacha_ring as xchacha;
#[cfg(not(feature = "ring"))]
use super::xchacha_rustcrypto as xchacha;
use crate::error::BoxError;

/// Encrypts and authenticates bytes with a key, bound to associated data.
///
/// The associated data is not stored: the caller gives the same to [`open`](Self::open) as it gave to
/// [`seal`](Self::seal). The store puts there what says which entry it is, so that a sealed value cannot pass for the
/// value of another key.
///
/// Every value of a store is sealed with the same key, so an implementation must stay secure for about 2^48 random
/// nonces: 96-bit nonces (AES-GCM, ChaCha20-Poly1305) are too short to be chosen at random that often.
pub trait Cipher: Send + Sync + 'static {
    /// Returns the name that the store records. It stands for one algorithm and layout, for ever.
    fn name(&self) -> &str;

    /// Encrypts `buffer[from..]` in place with a fresh nonce. The buffer grows by [`overhead`](Self::overhead) bytes; the
    /// bytes before `from` stay as they are.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes, or the input is too long for the algorithm. `buffer[from..]` is then unspecified.
    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError>;

    /// Decrypts `buffer` in place. Afterwards it holds the plaintext and nothing else.
    ///
    /// # Errors
    ///
    /// When the bytes were not sealed with this key and associated data, or are not what `seal` produces. `buffer` is then
    /// unspecified, but must not hold what was decrypted.
    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Returns how many bytes sealing adds.
    fn overhead(&self) -> usize;
}

/// XChaCha20-Poly1305, named `xchacha20poly1305`, as in
/// [draft-irtf-cfrg-xchacha-03](https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03).
///
/// Its 192-bit nonce is long enough to be random: after 2^80 values the odds of a repeat are about 2^-33. It is fast
/// without hardware support and has no timing leaks. The crate `chacha20poly1305` implements it; with the feature `ring`, the
/// crate `ring` does, which is faster and writes the same bytes.
///
/// A sealed value is the ciphertext, as long as the plaintext, then the tag (16 bytes), then the nonce (24 bytes).
/// With both behind, opening decrypts in place and cuts the end off, where a prefix would have to be moved over.
#[derive(Clone, Copy, Debug, Default)]
pub struct XChaCha20Poly1305;

/// Bytes in a Poly1305 tag (RFC 8439, section 2.5).
pub(super) const TAG: usize = 16;
/// Bytes in an XChaCha20 nonce (draft-irtf-cfrg-xchacha-03, section 2.3).
pub(super) const NONCE: usize = 24;

impl Cipher for XChaCha20Poly1305 {
    fn name(&self) -> &str {
        "xchacha20poly1305"
    }

    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError> {
        let mut nonce = [0; NONCE];
        // The operating system's generator, since one in the process would repeat itself in a forked child.
        getrandom::fill(&mut nonce)?;
        buffer.reserve(TAG + NONCE);
        let plain = buffer.get_mut(from..).ok_or("the start is past the end of the buffer")?;
        let tag = xchacha::seal(key, &nonce, aad, plain)?;
        buffer.extend_from_slice(&tag);
        buffer.extend_from_slice(&nonce);
        Ok(())
    }

    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError> {
        let short = "sealed bytes are shorter than tag and nonce";
        let (sealed, nonce) = buffer.split_last_chunk_mut::<NONCE>().ok_or(short)?;
        if sealed.len() < TAG {
            return Err(short.into());
        }
        xchacha::open(key, nonce, aad, sealed)?;
        let length = sealed.len() - TAG;
        buffer.truncate(length);
        Ok(())
    }

    fn overhead(&self) -> usize {
        TAG + NONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn seal(plain: &[u8], aad: &[u8]) -> Vec<u8> {
        let mut buffer = plain.to_vec();
        XChaCha20Poly1305.seal(&KEY, aad, &mut buffer, 0).unwrap();
        buffer
    }

    #[test]
    fn round_trips() {
        for len in [0, 1, 15, 16, 63, 64, 65, 1000, 100_000] {
            let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut buffer = seal(&plain, b"aad");
            assert_eq!(buffer.len(), plain.len() + XChaCha20Poly1305.overhead());
            XChaCha20Poly1305.open(&KEY, b"aad", &mut buffer).unwrap();
            assert_eq!(buffer, plain);
        }
    }

    #[test]
    fn the_head_is_left_alone() {
        let cipher: Box<dyn Cipher> = Box::new(XChaCha20Poly1305);
        assert_eq!(cipher.name(), "xchacha20poly1305");
        let mut buffer = b"head-secret".to_vec();
        cipher.seal(&KEY, b"", &mut buffer, 5).unwrap();
        assert_eq!(&buffer[..5], b"head-");
        assert_ne!(&buffer[5..11], b"secret");
        let mut sealed = buffer.split_off(5);
        cipher.open(&KEY, b"", &mut sealed).unwrap();
        assert_eq!(sealed, b"secret");

        let mut short = b"ab".to_vec();
        assert!(cipher.seal(&KEY, b"", &mut short, 3).is_err());
        assert_eq!(short, b"ab");
    }

    #[test]
    fn growth_within_the_capacity_does_not_move_the_buffer() {
        let mut buffer = Vec::with_capacity(100 + XChaCha20Poly1305.overhead());
        buffer.resize(100, 1);
        let address = buffer.as_ptr();
        XChaCha20Poly1305.seal(&KEY, b"", &mut buffer, 0).unwrap();
        XChaCha20Poly1305.open(&KEY, b"", &mut buffer).unwrap();
        assert_eq!(buffer.as_ptr(), address);
    }

    #[test]
    fn nonces_differ() {
        let (a, b) = (seal(b"same", b""), seal(b"same", b""));
        assert_ne!(a, b);
        assert_ne!(a[a.len() - NONCE..], b[b.len() - NONCE..]);
    }

    #[test]
    fn any_change_is_noticed() {
        let sealed = seal(b"a secret value", b"aad");
        for i in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[i] ^= 1 << bit;
                let before = changed.clone();
                assert!(XChaCha20Poly1305.open(&KEY, b"aad", &mut changed).is_err(), "byte {i} bit {bit}");
                // What could not be opened is as it was, or zeros in place of what was decrypted.
                let (text, rest) = changed.split_at(sealed.len() - TAG - NONCE);
                assert!(text == [0; 14] || text == &before[..14], "nothing unauthentic is released");
                assert_eq!(rest, &before[14..]);
            }
        }
        for len in 0..sealed.len() {
            assert!(XChaCha20Poly1305.open(&KEY, b"aad", &mut sealed[..len].to_vec()).is_err());
            assert!(
                XChaCha20Poly1305.open(&KEY, b"aad", &mut sealed[sealed.len() - len..].to_vec()).is_err()
            );
        }
        for aad in [&b""[..], b"aa", b"aad ", b"aae"] {
            assert!(XChaCha20Poly1305.open(&KEY, aad, &mut sealed.clone()).is_err());
        }
        assert!(XChaCha20Poly1305.open(&[8; 32], b"aad", &mut sealed.clone()).is_err());
        assert!(XChaCha20Poly1305.open(&KEY, b"aad", &mut sealed.clone()).is_ok());
    }

    #[cfg(feature = "ring")]
    #[test]
    fn what_either_implementation_seals_the_other_opens() {
        use super::super::{xchacha_ring as ring, xchacha_rustcrypto as rustcrypto};

        let nonce: [u8; NONCE] = std::array::from_fn(|i| 3 * i as u8);
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4096, 100_000] {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            for aad in [&b""[..], b"a", &[5; 16], &[6; 61]] {
                let (mut one, mut other) = (plain.clone(), plain.clone());
                let tags = [
                    ring::seal(&KEY, &nonce, aad, &mut one).unwrap(),
                    rustcrypto::seal(&KEY, &nonce, aad, &mut other).unwrap(),
                ];
                assert_eq!((&one, tags[0]), (&other, tags[1]), "{len} bytes, {} beside", aad.len());
                one.extend_from_slice(&tags[0]);
                other.extend_from_slice(&tags[1]);
                rustcrypto::open(&KEY, &nonce, aad, &mut one).unwrap();
                ring::open(&KEY, &nonce, aad, &mut other).unwrap();
                assert!(one[..len] == plain && other[..len] == plain);
            }
        }
    }

    /// The test vector of draft-irtf-cfrg-xchacha-03, appendix A.3.1, in this stage's layout.
    #[test]
    fn known_answer() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
        };
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let mut buffer = hex(concat!(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb",
            "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452",
            "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
            "21f9664c97637da9768812f615c68b13b52e",
            "c0875924c1c7987947deafd8780acf49",
            "404142434445464748494a4b4c4d4e4f5051525354555657",
        ));
        XChaCha20Poly1305.open(&key, &hex("50515253c0c1c2c3c4c5c6c7"), &mut buffer).unwrap();
        assert!(buffer.starts_with(b"Ladies and Gentlemen of the class of '99"));
    }
}
