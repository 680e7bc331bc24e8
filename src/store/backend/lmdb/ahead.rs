//! The next segment, mapped and touched before it is needed: else each write pays for the first touch of its page.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::control::Control;
use super::map::{Map, Mode};
use super::{Lmdb, segment_file};
use crate::error::{Error, Result};
use crate::sync::lock;

/// The segment that this process has mapped ahead, with its number.
#[derive(Default)]
pub(super) struct Ahead(Mutex<Option<(u32, Map)>>);

impl Ahead {
    /// The mapping of a segment, if it is this one.
    pub(super) fn take(&self, number: u32) -> Option<Map> {
        lock(&self.0).take_if(|(ahead, _)| *ahead == number).map(|(_, map)| map)
    }

    pub(super) fn set(&self, number: u32, map: Map) {
        *lock(&self.0) = Some((number, map));
    }

    pub(super) fn clear(&self) {
        *lock(&self.0) = None;
    }

    fn is(&self, number: u32) -> bool {
        lock(&self.0).as_ref().is_some_and(|(ahead, _)| *ahead == number)
    }
}

impl Lmdb {
    /// Makes the next segment ahead if the present one is half full, and has it ready in this process's memory, whoever
    /// made it.
    pub(super) fn prepare_segment(&self, control: &Control) -> Result<()> {
        match control.prepared().load(Ordering::Acquire) {
            0 => self.make_segment_ahead(control),
            number if self.ahead.is(number) => Ok(()),
            number => match segment_file::map(&self.dir, number, Mode::Shared) {
                Ok(Some(map)) => {
                    map.touch(0, map.len());
                    self.ahead.set(number, map);
                    Ok(())
                }
                // It has been taken, and has gone again, meanwhile.
                Ok(None) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }

    fn make_segment_ahead(&self, control: &Control) -> Result<()> {
        let segments = self.segments.load();
        let tail = control.tail();
        let number = control.open_segment().load(Ordering::Acquire);
        let half_full = segments.newest().is_some_and(|segment| {
            segment.number == number && tail.segment == number && segment.is_half_full(tail.offset)
        });
        if !half_full {
            return Ok(());
        }
        let shape = self.next_shape(control);
        if control.full().load(Ordering::Relaxed) != 0 || !segment_file::is_affordable(&self.dir, shape.size)
        {
            return Ok(());
        }
        let number = control.next_number().fetch_add(1, Ordering::SeqCst);
        let file = segment_file::create(&self.dir, number, shape.size)?;
        let map = Map::new(&file, shape.size as usize, Mode::Shared)?;
        map.touch(0, map.len());
        self.ahead.set(number, map);
        super::fault::point("a segment is made ahead");
        let kept = control.prepared().compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed);
        match kept {
            Ok(_) => Ok(()),
            Err(_) => {
                self.ahead.clear();
                segment_file::remove(&self.dir, number)
            }
        }
    }

    /// Removes the segment that was made ahead.
    pub(super) fn drop_prepared(&self, control: &Control) -> Result<()> {
        self.ahead.clear();
        match control.prepared().swap(0, Ordering::AcqRel) {
            0 => Ok(()),
            number => segment_file::remove(&self.dir, number),
        }
    }
}
