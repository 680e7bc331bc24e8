//! Going through records that were changed since: those below, and in their place what was made of them.

use std::cmp::Ordering;

use crate::error::Result;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// Two sequences in the order of their keys, merged. Where both have a key, the change stands; a removed record is left out.
pub(crate) struct Merged<'t, B, C> {
    below: B,
    changes: C,
    next_below: Option<(&'t [u8], &'t [u8])>,
    next_change: Option<(&'t [u8], Option<&'t [u8]>)>,
    direction: Direction,
    begun: bool,
    left_out: usize,
}

impl<'t, B, C> Merged<'t, B, C>
where
    B: Iterator<Item = Result<(&'t [u8], &'t [u8])>>,
    C: Iterator<Item = (&'t [u8], Option<&'t [u8]>)>,
{
    pub(crate) fn new(below: B, changes: C, direction: Direction) -> Self {
        Merged { below, changes, next_below: None, next_change: None, direction, begun: false, left_out: 0 }
    }

    /// Removed records that were passed by so far.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }
}

impl<'t, B, C> Iterator for Merged<'t, B, C>
where
    B: Iterator<Item = Result<(&'t [u8], &'t [u8])>>,
    C: Iterator<Item = (&'t [u8], Option<&'t [u8]>)>,
{
    type Item = Result<(&'t [u8], &'t [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.begun {
            self.begun = true;
            self.next_change = self.changes.next();
        }
        loop {
            if self.next_below.is_none() {
                match self.below.next().transpose() {
                    Ok(below) => self.next_below = below,
                    Err(error) => return Some(Err(error)),
                }
            }
            let Some((changed, value)) = self.next_change else {
                return self.next_below.take().map(Ok);
            };
            let order = match (self.next_below, self.direction) {
                (None, _) => Ordering::Greater,
                (Some((below, _)), Direction::Up) => below.cmp(changed),
                (Some((below, _)), Direction::Down) => changed.cmp(below),
            };
            if order == Ordering::Less {
                return self.next_below.take().map(Ok);
            }
            if order == Ordering::Equal {
                self.next_below = None;
            }
            self.next_change = self.changes.next();
            if let Some(value) = value {
                return Some(Ok((changed, value)));
            }
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_stand_in_the_place_of_what_they_change_in_both_directions() {
        let below = [(&b"b"[..], &b"1"[..]), (b"c", b"1"), (b"e", b"1")];
        let changes = [
            (&b"a"[..], Some(&b"2"[..])),
            (b"b", None),
            (b"c", Some(b"2")),
            (b"d", None),
            (b"f", Some(b"2")),
        ];
        let up: Vec<_> = Merged::new(below.into_iter().map(Ok), changes.into_iter(), Direction::Up)
            .map(|record| record.unwrap())
            .collect();
        let expected = [(&b"a"[..], &b"2"[..]), (b"c", b"2"), (b"e", b"1"), (b"f", b"2")];
        assert_eq!(up, expected);
        let mut down: Vec<_> =
            Merged::new(below.into_iter().rev().map(Ok), changes.into_iter().rev(), Direction::Down)
                .map(|record| record.unwrap())
                .collect();
        down.reverse();
        assert_eq!(down, expected);
    }
}
