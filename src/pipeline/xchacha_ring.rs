//! XChaCha20-Poly1305 by `ring`, which has ChaCha20-Poly1305: HChaCha20 derives its key and nonce for each value, as
//! section 2.3 of the draft says.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use zeroize::Zeroizing;

use super::cipher::{NONCE, TAG};

/// Encrypts in place; the tag.
pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    aad: &[u8],
    plain: &mut [u8],
) -> Result<[u8; TAG], Unspecified> {
    let (key, short) = derive(key, nonce)?;
    let tag = key.seal_in_place_separate_tag(short, Aad::from(aad), plain)?;
    tag.as_ref().try_into().map_err(|_| Unspecified)
}

/// Decrypts in place what has its tag behind it, or leaves no plaintext there.
pub(super) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    aad: &[u8],
    sealed: &mut [u8],
) -> Result<(), Unspecified> {
    let (key, short) = derive(key, nonce)?;
    key.open_in_place(short, Aad::from(aad), sealed).map(drop)
}

fn derive(key: &[u8; 32], nonce: &[u8; NONCE]) -> Result<(LessSafeKey, Nonce), Unspecified> {
    let (first, last) = nonce.split_first_chunk::<16>().ok_or(Unspecified)?;
    let derived = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(key.into(), first.into())));
    let mut short = [0; 12];
    short[4..].copy_from_slice(last);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*derived)?;
    Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key(short)))
}
