//! Stages of one's own: a serializer (JSON), a compressor (run lengths) and a cipher under a name of its own.
//!
//! `cargo run --example custom_stage`

use cachemere::{BoxError, Cache, Cipher, Codec, Compressor, Secret, XChaCha20Poly1305};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Values as JSON, which other programs can read.
struct Json;

impl<T: Serialize + DeserializeOwned + Clone> Codec<T> for Json {
    fn name(&self) -> &str {
        "json"
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(out, value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Each run of equal bytes as its length and the byte.
struct RunLengths;

impl Compressor for RunLengths {
    fn name(&self) -> &str {
        "run-lengths"
    }

    fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, BoxError> {
        let start = out.len();
        for run in input.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255)) {
            if let [byte, ..] = run {
                out.extend([run.len() as u8, *byte]);
            }
        }
        Ok(out.len() - start < input.len())
    }

    fn decompress(&self, input: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let (pairs, rest) = input.as_chunks::<2>();
        // What is on the disk can be anything: the lengths are added up before anything is allocated.
        let total: usize = pairs.iter().map(|[length, _]| usize::from(*length)).sum();
        if total != size || !rest.is_empty() {
            return Err("the runs do not add up".into());
        }
        for [length, byte] in pairs {
            out.extend(std::iter::repeat_n(*byte, (*length).into()));
        }
        Ok(())
    }
}

/// The built-in cipher with its key bound to a purpose.
struct PurposeBound;

impl PurposeBound {
    fn key(key: &[u8; 32]) -> [u8; 32] {
        blake3::derive_key("example.org 2025 cached answers", key)
    }
}

impl Cipher for PurposeBound {
    fn name(&self) -> &str {
        "example.org/purpose-bound"
    }

    fn seal(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), BoxError> {
        XChaCha20Poly1305.seal(&Self::key(key), aad, buffer, from)
    }

    fn open(&self, key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), BoxError> {
        XChaCha20Poly1305.open(&Self::key(key), aad, buffer)
    }

    fn overhead(&self) -> usize {
        XChaCha20Poly1305.overhead()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    text: String,
    score: f64,
}

/// Writes a value through all three, and reads it back after a reopen.
pub fn main() -> Result<(), BoxError> {
    let dir = tempfile::tempdir()?;
    let open = || {
        Cache::<str, Answer>::builder(dir.path().join("answers"))
            .serializer(Json)
            .compression(RunLengths)
            .cipher(PurposeBound)
            .encryption(Secret::key([7; 32]))
            .open()
    };
    let cache = open()?;
    let answer = Answer { text: "=".repeat(10_000), score: 0.5 };
    cache.insert("a line", &answer)?;
    assert!(cache.info("a line")?.is_some_and(|info| info.stored_size < 400));
    cache.close()?;

    assert_eq!(open()?.get("a line")?, Some(answer));

    // Without the stages it was made with the store does not open.
    let other =
        Cache::<str, Answer>::builder(dir.path().join("answers")).encryption(Secret::key([7; 32])).open();
    assert!(other.is_err_and(|error| error.is_incompatible()));
    Ok(())
}
