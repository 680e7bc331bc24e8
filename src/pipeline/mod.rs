//! The stages a value passes on its way to the disk: serializer, compressor, cipher.
//!
//! ```text
//! value --Codec--> bytes --Compressor--> fewer bytes --Cipher--> sealed bytes --> the entry in the store
//! ```
//!
//! Reading runs the same stages backwards. The order is fixed: ciphertext does not compress, and sealing last means
//! that nothing is decompressed or deserialized before it is known to be authentic.
//!
//! Each stage is a trait, so a program can bring its own. A stage has a name, which the store records: an entry is
//! only ever read with the stages it was written with, and a store that names a stage the program lacks does not open.
//! A name therefore stands for one format for ever; a stage whose output changes incompatibly needs a new name.
//!
//! Stages write to buffers that the caller owns and can reuse.

mod canonical;
mod cipher;
mod codec;
mod compress;
pub(crate) mod shape;
mod watched;
#[cfg(feature = "ring")]
mod xchacha_ring;
#[cfg(any(test, not(feature = "ring")))]
mod xchacha_rustcrypto;

pub use cipher::{Cipher, XChaCha20Poly1305};
#[cfg(feature = "macros")]
pub(crate) use codec::canonical_parts;
pub use codec::{BorrowedKey, Codec, MessagePack};
pub use compress::Compressor;
#[cfg(feature = "zstd")]
pub use compress::Zstd;
pub(crate) use compress::{pack, unpack};

/// The most bytes an entry may have at any point of the pipeline: 1 GiB.
///
/// It bounds what a damaged or hostile length field can make this process allocate.
pub(crate) const MAX_ENTRY: u64 = 1 << 30;
