use std::os::unix::fs::FileExt;

use super::super::tests::{PAGE, Random, Store, file, newest_of};
use super::*;

/// An environment with a deep tree, large entries, and a free tree.
struct Sample {
    image: Vec<u8>,
    meta: MetaBody,
}

impl Sample {
    fn new() -> Sample {
        let store = Store::new();
        store.put((0..600).map(|i| (format!("{i:05}"), vec![0; 900])));
        store.put((0..20).map(|i| (format!("large{i}"), vec![1; 20_000])));
        // More free pages than one page can list, and small entries in place of some.
        store.put((0..500).map(|i| (format!("{i:05}"), vec![1; 20])));
        store.churn(&mut Random(2), 5, 50);
        let image = store.image();
        let meta = newest_of(&image);
        check_trees(&file(&image), &meta).unwrap();
        assert!(meta.main().depth >= 2 && meta.main().overflow_pages > 0 && meta.free().entries > 1);
        Sample { image, meta }
    }

    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_ne_bytes(self.image[at..at + 2].try_into().unwrap()))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.image[at..at + 8].try_into().unwrap())
    }

    /// Where a page's node begins.
    fn node(&self, page: u64, i: usize) -> usize {
        let at = page as usize * PAGE;
        at + self.u16(at + PAGE_HEADER + 2 * i)
    }

    fn children(&self, page: u64) -> Vec<u64> {
        let at = page as usize * PAGE;
        let count = (self.u16(at + 12) - PAGE_HEADER) / 2;
        (0..count).map(|i| self.u64(self.node(page, i)) & 0xFFFF_FFFF_FFFF).collect()
    }

    fn root(&self) -> u64 {
        self.meta.main().root.unwrap()
    }

    /// The leftmost or rightmost leaf.
    fn leaf(&self, right: bool) -> u64 {
        (1..self.meta.main().depth).fold(self.root(), |page, _| {
            let children = self.children(page);
            if right { children[children.len() - 1] } else { children[0] }
        })
    }

    fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Sample {
        self.image[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn set_child(&mut self, page: u64, i: usize, child: u64) -> &mut Sample {
        let at = self.node(page, i);
        self.set(at, &child.to_ne_bytes()[..6])
    }

    fn damage(&self) -> String {
        match check_trees(&file(&self.image), &self.meta) {
            Err(Error::Damaged { detail }) => detail.into_owned(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn cycles_and_shared_pages_are_found() {
    let mut sample = Sample::new();
    let root = sample.root();
    assert!(sample.set_child(root, 1, root).damage().contains("used twice"));

    let mut sample = Sample::new();
    let first = sample.children(root)[0];
    assert!(sample.set_child(root, 1, first).damage().contains("used twice"));

    let mut sample = Sample::new();
    let free_root = sample.meta.free().root.unwrap();
    assert!(sample.set_child(root, 1, free_root).damage().contains("used twice"));
}

#[test]
fn children_outside_the_file_are_found() {
    for child in [0, 1, u64::MAX >> 16, Sample::new().meta.last_page() + 1] {
        let mut sample = Sample::new();
        let root = sample.root();
        let found = sample.set_child(root, 0, child).damage();
        assert!(found.contains("not among"), "{child}: {found}");
    }
}

#[test]
fn a_page_that_is_not_what_its_parent_says_is_found() {
    let leaf = Sample::new().leaf(false) as usize * PAGE;
    for (at, bytes, expected) in [
        (0, &[1, 2, 3][..], "says it is page"),
        (10, &[1], "flags"),
        (10, &[2 | 0x10], "flags"),
        (10, &[4], "flags"),
        (12, &[16, 0], "free space"),
        (12, &[0, 0], "free space"),
        (12, &[255, 255], "free space"),
        (14, &[255, 255], "free space"),
        (0, &[0; PAGE], "says it is page 0"),
    ] {
        let mut sample = Sample::new();
        let found = sample.set(leaf + at, bytes).damage();
        assert!(found.contains(expected), "{at} {bytes:?}: {found}");
    }
}

#[test]
fn nodes_outside_their_page_or_over_each_other_are_found() {
    for offset in [0u16, 16, 4095, 4094, 65534] {
        let mut sample = Sample::new();
        let at = sample.leaf(false) as usize * PAGE + PAGE_HEADER;
        let found = sample.set(at, &offset.to_ne_bytes()).damage();
        assert!(found.contains("within the page"), "{offset}: {found}");
    }
    let mut sample = Sample::new();
    let leaf = sample.leaf(false);
    let (first, second) =
        (leaf as usize * PAGE + PAGE_HEADER, sample.u16(leaf as usize * PAGE + PAGE_HEADER + 2));
    assert!(sample.set(first, &(second as u16).to_ne_bytes()).damage().contains("overlap"));

    for (at, bytes, expected) in [
        (0, &u32::MAX.to_ne_bytes()[..], "within the page"),
        (6, &[255, 255], "within the page"),
        (6, &[0, 0], "key of 0 bytes"),
        (4, &[2, 0], "flags 0x2"),
        (4, &[4, 0], "flags 0x4"),
        (4, &[6, 0], "flags 0x6"),
        (4, &[1, 0], "not among"),
        (8, b"~", "not in order"),
    ] {
        let mut sample = Sample::new();
        let node = sample.node(sample.leaf(false), 0);
        let found = sample.set(node + at, bytes).damage();
        assert!(found.contains(expected), "{at} {bytes:?}: {found}");
    }
}

#[test]
fn swapped_children_are_found_by_their_keys() {
    let mut sample = Sample::new();
    let root = sample.root();
    let children = sample.children(root);
    sample.set_child(root, 0, children[1]).set_child(root, 1, children[0]);
    assert!(sample.damage().contains("order"), "{}", sample.damage());
}

#[test]
fn overflow_runs_that_are_not_whole_are_found() {
    // The rightmost leaf holds the large entries.
    let sample = Sample::new();
    let leaf = sample.leaf(true);
    let node = (0..)
        .map(|i| sample.node(leaf, i))
        .find(|&node| sample.u16(node + 4) == 1 && sample.u16(node) == 20_000)
        .unwrap();
    let data = node + 8 + sample.u16(node + 6);
    let run = sample.u64(data) as usize * PAGE;
    for (at, bytes, expected) in [
        (run, &[1, 2, 3][..], "says it is page"),
        (run + 10, &[2, 0], "with flags"),
        (run + 12, &1u32.to_ne_bytes(), "1 long"),
        (run + 12, &0u32.to_ne_bytes(), "0 long"),
        (run + 12, &u32::MAX.to_ne_bytes(), "not among"),
        (run + 12, &7u32.to_ne_bytes(), "e"),
        (node, &u32::MAX.to_ne_bytes(), "5 long"),
        (data, &1u64.to_ne_bytes(), "not among"),
        (data, &u64::MAX.to_ne_bytes(), "not among"),
        (data, &sample.root().to_ne_bytes(), "used twice"),
    ] {
        let mut sample = Sample::new();
        let found = sample.set(at, bytes).damage();
        assert!(found.contains(expected), "{at} {bytes:?}: {found}");
    }
}

#[test]
fn wrong_free_lists_are_found() {
    let sample = Sample::new();
    let root = sample.meta.free().root.unwrap();
    assert_eq!(sample.meta.free().depth, 1);
    let count = sample.meta.free().entries as usize;
    // A list in its page with two pages at least.
    let node = (0..count)
        .map(|i| sample.node(root, i))
        .find(|&node| sample.u16(node + 4) == 0 && sample.u64(node + 16) > 1)
        .unwrap();
    let (key, len, first) = (node + 8, node + 16, node + 24);
    let (second, last) = (sample.u64(first + 8), sample.meta.last_page());
    for (at, word, expected) in [
        (len, 100_000, "free list of 100000"),
        (len, u64::MAX, "free list of"),
        (first, last + 1, "in a free list"),
        (first, second, "in a free list"),
        (first + 8, 1, "in a free list"),
        (first + 8, sample.root(), "free"),
        (key, 0, "transaction 0"),
        (key, u64::MAX, "freed by transaction"),
    ] {
        let mut sample = Sample::new();
        let found = sample.set(at, &word.to_ne_bytes()).damage();
        assert!(found.contains(expected), "{at} {word}: {found}");
    }
}

#[test]
fn wrong_counts_in_the_meta_page_are_found() {
    let mut sample = Sample::new();
    let mut body = *sample.meta.as_bytes();
    // The entries of the main tree.
    body[72 + 32] ^= 1;
    sample.meta = MetaBody::from_bytes(body);
    assert!(sample.damage().contains("entries"));
}

#[test]
fn random_damage_is_always_judged() {
    let sample = Sample::new();
    let file = file(&sample.image);
    let mut random = Random(4);
    let mut found = 0;
    for _ in 0..1500 {
        let at = 2 * PAGE + random.below(sample.image.len() - 2 * PAGE - 8);
        // Headers and offsets are few among the bytes; most damage should be there.
        let at = if random.below(3) > 0 { at / PAGE * PAGE + random.below(64) } else { at };
        let bytes = random.below(usize::MAX).to_ne_bytes();
        let bytes = &bytes[..1 + random.below(8)];
        file.write_all_at(bytes, at as u64).unwrap();
        found += usize::from(check_trees(&file, &sample.meta).is_err());
        file.write_all_at(&sample.image[at..at + 8], at as u64).unwrap();
    }
    // The rest fell on values, free pages, or bytes between nodes.
    assert!(found > 100, "{found}");
    check_trees(&file, &sample.meta).unwrap();
}

#[test]
fn a_free_list_of_the_snapshot_before_is_noticed() {
    // The record of the tree of free pages, from its flags to its root.
    const FREE: std::ops::Range<usize> = 44..88;
    let store = Store::new();
    store.put((0..600).map(|i| (format!("{i:05}"), vec![0; 900])));
    let mut random = Random(3);
    let mut met = 0;
    for _ in 0..60 {
        store.churn(&mut random, 1, 50);
        let mut image = store.image();
        let meta = newest_of(&image);
        check_free(&file(&image), &meta).unwrap();
        let newest = meta.txn_id() as usize % 2;
        let (now, before) = (newest * PAGE, (1 - newest) * PAGE);
        image.copy_within(before + FREE.start..before + FREE.end, now + FREE.start);
        let mixed = newest_of(&image);
        // What it lists can all be free still.
        if check_trees(&file(&image), &mixed).is_err() {
            met += 1;
            assert!(matches!(check_free(&file(&image), &mixed), Err(Error::Damaged { .. })), "{mixed:?}");
        }
    }
    assert!(met > 40, "{met}");
}
