//! What can still be read of a data file that is damaged: all records that its pages have, without LMDB.
//!
//! The tree is walked from the newest snapshot that can be told. What is wrong in a page costs what lies there, and the
//! others are gone on with. Pages that are not come to, because what led to them is damaged, are looked for among all: those
//! that the snapshot does not list as free are of it. Those of earlier snapshots are shown, too: of some records an earlier one
//! is better than none.
//!
//! Nothing is believed here but that: whether a record is what was written is for its reader to say.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use super::page_set::PageSet;
use super::{
    BIG_DATA, BRANCH, DATA_VERSION, INTEGER_KEY, LEAF, MAGIC, MAX_DEPTH, MAX_KEY, META_FLAG, META_PAGES,
    MetaPage, NODE_HEADER, OVERFLOW, PAGE_HEADER, PageHeader, STRANGE_TREE, WORD, bytes_at,
    default_page_size, file_len, plausible_page_size, read_meta_pages, read_up_to,
};
use crate::error::{Error, Result};

/// More than any entry has. A damaged size must not make us allocate.
const MOST_BYTES: u64 = 1 << 31;

/// How a record came to be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// It is of the newest snapshot.
    Current,
    /// It can be of an earlier one: it was overwritten or removed since, or it was not.
    Unsure,
    /// It is of an earlier one.
    Old,
}

/// Who takes what is found.
pub(crate) trait Finder {
    /// A record. Its value can be cut off.
    fn record(&mut self, key: &[u8], value: &[u8], origin: Origin) -> Result<()>;

    /// Something that is wrong.
    fn problem(&mut self, text: String);
}

/// Gives a finder all records of the file.
///
/// # Errors
///
/// Those of the finder, and of the system. Damage is none.
pub(crate) fn find_records(file: &File, finder: &mut dyn Finder) -> Result<()> {
    let len = file_len(file)?;
    let metas = read_meta_pages(file)?;
    let page_size =
        metas.iter().find_map(|meta| plausible_page_size(&meta.body)).unwrap_or_else(default_page_size);
    let pages = len.div_ceil(u64::from(page_size));
    let mut search = Search {
        file,
        page_size: page_size as usize,
        pages,
        used: PageSet::below(pages),
        problems: 0,
        finder,
    };
    let roots = search.newest(&metas)?;
    match roots {
        Some(roots) => {
            if let Some((page, depth)) = roots.main {
                search.walk(page, Some(depth), Origin::Current)?;
            }
            if search.problems == 0 {
                return search.scan(|_| Origin::Old);
            }
            let free = match roots.free {
                Some((page, depth)) => search.free_pages(page, depth)?,
                None => Some(HashSet::new()),
            };
            if free.is_none() {
                search.problem("the list of free pages is damaged, too".into());
            }
            search.scan(|page| match &free {
                Some(free) if free.contains(&page) => Origin::Old,
                Some(_) => Origin::Current,
                None => Origin::Unsure,
            })
        }
        None => {
            search.problem("no meta page says where the records are".into());
            if let Some(root) = search.find_root()? {
                search.walk(root, None, Origin::Current)?;
            }
            search.scan(|_| Origin::Unsure)
        }
    }
}

/// Where the trees of a snapshot begin, and how many levels they have.
#[derive(Clone, Copy)]
struct Roots {
    main: Option<(u64, u16)>,
    free: Option<(u64, u16)>,
}

struct Visit {
    page: u64,
    /// How many levels there are from here on; `None`: as the page says.
    levels: Option<u16>,
    floor: Vec<u8>,
    ceiling: Option<Vec<u8>>,
}

struct Node<'a> {
    key: &'a [u8],
    flags: u16,
    size: u32,
    child: u64,
    data: &'a [u8],
}

struct Search<'a> {
    file: &'a File,
    page_size: usize,
    pages: u64,
    used: PageSet,
    problems: u64,
    finder: &'a mut dyn Finder,
}

impl Search<'_> {
    fn problem(&mut self, text: String) {
        self.problems += 1;
        self.finder.problem(text);
    }

    /// The trees of the newest snapshot: of the meta pages, be they damaged in other places, the one whose tree has come
    /// further in the log, and then the one of the later transaction.
    fn newest(&mut self, metas: &[MetaPage; 2]) -> Result<Option<Roots>> {
        let mut found = Vec::new();
        // Then nothing else is asked, for what tells the place in the log may be what is damaged.
        let [first, second] = metas;
        let are_in_order = super::newest(&first.body, &second.body).is_ok()
            && (first.body.txn_id(), second.body.txn_id()) != (0, 0);
        let mut are_sound = true;
        for (number, meta) in (0..).zip(metas) {
            let header = PageHeader::parse(&meta.header);
            let is_sound = meta.body.magic() == MAGIC
                && meta.body.version() == DATA_VERSION
                && header.is_some_and(|header| header.number == number && header.flags == META_FLAG);
            if !is_sound {
                are_sound = false;
                self.problem(format!("meta page {number} is damaged"));
            }
            let (main, free) = (meta.body.main(), meta.body.free());
            if main.flags & (STRANGE_TREE | INTEGER_KEY) != 0 {
                continue;
            }
            let at = |db: super::Db| db.root.map(|root| (root, db.depth));
            let is_empty = main.root.is_none() && is_sound && main.entries == 0;
            let Some((root, depth)) = at(main) else {
                if is_empty {
                    found.push(((0, is_sound, meta.body.txn_id()), Roots { main: None, free: at(free) }));
                }
                continue;
            };
            if !(META_PAGES..self.pages.max(META_PAGES)).contains(&root) || depth == 0 || depth > MAX_DEPTH {
                // The file was cut off before it, perhaps; then the free list may still tell what is of the snapshot.
                if is_sound {
                    found.push(((0, is_sound, meta.body.txn_id()), Roots { main: at(main), free: at(free) }));
                }
                continue;
            }
            let fold = self.fold_at(root)?;
            found.push((
                (fold.unwrap_or(0), is_sound, meta.body.txn_id()),
                Roots { main: at(main), free: at(free) },
            ));
        }
        if are_sound && !are_in_order {
            self.problem("the meta pages are not of transactions that follow each other".into());
        }
        let rank = |(fold, is_sound, txn): (u64, bool, u64)| match are_sound && are_in_order {
            true => (0, is_sound, txn),
            false => (fold, is_sound, txn),
        };
        Ok(found.into_iter().max_by_key(|(facts, _)| rank(*facts)).map(|(_, roots)| roots))
    }

    /// The place in the log that the tree under a root has come to, as one number.
    fn fold_at(&self, root: u64) -> Result<Option<u64>> {
        let Some(value) = self.descend(root, crate::store::format::layout::FOLD_KEY)? else {
            return Ok(None);
        };
        let point = super::super::position::Point::decode(&value).ok();
        Ok(point.map(|point| point.at.to_word()))
    }

    /// The short value of a key in the tree under a root.
    fn descend(&self, root: u64, wanted: &[u8]) -> Result<Option<Vec<u8>>> {
        let (mut page, mut buffer) = (root, vec![0; self.page_size]);
        for _ in 0..MAX_DEPTH {
            if page < META_PAGES || page >= self.pages || !self.read(page, &mut buffer)? {
                return Ok(None);
            }
            let Some(header) = PageHeader::parse(&buffer).filter(|header| header.number == page) else {
                return Ok(None);
            };
            let (nodes, _) = nodes(&buffer, header.flags == LEAF);
            if header.flags == LEAF {
                let found = nodes.iter().find(|node| node.key == wanted && node.flags & BIG_DATA == 0);
                return Ok(found.map(|node| node.data.to_vec()));
            }
            let behind = nodes.iter().skip(1).take_while(|node| node.key <= wanted).count();
            match nodes.get(behind) {
                Some(node) if header.flags == BRANCH => page = node.child,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The root of the newest tree among all pages: the one from which the records of the store are found, and the latest
    /// point of the log.
    fn find_root(&mut self) -> Result<Option<u64>> {
        let mut best = None;
        for page in META_PAGES..self.pages {
            let mut bytes = [0; PAGE_HEADER];
            self.read(page, &mut bytes)?;
            let header = PageHeader::parse(&bytes);
            let Some(header) = header.filter(|header| header.number == page && header.overflow_pages != 0)
            else {
                continue;
            };
            if header.flags != BRANCH && header.flags != LEAF {
                continue;
            }
            let Some(fold) = self.fold_at(page)? else { continue };
            if self.descend(page, crate::store::format::layout::STORE_KEY)?.is_none() {
                continue;
            }
            let rank = (fold, self.levels(page)?);
            if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                best = Some((rank, page));
            }
        }
        Ok(best.map(|(_, page)| page))
    }

    fn levels(&self, root: u64) -> Result<u16> {
        let (mut page, mut buffer) = (root, vec![0; self.page_size]);
        for level in 1..=MAX_DEPTH {
            if page >= self.pages || !self.read(page, &mut buffer)? {
                return Ok(level);
            }
            match PageHeader::parse(&buffer) {
                Some(header) if header.flags == BRANCH && header.number == page => {
                    let (nodes, _) = nodes(&buffer, false);
                    let Some(first) = nodes.first() else { return Ok(level) };
                    page = first.child;
                }
                _ => return Ok(level),
            }
        }
        Ok(MAX_DEPTH)
    }

    /// Goes through a tree, and gives what it has to the finder.
    fn walk(&mut self, root: u64, depth: Option<u16>, origin: Origin) -> Result<()> {
        let mut buffer = vec![0; self.page_size];
        let mut stack = vec![Visit { page: root, levels: depth, floor: Vec::new(), ceiling: None }];
        while let Some(visit) = stack.pop() {
            crate::waiting::go_on_waiting()?;
            let page = visit.page;
            if page < META_PAGES || page >= self.pages {
                self.problem(format!("page {page} is behind the end of the data file"));
                continue;
            }
            if !self.used.insert(page) {
                self.problem(format!("page {page} is led to twice"));
                continue;
            }
            if !self.read(page, &mut buffer)? {
                self.problem(format!("the data file ends in page {page}"));
            }
            let header = PageHeader::parse(&buffer);
            let is_leaf = match (visit.levels, header) {
                (Some(levels), _) => levels <= 1,
                (None, Some(header)) => header.flags != BRANCH,
                (None, None) => true,
            };
            let flags = if is_leaf { LEAF } else { BRANCH };
            let is_sound = header
                .is_some_and(|header| header.check_node_page(page, flags, self.page_size as u32).is_ok());
            let (nodes, are_sound) = nodes(&buffer, is_leaf);
            if !is_sound || !are_sound {
                self.problem(format!("page {page} is damaged"));
            }
            if is_leaf {
                for node in &nodes {
                    self.leaf_node(page, node, &visit, origin)?;
                }
                continue;
            }
            let levels = visit.levels.map(|levels| levels - 1);
            let mut floor = visit.floor;
            let mut children = Vec::with_capacity(nodes.len());
            for (i, node) in nodes.iter().enumerate() {
                let next = nodes.get(i + 1).map(|next| next.key.to_vec()).or_else(|| visit.ceiling.clone());
                let in_order = next.as_ref().is_none_or(|next| *next > floor)
                    && (i == 0 || visit.ceiling.as_ref().is_none_or(|ceiling| node.key < ceiling.as_slice()));
                if !in_order {
                    self.problem(format!("page {page} is damaged: its keys are not in order"));
                    continue;
                }
                children.push(Visit {
                    page: node.child,
                    levels,
                    floor: floor.clone(),
                    ceiling: next.clone(),
                });
                floor = next.unwrap_or_default();
            }
            stack.extend(children.into_iter().rev());
        }
        Ok(())
    }

    fn leaf_node(&mut self, page: u64, node: &Node<'_>, visit: &Visit, origin: Origin) -> Result<()> {
        let in_range = node.key >= visit.floor.as_slice()
            && visit.ceiling.as_ref().is_none_or(|ceiling| node.key < ceiling.as_slice());
        if !in_range || node.flags & !BIG_DATA != 0 {
            self.problem(format!("page {page} has a record that does not belong there"));
            return Ok(());
        }
        if node.flags & BIG_DATA == 0 {
            return self.finder.record(node.key, node.data, origin);
        }
        let Some(start) = bytes_at(node.data, 0).map(u64::from_ne_bytes) else { return Ok(()) };
        let size = u64::from(node.size);
        if start < META_PAGES || start >= self.pages || size > MOST_BYTES {
            self.problem(format!("page {page} has a record whose value is nowhere in the file"));
            return self.finder.record(node.key, &[], origin);
        }
        let at = start * self.page_size as u64 + PAGE_HEADER as u64;
        for page in start..(at + size).div_ceil(self.page_size as u64).min(self.pages) {
            self.used.insert(page);
        }
        let there = size.min(file_len(self.file)?.saturating_sub(at));
        if there < size {
            self.problem(format!("the data file ends in a value that begins on page {start}"));
        }
        let mut value = vec![0; there as usize];
        read_up_to(self.file, &mut value, at).map_err(reading)?;
        self.finder.record(node.key, &value, origin)
    }

    /// The pages that the snapshot does not use, with those of the tree that lists them; `None` if that is damaged.
    fn free_pages(&mut self, root: u64, depth: u16) -> Result<Option<HashSet<u64>>> {
        struct Lists {
            free: HashSet<u64>,
            is_whole: bool,
        }
        impl Finder for Lists {
            fn record(&mut self, _key: &[u8], value: &[u8], _origin: Origin) -> Result<()> {
                let (words, rest) = value.as_chunks::<WORD>();
                let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
                let count = words.next();
                self.is_whole &= rest.is_empty() && count.is_some_and(|count| count <= words.len() as u64);
                self.free.extend(words.take(count.unwrap_or(0) as usize));
                Ok(())
            }

            fn problem(&mut self, _text: String) {
                self.is_whole = false;
            }
        }
        if depth == 0 || depth > MAX_DEPTH {
            return Ok(None);
        }
        let mut lists = Lists { free: HashSet::new(), is_whole: true };
        let mut walk = Search {
            file: self.file,
            page_size: self.page_size,
            pages: self.pages,
            used: std::mem::take(&mut self.used),
            problems: 0,
            finder: &mut lists,
        };
        // Its keys are ordered as numbers of this machine, so nothing is said of their order.
        let walked = walk.free_tree(root, depth);
        self.used = std::mem::take(&mut walk.used);
        walked?;
        Ok(lists.is_whole.then_some(lists.free))
    }

    fn free_tree(&mut self, root: u64, depth: u16) -> Result<()> {
        let mut buffer = vec![0; self.page_size];
        let mut stack = vec![(root, depth)];
        let anywhere = Visit { page: root, levels: None, floor: Vec::new(), ceiling: None };
        while let Some((page, levels)) = stack.pop() {
            let is_there = (META_PAGES..self.pages.max(META_PAGES)).contains(&page);
            if !is_there || !self.used.insert(page) || !self.read(page, &mut buffer)? {
                self.problem("the tree of free pages is damaged".into());
                continue;
            }
            let flags = if levels == 1 { LEAF } else { BRANCH };
            let header = PageHeader::parse(&buffer);
            let is_sound = header
                .is_some_and(|header| header.check_node_page(page, flags, self.page_size as u32).is_ok());
            let (nodes, are_sound) = nodes(&buffer, levels == 1);
            if !is_sound || !are_sound {
                self.problem("the tree of free pages is damaged".into());
            }
            for node in &nodes {
                match levels {
                    1 => self.leaf_node(page, node, &anywhere, Origin::Current)?,
                    _ => stack.push((node.child, levels - 1)),
                }
            }
        }
        Ok(())
    }

    /// Goes through all pages that were not come to.
    fn scan(&mut self, origin: impl Fn(u64) -> Origin) -> Result<()> {
        let mut buffer = vec![0; self.page_size];
        let mut page = META_PAGES;
        while page < self.pages {
            let here = page;
            page += 1;
            if self.used.contains(here) {
                continue;
            }
            if here.is_multiple_of(256) {
                crate::waiting::go_on_waiting()?;
            }
            self.read(here, &mut buffer)?;
            let Some(header) = PageHeader::parse(&buffer).filter(|header| header.number == here) else {
                continue;
            };
            if header.flags == OVERFLOW {
                // What is in a value is none of the store's records.
                page = page.max(here.saturating_add(header.overflow_pages.into()).min(self.pages));
                continue;
            }
            if header.flags != LEAF {
                continue;
            }

            let anywhere = Visit { page: here, levels: None, floor: Vec::new(), ceiling: None };
            let (nodes, _) = nodes(&buffer, true);
            for node in &nodes {
                match origin(here) {
                    // Nothing that is large is asked for then, and what is wrong there is no harm.
                    Origin::Old if node.flags & BIG_DATA == 0 => {
                        self.finder.record(node.key, node.data, Origin::Old)?;
                    }
                    Origin::Old => {}
                    origin => self.leaf_node(here, node, &anywhere, origin)?,
                }
            }
        }
        Ok(())
    }

    /// Whether all of it is there; zeros stand for the rest.
    fn read(&self, page: u64, buffer: &mut [u8]) -> Result<bool> {
        buffer.fill(0);
        let wanted = buffer.len();
        let read = read_up_to(self.file, buffer, page * self.page_size as u64).map_err(reading)?;
        Ok(read == wanted)
    }
}

fn reading(error: io::Error) -> Error {
    Error::io("reading the data file", error)
}

/// The nodes of a page that lie within it, and whether that are all.
fn nodes(page: &[u8], is_leaf: bool) -> (Vec<Node<'_>>, bool) {
    let most = (page.len() - PAGE_HEADER) / 2;
    let lower = PageHeader::parse(page).map_or(0, |header| usize::from(header.lower));
    let said = (PAGE_HEADER + 2..=page.len()).contains(&lower) && lower.is_multiple_of(2);
    let count = if said { (lower - PAGE_HEADER) / 2 } else { most };
    let (mut nodes, mut are_sound) = (Vec::new(), said);
    for i in 0..count {
        match node(page, i, is_leaf) {
            Some(node) => nodes.push(node),
            None => {
                are_sound = false;
                // Where nothing says how many there are, they end at the first that can be none.
                if !said {
                    break;
                }
            }
        }
    }
    (nodes, are_sound)
}

fn node(page: &[u8], i: usize, is_leaf: bool) -> Option<Node<'_>> {
    let at = usize::from(u16::from_ne_bytes(bytes_at(page, PAGE_HEADER + 2 * i)?));
    if at < PAGE_HEADER + 2 * (i + 1) || !at.is_multiple_of(2) {
        return None;
    }
    let size = u32::from_ne_bytes(bytes_at(page, at)?);
    let flags = u16::from_ne_bytes(bytes_at(page, at + 4)?);
    let key_len = usize::from(u16::from_ne_bytes(bytes_at(page, at + 6)?));
    let data_len = match (is_leaf, flags & BIG_DATA != 0) {
        (false, _) => 0,
        (true, true) => WORD,
        (true, false) => size as usize,
    };
    // Only the first key of a branch can be empty.
    if key_len > MAX_KEY || (key_len == 0 && (is_leaf || i > 0)) {
        return None;
    }
    let key = page.get(at + NODE_HEADER..)?.get(..key_len)?;
    let data = page.get(at + NODE_HEADER + key_len..)?.get(..data_len)?;
    let child = u64::from(size) | u64::from(flags) << 32;
    Some(Node { key, flags, size, child, data })
}
