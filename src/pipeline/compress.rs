//! The compressor stage: fewer bytes, when that pays.

use crate::error::{BoxError, Error, Result};
use crate::pipeline::MAX_ENTRY;

/// Compresses bytes, and decompresses them again.
///
/// `decompress` sees whatever is on the disk, unless the store is encrypted: it must fail, not panic, on bytes that
/// `compress` never wrote, and never produce more than it is asked for.
pub trait Compressor: Send + Sync + 'static {
    /// Returns the name that the store records. It stands for one format, for ever.
    fn name(&self) -> &str;

    /// Appends the compressed form of `input` to `out` and returns `true`. Returns `false` if compressing does not pay: then
    /// `input` is stored as it is, and what was appended is dropped.
    ///
    /// # Errors
    ///
    /// When `input` cannot be compressed. The write then fails as well.
    fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, BoxError>;

    /// Decompresses `input` to `size` bytes and appends them to `out`.
    ///
    /// # Errors
    ///
    /// When `input` is not what `compress` made of `size` bytes. An implementation must not produce more than `size` bytes to
    /// find that out: a few kilobytes can decompress to terabytes.
    fn decompress(&self, input: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// Bytes in front of a compressed payload: its raw length, little endian.
const PREFIX: usize = 4;

/// Appends the raw length (4 bytes, little endian) and the compressed `input` to `out` and returns `true`. Returns `false` and
/// leaves `out` as it was if compressing does not pay.
pub(crate) fn pack(c: &dyn Compressor, input: &[u8], out: &mut Vec<u8>) -> Result<bool> {
    let size = match u32::try_from(input.len()) {
        Ok(size) if u64::from(size) <= MAX_ENTRY => size,
        // `unpack` would refuse it. Whether so large an entry may be stored at all is not decided here.
        _ => return Ok(false),
    };
    let start = out.len();
    out.extend_from_slice(&size.to_le_bytes());
    let result = c.compress(input, out);
    let added = out.len().saturating_sub(start);
    // A compressor of the program's own may find that it pays when the length in front eats up the gain.
    if let Ok(true) = result
        && added < input.len()
    {
        return Ok(true);
    }
    out.truncate(start);
    result.map(|_| false).map_err(|source| Error::Stage { stage: c.name().to_owned(), source })
}

/// Appends to `out` the bytes that `packed`, made by [`pack`], stands for.
///
/// A raw length over [`MAX_ENTRY`], and whatever the compressor refuses, is [`Error::Damaged`], with `out` as it was.
pub(crate) fn unpack(c: &dyn Compressor, packed: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Some((prefix, payload)) = packed.split_first_chunk::<PREFIX>() else {
        return Err(Error::damaged("a compressed entry is shorter than its length field"));
    };
    let size = u32::from_le_bytes(*prefix);
    if u64::from(size) > MAX_ENTRY {
        return Err(Error::damaged(format!("a compressed entry claims {size} bytes")));
    }
    let size = size as usize;
    let start = out.len();
    let result = c.decompress(payload, size, out).map_err(|e| Error::damaged(format!("{}: {e}", c.name())));
    if result.is_ok() && out.len().checked_sub(start) == Some(size) {
        return Ok(());
    }
    out.truncate(start);
    result.and(Err(Error::damaged(format!("{}: not the {size} bytes it should be", c.name()))))
}

#[cfg(feature = "zstd")]
pub use self::zstandard::Zstd;

#[cfg(feature = "zstd")]
mod zstandard {
    use std::cell::Cell;
    use std::thread::LocalKey;

    use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
    use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

    use super::Compressor;
    use crate::error::{BoxError, Error, Result};

    /// Zstandard ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)), named `zstd`. The default compressor.
    ///
    /// It pays for itself when it saves a sixteenth of the bytes; values under 128 bytes, and those that shrink less,
    /// are stored as they are. The level is only about writing: entries of any level are read alike.
    ///
    /// Each thread keeps its working memory for the next value: about 100 KiB for reading, and for writing up to
    /// 1.3 MiB at the default level. What the high levels need beyond 8 MiB is given back after each value.
    #[derive(Clone, Copy, Debug)]
    pub struct Zstd {
        level: i32,
    }

    impl Zstd {
        /// Returns a compressor of this `level`, from -131072 (fastest) to 22 (smallest). 0 is zstd's own default, 3.
        ///
        /// # Errors
        ///
        /// [`Error::Invalid`] for a level outside that range.
        pub fn new(level: i32) -> Result<Zstd> {
            let range = zstd::compression_level_range();
            if !range.contains(&level) {
                let reason = format!("{level} is not within {} to {}", range.start(), range.end());
                return Err(Error::invalid("compression level", reason));
            }
            Ok(Zstd { level })
        }
    }

    impl Default for Zstd {
        /// Returns a compressor of level 3.
        fn default() -> Zstd {
            Zstd { level: zstd::DEFAULT_COMPRESSION_LEVEL }
        }
    }

    /// Inputs under this many bytes are not tried. A frame costs about 12 bytes of headers, the raw length in front of
    /// it 4, and entropy tables more than so little data repays; the store also rounds entries up, so that the few
    /// bytes saved would rarely free anything.
    const MIN_INPUT: usize = 128;

    /// A context that has grown over this many bytes is not kept: at level 22 it takes over 600 MiB, for each thread.
    const MAX_KEPT: usize = 8 << 20;

    thread_local! {
        // A `Cell` to take from and put back into: nothing is borrowed while zstd runs, so there is nothing to panic
        // about if a call should ever find itself inside another; it would make a context of its own.
        static COMPRESS: Cell<Option<CCtx<'static>>> = const { Cell::new(None) };
        static DECOMPRESS: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
    }

    /// This thread's context, if it is there. It is not while the thread is being torn down.
    fn take<C>(slot: &'static LocalKey<Cell<Option<C>>>) -> Option<C> {
        slot.try_with(Cell::take).ok().flatten()
    }

    fn put<C>(slot: &'static LocalKey<Cell<Option<C>>>, context: C) {
        // When the thread is being torn down, the context is dropped with the closure.
        let _ = slot.try_with(|slot| slot.set(Some(context)));
    }

    fn error(code: usize) -> BoxError {
        zstd_safe::get_error_name(code).into()
    }

    /// Makes room for `more` bytes, without aborting the process when there is none.
    fn grow(out: &mut Vec<u8>, more: usize) -> Result<usize, BoxError> {
        let start = out.len();
        out.try_reserve_exact(more)?;
        out.resize(start + more, 0);
        Ok(start)
    }

    impl Compressor for Zstd {
        fn name(&self) -> &str {
            "zstd"
        }

        fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, BoxError> {
            if input.len() < MIN_INPUT {
                return Ok(false);
            }
            // Giving zstd only the room that would pay lets it stop early, and saves the allocation of its worst case.
            let start = grow(out, input.len() - input.len() / 16)?;
            let mut context = match take(&COMPRESS) {
                Some(context) => context,
                None => CCtx::try_create().ok_or("no memory for a zstd context")?,
            };
            // Set each time: other values of this type, with other levels, share the context.
            let result = context
                .set_parameter(CParameter::CompressionLevel(self.level))
                .and_then(|_| context.compress2(out.get_mut(start..).unwrap_or_default(), input));
            if context.sizeof() <= MAX_KEPT {
                put(&COMPRESS, context);
            }
            match result {
                Ok(written) => {
                    out.truncate(start + written);
                    Ok(true)
                }
                Err(code) => {
                    out.truncate(start);
                    // zstd returns its error codes negated (`ERROR()` in its error_private.h).
                    if code == (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg() {
                        Ok(false)
                    } else {
                        Err(error(code))
                    }
                }
            }
        }

        fn decompress(&self, input: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
            // All of this before any memory is asked for. `compress` always records the size in the frame.
            if zstd_safe::find_frame_compressed_size(input).map_err(error)? != input.len() {
                return Err("not exactly one frame".into());
            }
            let claimed = zstd_safe::get_frame_content_size(input).map_err(|_| "no frame header")?;
            if claimed != Some(size as u64) {
                return Err(format!("the frame is for {claimed:?} bytes, not {size}").into());
            }
            // A block yields at most 128 KiB (RFC 8878, section 3.1.1.2.4), and takes 3 bytes of header and at least
            // one of content, if it yields anything.
            if size > (input.len() / 4).saturating_mul(128 << 10) {
                return Err(format!("{} bytes cannot make {size}", input.len()).into());
            }
            let start = grow(out, size)?;
            let mut context = match take(&DECOMPRESS) {
                Some(context) => context,
                None => DCtx::try_create().ok_or("no memory for a zstd context")?,
            };
            let result = context.decompress(out.get_mut(start..).unwrap_or_default(), input);
            put(&DECOMPRESS, context);
            match result {
                Ok(written) if written == size => Ok(()),
                Ok(written) => {
                    out.truncate(start);
                    Err(format!("{written} bytes instead of {size}").into())
                }
                Err(code) => {
                    out.truncate(start);
                    Err(error(code))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decompress = fn(&[u8], usize, &mut Vec<u8>) -> Result<(), BoxError>;

    /// Does what the test says.
    struct Fake {
        compress: fn(&[u8], &mut Vec<u8>) -> Result<bool, BoxError>,
        decompress: Decompress,
    }

    impl Compressor for Fake {
        fn name(&self) -> &str {
            "fake"
        }

        fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, BoxError> {
            (self.compress)(input, out)
        }

        fn decompress(&self, input: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), BoxError> {
            (self.decompress)(input, size, out)
        }
    }

    const NEVER: Fake = Fake {
        compress: |_, out| {
            out.extend_from_slice(b"rubbish");
            Ok(false)
        },
        decompress: |_, _, out| {
            out.extend_from_slice(b"rubbish");
            Err("boom".into())
        },
    };

    #[test]
    fn a_stage_that_gives_up_leaves_no_trace() {
        let mut out = b"kept".to_vec();
        assert!(!pack(&NEVER, &[0; 1000], &mut out).unwrap());
        assert_eq!(out, b"kept");

        let failing = Fake {
            compress: |_, out| {
                out.extend_from_slice(b"rubbish");
                Err("boom".into())
            },
            ..NEVER
        };
        let error = pack(&failing, &[0; 1000], &mut out).unwrap_err();
        assert!(matches!(&error, Error::Stage { stage, .. } if stage == "fake"), "{error:?}");
        assert_eq!(out, b"kept");

        let error = unpack(&NEVER, &[7, 0, 0, 0, 1, 2], &mut out).unwrap_err();
        assert!(error.is_damaged() && error.to_string().contains("fake: boom"), "{error}");
        assert_eq!(out, b"kept");
    }

    #[test]
    fn what_grows_is_stored_as_it_is() {
        let copy = Fake {
            compress: |input, out| {
                out.extend_from_slice(input.get(3..).unwrap_or_default());
                Ok(true)
            },
            ..NEVER
        };
        let mut out = b"kept".to_vec();
        assert!(!pack(&copy, &[5; 100], &mut out).unwrap());
        assert!(!pack(&copy, &[], &mut out).unwrap());
        assert_eq!(out, b"kept");
    }

    #[test]
    fn unpack_refuses_wrong_sizes() {
        let ten = Fake {
            decompress: |_, _, out| {
                out.extend_from_slice(&[1; 10]);
                Ok(())
            },
            ..NEVER
        };
        let mut out = b"kept".to_vec();
        for size in [0u32, 9, 11] {
            assert!(unpack(&ten, &size.to_le_bytes(), &mut out).unwrap_err().is_damaged());
            assert_eq!(out, b"kept");
        }
        unpack(&ten, &10u32.to_le_bytes(), &mut out).unwrap();
        assert_eq!(out.len(), 14);

        let unreached = Fake { decompress: |_, _, _| panic!("must not be asked"), ..NEVER };
        for size in [MAX_ENTRY as u32 + 1, u32::MAX] {
            assert!(unpack(&unreached, &size.to_le_bytes(), &mut out).unwrap_err().is_damaged());
        }
        for len in 0..4 {
            assert!(unpack(&unreached, &[0; 4][..len], &mut out).unwrap_err().is_damaged());
        }
    }

    #[cfg(feature = "zstd")]
    mod zstandard {
        use super::*;
        use crate::pipeline::Zstd;

        fn text(len: usize) -> Vec<u8> {
            b"some quite compressible text, ".iter().copied().cycle().take(len).collect()
        }

        fn noise(len: usize) -> Vec<u8> {
            let mut bytes = vec![0; len];
            getrandom::fill(&mut bytes).unwrap();
            bytes
        }

        #[test]
        fn round_trips() {
            for level in [-5, 0, 1, 3, 19] {
                let zstd = Zstd::new(level).unwrap();
                for len in [128, 1000, 128 << 10, (128 << 10) + 1, 1 << 20] {
                    let input: Vec<u8> = text(len / 2).into_iter().chain(vec![0; len - len / 2]).collect();
                    let mut packed = b"head".to_vec();
                    assert!(pack(&zstd, &input, &mut packed).unwrap(), "level {level} len {len}");
                    assert!(packed.len() - 4 < input.len());
                    assert_eq!(packed[4..8], (len as u32).to_le_bytes());
                    let mut out = b"before".to_vec();
                    unpack(&Zstd::default(), &packed[4..], &mut out).unwrap();
                    assert_eq!(&out[..6], b"before");
                    assert!(out[6..] == input);
                }
            }
        }

        #[test]
        fn what_does_not_pay_is_left() {
            let mut out = b"kept".to_vec();
            for input in [vec![], text(127), noise(128), noise(1 << 20)] {
                assert!(!pack(&Zstd::default(), &input, &mut out).unwrap());
                assert_eq!(out, b"kept");
            }
            // Saves about a twentieth: less than the sixteenth that is asked for.
            let input: Vec<u8> = noise(95_000).into_iter().chain(vec![0; 5_000]).collect();
            assert!(!pack(&Zstd::default(), &input, &mut out).unwrap());
            let input: Vec<u8> = noise(90_000).into_iter().chain(vec![0; 10_000]).collect();
            assert!(pack(&Zstd::default(), &input, &mut out).unwrap());
            assert_eq!(Zstd::default().name(), "zstd");
        }

        #[test]
        fn levels_outside_the_range_are_invalid() {
            for level in [23, i32::MAX, -131_073, i32::MIN] {
                assert!(Zstd::new(level).unwrap_err().is_invalid());
            }
            for level in [22, -131_072] {
                // The fastest level finds next to nothing here, but must not fail.
                let mut packed = Vec::new();
                if pack(&Zstd::new(level).unwrap(), &text(1000), &mut packed).unwrap() {
                    let mut out = Vec::new();
                    unpack(&Zstd::default(), &packed, &mut out).unwrap();
                    assert_eq!(out, text(1000));
                }
            }
        }

        #[test]
        fn every_other_size_is_refused() {
            let input = text(5000);
            let mut compressed = Vec::new();
            assert!(Zstd::default().compress(&input, &mut compressed).unwrap());
            for size in [0, 1, 4999, 5001, 1 << 30] {
                let mut out = Vec::new();
                assert!(Zstd::default().decompress(&compressed, size, &mut out).is_err());
                assert_eq!(out.capacity(), 0, "nothing was allocated for {size}");
            }
            for len in 0..compressed.len() {
                assert!(Zstd::default().decompress(&compressed[..len], 5000, &mut Vec::new()).is_err());
            }
            let twice = [compressed.clone(), compressed.clone()].concat();
            assert!(Zstd::default().decompress(&twice, 10_000, &mut Vec::new()).is_err());
            assert!(Zstd::default().decompress(&twice, 5000, &mut Vec::new()).is_err());
            // The thread's context survives all of that.
            let mut out = Vec::new();
            Zstd::default().decompress(&compressed, 5000, &mut out).unwrap();
            assert_eq!(out, input);
        }

        /// A frame of `blocks` run-length blocks of 128 KiB each that claims `claimed` bytes (RFC 8878, section 3.1.1).
        fn bomb(claimed: u64, blocks: usize) -> Vec<u8> {
            let mut frame = 0xfd2f_b528u32.to_le_bytes().to_vec();
            // An 8-byte content size, no checksum, no dictionary; then a window of 128 KiB: 2^(10 + 7).
            frame.extend_from_slice(&[0b1100_0000, 7 << 3]);
            frame.extend_from_slice(&claimed.to_le_bytes());
            for i in 1..=blocks {
                let header: u32 = (128 << 10) << 3 | 1 << 1 | u32::from(i == blocks);
                frame.extend_from_slice(&header.to_le_bytes()[..3]);
                frame.push(b'x');
            }
            frame
        }

        #[test]
        fn bombs_do_not_go_off() {
            // To make sure that the frames are sound otherwise.
            let mut out = Vec::new();
            Zstd::default().decompress(&bomb(1 << 20, 8), 1 << 20, &mut out).unwrap();
            assert!(out.len() == 1 << 20 && out.iter().all(|&b| b == b'x'));

            for (claimed, blocks, size) in [
                // Expands to 1 GiB, says so, and is declared as 100 bytes.
                (1 << 30, 8192, 100),
                // The same with a lie in the header: zstd has no more than 100 bytes of room.
                (100, 8192, 100),
                (1 << 60, 1, 100),
                (1 << 60, 1, 1 << 30),
                // Header and declaration agree on what the few bytes cannot be.
                (1 << 30, 1, 1 << 30),
                // Blocks for less than was claimed.
                (1 << 20, 7, 1 << 20),
            ] {
                let mut out = Vec::new();
                assert!(Zstd::default().decompress(&bomb(claimed, blocks), size, &mut out).is_err());
                assert!(out.is_empty());
                assert!(out.capacity() <= size.min(2 << 20), "{claimed} {blocks} {size}");
            }
        }

        #[test]
        fn damage_does_not_panic() {
            let input = [text(3000), noise(200)].concat();
            let mut packed = Vec::new();
            assert!(pack(&Zstd::default(), &input, &mut packed).unwrap());
            for i in 0..packed.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut changed = packed.clone();
                    changed[i] ^= flip;
                    let mut out = Vec::new();
                    match unpack(&Zstd::default(), &changed, &mut out) {
                        // Frames carry no checksum: the store has its own.
                        Ok(()) => assert_eq!(out.len(), input.len()),
                        Err(error) => assert!(error.is_damaged() && out.is_empty()),
                    }
                }
            }
        }

        #[test]
        fn works_while_the_thread_ends() {
            thread_local!(static LATE: Late = const { Late });
            struct Late;
            impl Drop for Late {
                fn drop(&mut self) {
                    let mut packed = Vec::new();
                    assert!(pack(&Zstd::default(), &text(1000), &mut packed).unwrap());
                    let mut out = Vec::new();
                    unpack(&Zstd::default(), &packed, &mut out).unwrap();
                    assert_eq!(out, text(1000));
                }
            }
            for late_first in [true, false] {
                std::thread::spawn(move || {
                    if late_first {
                        LATE.with(|_| ());
                    }
                    assert!(pack(&Zstd::default(), &text(1000), &mut Vec::new()).unwrap());
                    LATE.with(|_| ());
                })
                .join()
                .unwrap();
            }
        }
    }
}
