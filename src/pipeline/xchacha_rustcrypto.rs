//! XChaCha20-Poly1305 by the crate `chacha20poly1305`.

use chacha20poly1305::{AeadInOut, Error, KeyInit, XChaCha20Poly1305};

use super::cipher::{NONCE, TAG};

/// Encrypts in place; the tag.
pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    aad: &[u8],
    plain: &mut [u8],
) -> Result<[u8; TAG], Error> {
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.encrypt_inout_detached(nonce.into(), aad, plain.into()).map(Into::into)
}

/// Decrypts in place what has its tag behind it, or leaves it as it is.
pub(super) fn open(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], sealed: &mut [u8]) -> Result<(), Error> {
    let (text, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Error)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(nonce.into(), aad, text.into(), (&*tag).into())
}
