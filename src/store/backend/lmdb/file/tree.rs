//! A walk over every page of a snapshot, for what would make LMDB read outside its map, loop, or lose entries.

use std::collections::HashSet;
use std::fs::File;

use super::page_set::PageSet;
use super::{
    BIG_DATA, BRANCH, Db, LEAF, MAX_KEY, META_PAGES, MetaBody, NODE_HEADER, OVERFLOW, PAGE_HEADER,
    PageHeader, WORD, bytes_at, check_snapshot, read_up_to,
};
use crate::error::{Error, Result};

/// Checks every page of the snapshot: the tree of entries, the tree of free pages, and the free pages listed in it.
///
/// Each page must be used once at most, and be what its parent takes it for; nodes must lie within their page and not
/// overlap; overflow runs must lie within the file; keys must be in order; and all must be as many as the meta page
/// says. What the entries hold is not looked at. Pages that are neither used nor free are no error.
///
/// The caller keeps the snapshot's pages from being reused meanwhile. Reads all pages but the
/// contents of large entries, and needs a bit of memory per page and 8 bytes per free page.
///
/// # Errors
///
/// [`Error::Damaged`], naming the first page found wrong.
pub(crate) fn check_trees(file: &File, meta: &MetaBody) -> Result<()> {
    let mut walk = Walk::new(file, meta)?;
    walk.tree(Tree::Free, &meta.free())?;
    walk.tree(Tree::Main, &meta.main())?;
    walk.free_pages()
}

/// The pages that this snapshot does not use and lists as free. The caller keeps the snapshot's pages from being reused
/// meanwhile. Reads the tree of free pages alone.
///
/// # Errors
///
/// [`Error::Damaged`].
pub(crate) fn free_pages(file: &File, meta: &MetaBody) -> Result<Vec<u64>> {
    let mut walk = Walk::new(file, meta)?;
    walk.tree(Tree::Free, &meta.free())?;
    Ok(walk.free)
}

/// Checks the tree of free pages, and that it is of the same snapshot as the tree of entries. One of an earlier snapshot is
/// as sound, but lists pages as free that are in use by now, and LMDB would write over them. Among them is the present root,
/// which each commit writes anew, on the first page that it takes. Costs what the free list has, not what the store has.
///
/// # Errors
///
/// [`Error::Damaged`].
pub(crate) fn check_free(file: &File, meta: &MetaBody) -> Result<()> {
    let mut walk = Walk::new(file, meta)?;
    walk.tree(Tree::Free, &meta.free())?;
    if let Some(root) = meta.main().root {
        walk.claim(root, 1).map_err(|fault| fault.on_page(Tree::Main, root))?;
    }
    walk.free_pages()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    Free,
    Main,
}

impl Tree {
    /// The key in a form that orders bytewise: LMDB compares those of the free tree as integers.
    fn sort_key(self, key: &[u8]) -> Vec<u8> {
        match (self, key.first_chunk::<WORD>()) {
            (Tree::Free, Some(word)) => u64::from_ne_bytes(*word).to_be_bytes().to_vec(),
            _ => key.to_vec(),
        }
    }

    /// The fewest children of a branch. While LMDB is saving its free list it tolerates a single one in that tree.
    fn least_children(self) -> usize {
        match self {
            Tree::Free => 1,
            Tree::Main => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Tree::Free => "free",
            Tree::Main => "main",
        }
    }
}

/// A page that is still to be visited.
struct Visit {
    page: u64,
    /// 1 is the root.
    level: u16,
    /// No key below this page is smaller.
    floor: Vec<u8>,
}

/// A node of a branch or leaf page.
struct Node<'a> {
    key: &'a [u8],
    flags: u16,
    /// The data's size on leaf pages.
    size: u32,
    /// The child on branch pages.
    child: u64,
    /// The data on leaf pages, or the number of the page where it is.
    data: &'a [u8],
}

struct Walk<'a> {
    file: &'a File,
    meta: &'a MetaBody,
    page_size: u32,
    /// The pages that are both in the file and given out.
    pages: u64,
    /// Those of them that were come to.
    used: PageSet,
    free_beyond_file: HashSet<u64>,
    free: Vec<u64>,
}

#[derive(Default)]
struct Count {
    branch: u64,
    leaf: u64,
    overflow: u64,
    entries: u64,
}

impl<'a> Walk<'a> {
    fn new(file: &'a File, meta: &'a MetaBody) -> Result<Walk<'a>> {
        check_snapshot(file, meta)?;
        let page_size = meta.page_size();
        let len = file.metadata().map_err(|e| Error::io("looking up the size of the data file", e))?.len();
        // Not from the meta page alone: a damaged one must not make us allocate.
        let pages = (len / u64::from(page_size)).min(meta.last_page() + 1);
        Ok(Walk {
            file,
            meta,
            page_size,
            pages,
            used: PageSet::below(pages),
            free_beyond_file: HashSet::new(),
            free: Vec::new(),
        })
    }

    fn tree(&mut self, tree: Tree, db: &Db) -> Result<()> {
        let mut count = Count::default();
        let mut last_key: Option<Vec<u8>> = None;
        let mut buffer = vec![0; self.page_size as usize];
        // In order of keys, so that each key need only be compared with the one before.
        let mut stack: Vec<Visit> =
            db.root.into_iter().map(|page| Visit { page, level: 1, floor: Vec::new() }).collect();
        while let Some(visit) = stack.pop() {
            let page = visit.page;
            self.visit(tree, db, visit, &mut buffer, &mut last_key, &mut count, &mut stack)
                .map_err(|fault| fault.on_page(tree, page))?;
        }
        let found = (count.branch, count.leaf, count.overflow, count.entries);
        let said = (db.branch_pages, db.leaf_pages, db.overflow_pages, db.entries);
        if found != said {
            return Err(Error::damaged(format!(
                "the {} tree has {found:?} branch, leaf and overflow pages and entries, not {said:?}",
                tree.name()
            )));
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one walk, split so that parts can be borrowed apart"
    )]
    fn visit(
        &mut self,
        tree: Tree,
        db: &Db,
        visit: Visit,
        buffer: &mut [u8],
        last_key: &mut Option<Vec<u8>>,
        count: &mut Count,
        stack: &mut Vec<Visit>,
    ) -> Result<(), Fault> {
        let Visit { page, level, floor } = visit;
        self.claim(page, 1)?;
        self.read(page, buffer)?;
        let is_leaf = level == db.depth;
        let header = PageHeader::parse(buffer).ok_or("no header")?;
        header.check_node_page(page, if is_leaf { LEAF } else { BRANCH }, self.page_size)?;
        let nodes = nodes(buffer, &header, is_leaf)?;
        if last_key.as_ref().is_some_and(|last| *last >= floor) {
            return Err("keys before it are not in order with it".into());
        }
        if is_leaf {
            count.leaf += 1;
            count.entries += nodes.len() as u64;
            for node in nodes {
                self.leaf_node(tree, &node, &floor, last_key, count)?;
            }
            return Ok(());
        }
        count.branch += 1;
        if nodes.len() < tree.least_children() {
            return Err(format!("a branch of {} pages", nodes.len()).into());
        }
        let mut children: Vec<Visit> = Vec::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            // LMDB never looks at the first key: whatever is smaller than the second key is below it.
            let floor = if i == 0 { floor.clone() } else { self.key(tree, node)? };
            if i > 0 && children.last().is_some_and(|before| before.floor >= floor) {
                return Err(format!("key {i} is not in order").into());
            }
            children.push(Visit { page: node.child, level: level + 1, floor });
        }
        stack.extend(children.into_iter().rev());
        Ok(())
    }

    fn key(&self, tree: Tree, node: &Node<'_>) -> Result<Vec<u8>, Fault> {
        let len = node.key.len();
        if len == 0 || len > MAX_KEY || (tree == Tree::Free && len != WORD) {
            return Err(format!("a key of {len} bytes").into());
        }
        Ok(tree.sort_key(node.key))
    }

    fn leaf_node(
        &mut self,
        tree: Tree,
        node: &Node<'_>,
        floor: &[u8],
        last_key: &mut Option<Vec<u8>>,
        count: &mut Count,
    ) -> Result<(), Fault> {
        let key = self.key(tree, node)?;
        if key.as_slice() < floor || last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err("keys are not in order".into());
        }
        // Sub-databases and duplicates bring trees and pages of their own, which nothing here has.
        if node.flags & !BIG_DATA != 0 {
            return Err(format!("an entry with flags {:#x}", node.flags).into());
        }
        if node.flags & BIG_DATA != 0 {
            let start = u64::from_ne_bytes(bytes_at(node.data, 0).ok_or("no page number")?);
            let run = self.overflow(start, node.size)?;
            count.overflow += u64::from(run);
            if tree == Tree::Free {
                let mut data = vec![0; node.size as usize];
                self.read_at(start * u64::from(self.page_size) + PAGE_HEADER as u64, &mut data)?;
                self.free_list(&key, &data)?;
            }
        } else {
            // LMDB puts larger ones on pages of their own, and relies on at least two fitting into a page.
            if NODE_HEADER + node.key.len() + node.data.len() > largest_node(self.page_size) {
                return Err("an entry is too large to be in its page".into());
            }
            if tree == Tree::Free {
                self.free_list(&key, node.data)?;
            }
        }
        *last_key = Some(key);
        Ok(())
    }

    /// The pages in the run that holds data of this size.
    fn overflow(&mut self, start: u64, size: u32) -> Result<u32, Fault> {
        let mut bytes = [0; PAGE_HEADER];
        self.claim(start, 1)?;
        self.read(start, &mut bytes)?;
        let header = PageHeader::parse(&bytes).ok_or("no header")?;
        let run = header.overflow_pages;
        let needed = (u64::from(size) + PAGE_HEADER as u64).div_ceil(u64::from(self.page_size));
        if header.number != start || header.flags != OVERFLOW || u64::from(run) < needed {
            let PageHeader { number, flags, .. } = header;
            return Err(format!(
                "overflow page {start} says it is page {number} with flags {flags:#x}, {run} long, for {size} bytes"
            )
            .into());
        }
        self.claim(start + 1, u64::from(run) - 1)?;
        Ok(run)
    }

    /// Takes in a record of the free tree: a count, then that many page numbers, the largest first.
    fn free_list(&mut self, transaction: &[u8], data: &[u8]) -> Result<(), Fault> {
        let transaction = u64::from_be_bytes(bytes_at(transaction, 0).ok_or("no transaction id")?);
        if transaction == 0 || transaction > self.meta.txn_id() {
            return Err(format!("pages freed by transaction {transaction}").into());
        }
        let (words, rest) = data.as_chunks::<WORD>();
        let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
        let count = words.next().ok_or("a free list without a length")?;
        if !rest.is_empty() || count > words.len() as u64 {
            return Err(format!("a free list of {count} pages in {} bytes", data.len()).into());
        }
        let mut above = self.meta.last_page() + 1;
        for page in words.take(count as usize) {
            if page >= above || page < META_PAGES {
                return Err(format!("page {page} in a free list below {above}").into());
            }
            above = page;
            self.free.push(page);
        }
        Ok(())
    }

    /// No free page is in use, or free twice. They may lie beyond the end of the file.
    fn free_pages(&mut self) -> Result<()> {
        for page in std::mem::take(&mut self.free) {
            let known =
                if page < self.pages { self.used.insert(page) } else { self.free_beyond_file.insert(page) };
            if !known {
                return Err(Error::damaged(format!("page {page} is free, but also used or free elsewhere")));
            }
        }
        Ok(())
    }

    fn claim(&mut self, start: u64, count: u64) -> Result<(), Fault> {
        if start < META_PAGES || start.checked_add(count).is_none_or(|end| end > self.pages) {
            return Err(format!(
                "it, or its {count} pages from {start}, are not among the {} pages",
                self.pages
            )
            .into());
        }
        for page in start..start + count {
            if !self.used.insert(page) {
                return Err(format!("page {page} is used twice").into());
            }
        }
        Ok(())
    }

    fn read(&self, page: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        self.read_at(page * u64::from(self.page_size), buffer)
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let wanted = buffer.len();
        match read_up_to(self.file, buffer, at) {
            Ok(read) if read == wanted => Ok(()),
            Ok(_) => Err("the file ends in it".into()),
            Err(error) => Err(Fault::Io(error)),
        }
    }
}

/// LMDB's `me_nodemax`: the largest node that is not on pages of its own.
fn largest_node(page_size: u32) -> usize {
    (((page_size as usize - PAGE_HEADER) / 2) & !1) - 2
}

/// The nodes of a page with a checked header.
fn nodes<'a>(page: &'a [u8], header: &PageHeader, is_leaf: bool) -> Result<Vec<Node<'a>>, Fault> {
    let count = (usize::from(header.lower) - PAGE_HEADER) / 2;
    let mut nodes = Vec::with_capacity(count);
    let mut extents = Vec::with_capacity(count);
    for i in 0..count {
        let at = usize::from(u16::from_ne_bytes(bytes_at(page, PAGE_HEADER + 2 * i).ok_or("no offsets")?));
        let outside = || Fault::from(format!("node {i} is not within the page"));
        if at < usize::from(header.upper) || at % 2 != 0 {
            return Err(outside());
        }
        let size = u32::from_ne_bytes(bytes_at(page, at).ok_or_else(outside)?);
        let flags = u16::from_ne_bytes(bytes_at(page, at + 4).ok_or_else(outside)?);
        let key_len = usize::from(u16::from_ne_bytes(bytes_at(page, at + 6).ok_or_else(outside)?));
        let data_len = match (is_leaf, flags & BIG_DATA != 0) {
            (false, _) => 0,
            (true, true) => WORD,
            (true, false) => size as usize,
        };
        let start = at + NODE_HEADER;
        let key = page.get(start..start + key_len).ok_or_else(outside)?;
        let data = page.get(start + key_len..).and_then(|rest| rest.get(..data_len)).ok_or_else(outside)?;
        extents.push((at, (start + key_len + data_len).next_multiple_of(2)));
        // A child's number takes the place of size and flags.
        let child = u64::from(size) | u64::from(flags) << 32;
        nodes.push(Node { key, flags, size, child, data });
    }
    // Removing a node moves others by its size, which must not be somebody else's bytes.
    extents.sort_unstable();
    if extents.iter().zip(extents.iter().skip(1)).any(|(before, after)| before.1 > after.0) {
        return Err("nodes overlap".into());
    }
    Ok(nodes)
}

/// What is wrong with a page, before it is known which.
enum Fault {
    Wrong(String),
    Io(std::io::Error),
}

impl Fault {
    fn on_page(self, tree: Tree, page: u64) -> Error {
        match self {
            Fault::Wrong(why) => Error::damaged(format!("page {page} of the {} tree: {why}", tree.name())),
            Fault::Io(error) => Error::io("reading the data file", error),
        }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Fault {
        Fault::Wrong(why)
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Fault {
        Fault::Wrong(why.to_owned())
    }
}

#[cfg(test)]
mod tests;
