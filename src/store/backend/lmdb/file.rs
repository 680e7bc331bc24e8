//! What must be known of LMDB's file format: to check a data file before it is mapped, and to put a snapshot back.
//!
//! LMDB trusts its file. It follows page numbers and offsets without a check, so that a damaged or crafted file makes it
//! read outside the map. Everything here reads with positioned reads, for a read cannot be killed by a short file.
//!
//! Two pages at the start of the file are meta pages. Transaction *n* writes page *n* mod 2; the other one is then
//! nothing but a spare. Each page begins with a header of 16 bytes: page number (8), padding (2), flags (2), and either
//! the bounds of its free space (2 and 2) or, on overflow pages, the number of pages (4). All in the machine's byte order.

mod page_set;
mod remains;
mod tree;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

pub(crate) use self::remains::{Finder, Origin, find_records};
pub(crate) use self::tree::{check_free, check_trees, free_pages};
use crate::error::{Error, Result};

/// The first word of a meta body.
pub(crate) const MAGIC: u32 = 0xBEEF_C0DE;
/// LMDB's `MDB_DATA_VERSION`.
pub(crate) const DATA_VERSION: u32 = 1;
/// The bytes before the content of a page.
pub(crate) const PAGE_HEADER: usize = 16;
/// The bytes of LMDB's `MDB_meta` on machines with 64-bit words.
pub(crate) const META_BODY: usize = 136;
/// The two meta pages are followed by all others.
pub(crate) const META_PAGES: u64 = 2;

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 4;
const MAP_SIZE_AT: usize = 16;
const FREE_DB_AT: usize = 24;
const MAIN_DB_AT: usize = 72;
const LAST_PAGE_AT: usize = 120;
const TXN_ID_AT: usize = 128;

const META: usize = PAGE_HEADER + META_BODY;
/// LMDB takes the system's page size, but never a larger one than this: offsets in a page have 16 bits.
const MAX_PAGE_SIZE: u32 = 0x8000;
const MIN_PAGE_SIZE: u32 = 512;
/// LMDB's `CURSOR_STACK`.
const MAX_DEPTH: u16 = 32;
/// LMDB's `P_INVALID`: the root of an empty tree.
const NO_PAGE: u64 = u64::MAX;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const OVERFLOW: u16 = 0x04;
const META_FLAG: u16 = 0x08;

/// The bytes before the key of a node, whose value may be on pages of its own.
const NODE_HEADER: usize = 8;
const BIG_DATA: u16 = 0x01;
/// LMDB's `MDB_MAXKEYSIZE`.
const MAX_KEY: usize = 511;
/// The bytes of a page number, and of a key in the free tree.
const WORD: usize = 8;

const INTEGER_KEY: u16 = 0x08;
/// `REVERSEKEY`, `DUPSORT`, `DUPFIXED`, `INTEGERDUP` and `REVERSEDUP`, which neither of the trees has.
const STRANGE_TREE: u16 = 0x02 | 0x04 | 0x10 | 0x20 | 0x40;

/// The body of a meta page: one snapshot of the environment, as the bytes of LMDB's `MDB_meta`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetaBody([u8; META_BODY]);

/// What a meta body says of one of its two trees (LMDB's `MDB_db`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Db {
    pub(crate) flags: u16,
    /// Levels of the tree: 0 when empty, 1 when the root is a leaf.
    pub(crate) depth: u16,
    pub(crate) branch_pages: u64,
    pub(crate) leaf_pages: u64,
    pub(crate) overflow_pages: u64,
    pub(crate) entries: u64,
    /// `None` when the tree is empty.
    pub(crate) root: Option<u64>,
}

impl Db {
    /// The pages of the tree, all of which are in the file.
    pub(crate) fn pages(&self) -> u64 {
        self.branch_pages.saturating_add(self.leaf_pages).saturating_add(self.overflow_pages)
    }
}

impl MetaBody {
    pub(crate) fn from_bytes(bytes: [u8; META_BODY]) -> MetaBody {
        MetaBody(bytes)
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8; META_BODY] {
        &self.0
    }

    /// The transaction that committed this snapshot.
    pub(crate) fn txn_id(&self) -> u64 {
        u64::from_ne_bytes(self.field(TXN_ID_AT))
    }

    /// The highest page number given out. The file can end before it, when the last pages are free.
    pub(crate) fn last_page(&self) -> u64 {
        u64::from_ne_bytes(self.field(LAST_PAGE_AT))
    }

    /// The size of a page in bytes. LMDB keeps it in a field of the free tree that has no other use.
    pub(crate) fn page_size(&self) -> u32 {
        u32::from_ne_bytes(self.field(FREE_DB_AT))
    }

    /// The size of the map, which the file cannot outgrow.
    pub(crate) fn map_size(&self) -> u64 {
        u64::from_ne_bytes(self.field(MAP_SIZE_AT))
    }

    /// The tree of free pages.
    pub(crate) fn free(&self) -> Db {
        self.db(FREE_DB_AT)
    }

    /// The tree of the unnamed database.
    pub(crate) fn main(&self) -> Db {
        self.db(MAIN_DB_AT)
    }

    fn magic(&self) -> u32 {
        u32::from_ne_bytes(self.field(MAGIC_AT))
    }

    fn version(&self) -> u32 {
        u32::from_ne_bytes(self.field(VERSION_AT))
    }

    fn db(&self, at: usize) -> Db {
        let root = u64::from_ne_bytes(self.field(at + 40));
        Db {
            flags: u16::from_ne_bytes(self.field(at + 4)),
            depth: u16::from_ne_bytes(self.field(at + 6)),
            branch_pages: u64::from_ne_bytes(self.field(at + 8)),
            leaf_pages: u64::from_ne_bytes(self.field(at + 16)),
            overflow_pages: u64::from_ne_bytes(self.field(at + 24)),
            entries: u64::from_ne_bytes(self.field(at + 32)),
            root: (root != NO_PAGE).then_some(root),
        }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        bytes_at(&self.0, at).unwrap_or([0; N])
    }
}

impl std::fmt::Debug for MetaBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetaBody")
            .field("txn_id", &self.txn_id())
            .field("last_page", &self.last_page())
            .field("page_size", &self.page_size())
            .field("free", &self.free())
            .field("main", &self.main())
            .finish_non_exhaustive()
    }
}

/// The header of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageHeader {
    pub(crate) number: u64,
    pub(crate) flags: u16,
    pub(crate) lower: u16,
    pub(crate) upper: u16,
    /// On overflow pages, in the place of the bounds.
    pub(crate) overflow_pages: u32,
}

impl PageHeader {
    pub(crate) fn parse(bytes: &[u8]) -> Option<PageHeader> {
        Some(PageHeader {
            number: u64::from_ne_bytes(bytes_at(bytes, 0)?),
            flags: u16::from_ne_bytes(bytes_at(bytes, 10)?),
            lower: u16::from_ne_bytes(bytes_at(bytes, 12)?),
            upper: u16::from_ne_bytes(bytes_at(bytes, 14)?),
            overflow_pages: u32::from_ne_bytes(bytes_at(bytes, 12)?),
        })
    }

    /// Whether this can be the header of the branch or leaf page with this number.
    pub(crate) fn check_node_page(&self, number: u64, flags: u16, page_size: u32) -> Result<(), String> {
        let (lower, upper) = (self.lower, self.upper);
        if self.number != number {
            return Err(format!("it says it is page {}", self.number));
        }
        // Exactly this flag: a page that says it is dirty would be written to in the read-only map.
        if self.flags != flags {
            return Err(format!("its flags are {:#x}, not {flags:#x}", self.flags));
        }
        // At least one node: LMDB takes the first without a look at the number of nodes.
        if lower < PAGE_HEADER as u16 + 2 || lower % 2 != 0 || lower > upper || u32::from(upper) > page_size {
            return Err(format!("its free space is said to be from {lower} to {upper}"));
        }
        Ok(())
    }
}

/// What a data file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataFile {
    /// No bytes at all: LMDB will make a new environment of it.
    Empty,
    /// An environment that LMDB can map.
    Lmdb {
        /// The snapshot that the next transaction starts from.
        newest: MetaBody,
    },
}

/// Both meta bodies as they are in the file, unchecked; `None` when the file is empty.
///
/// # Errors
///
/// [`Error::Damaged`] when the file is too short to hold two meta pages.
pub(crate) fn read_metas(file: &File) -> Result<Option<[MetaBody; 2]>> {
    let len = file_len(file)?;
    if len == 0 {
        return Ok(None);
    }
    let [first, second] = read_meta_pages(file)?;
    let page_size = plausible_page_size(&first.body).unwrap_or_else(default_page_size);
    if len < META_PAGES * u64::from(page_size) {
        return Err(short(len));
    }
    Ok(Some([first.body, second.body]))
}

/// The meta body of exactly this transaction, if it is the newest.
///
/// Others may commit meanwhile, and the answer is then right or `None`; who holds the write lock gets it always.
pub(crate) fn meta_of(file: &File, txn_id: u64) -> Result<Option<MetaBody>> {
    let Some([even, odd]) = read_metas(file)? else { return Ok(None) };
    let (meta, own, other) = if txn_id.is_multiple_of(2) { (even, 0, 1) } else { (odd, 1, 0) };
    if meta.magic() != MAGIC || meta.version() != DATA_VERSION || meta.txn_id() != txn_id {
        return Ok(None);
    }
    // The read may have met the commit after the next in the middle of writing this page, which leaves a mixture with
    // the old id. That commit begins only once the next one is on the other page: so look there, and look after.
    let after = read_meta_pages(file)?;
    let id = |page: usize| after.get(page).map(|page: &MetaPage| page.body.txn_id());
    let newer = id(other).is_none_or(|other| other > txn_id) || id(own) != Some(txn_id);
    Ok((!newer).then_some(meta))
}

/// Checks all that can be checked at a cost that does not grow with the file, before LMDB maps it.
///
/// Other processes may write to the file meanwhile. After a power loss a file fails this that [`restore`] can repair.
/// For the pages below the roots see [`check_trees`].
///
/// # Errors
///
/// [`Error::Foreign`] (with `path`) when it is no LMDB file, or one that cannot be ours; [`Error::Incompatible`] when it
/// has another page size than this system; [`Error::Damaged`] when it contradicts itself.
pub(crate) fn check(path: &Path, file: &File) -> Result<DataFile> {
    /// Looks at unchanged meta pages before they are believed to be wrong.
    const LOOKS: u32 = 3;
    /// Looks at all. A writer that commits faster than we read makes meta pages and the old root change under us.
    const MOST_LOOKS: u32 = 200;
    let mut unchanged = 0;
    let mut before = None;
    let mut looks = 0;
    loop {
        if file_len(file)? == 0 {
            return Ok(DataFile::Empty);
        }
        let pages = read_meta_pages(file)?;
        let error = match judge(path, file, &pages) {
            Ok(newest) => return Ok(DataFile::Lmdb { newest }),
            Err(error) => error,
        };
        unchanged = if before == Some(pages) { unchanged + 1 } else { 1 };
        looks += 1;
        if unchanged == LOOKS || looks == MOST_LOOKS || !matches!(error, Error::Damaged { .. }) {
            return Err(error);
        }
        before = Some(pages);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Checks that LMDB can start from this snapshot of the file, as far as its meta body and its two roots tell.
///
/// # Errors
///
/// [`Error::Damaged`].
pub(crate) fn check_snapshot(file: &File, meta: &MetaBody) -> Result<()> {
    if meta.magic() != MAGIC || meta.version() != DATA_VERSION {
        return Err(Error::damaged("the recorded meta page is not one of LMDB"));
    }
    let page_size =
        plausible_page_size(meta).ok_or_else(|| Error::damaged(format!("page size {}", meta.page_size())))?;
    let in_file = file_len(file)? / u64::from(page_size);
    if in_file < META_PAGES {
        return Err(short(file_len(file)?));
    }
    let last = meta.last_page();
    // LMDB gives out no page beyond its map. This also keeps the sums below from overflowing.
    if last < META_PAGES - 1 || last >= meta.map_size() / u64::from(page_size) {
        return Err(Error::damaged(format!("last page {last} in a map of {} bytes", meta.map_size())));
    }
    // The file can be shorter than the last page, if that one is free, but never than the pages in use.
    let used = META_PAGES.saturating_add(meta.free().pages()).saturating_add(meta.main().pages());
    if used > in_file.min(last + 1) {
        return Err(Error::damaged(format!("{used} pages in use, but only {in_file} in the data file")));
    }
    for (name, db, wanted_flags) in [("free", meta.free(), INTEGER_KEY), ("main", meta.main(), 0)] {
        if db.flags & (STRANGE_TREE | INTEGER_KEY) != wanted_flags {
            return Err(Error::damaged(format!("flags {:#x} of the {name} tree", db.flags)));
        }
        check_root(file, &db, page_size, in_file.min(last + 1))
            .map_err(|why| Error::damaged(format!("the {name} tree: {why}")))?;
    }
    Ok(())
}

fn check_root(file: &File, db: &Db, page_size: u32, pages: u64) -> Result<(), String> {
    let Some(root) = db.root else {
        if db.depth != 0 || db.entries != 0 || db.pages() != 0 {
            return Err(format!(
                "no root, but depth {}, {} entries and {} pages",
                db.depth,
                db.entries,
                db.pages()
            ));
        }
        return Ok(());
    };
    if root < META_PAGES || root >= pages {
        return Err(format!("root page {root} of {pages}"));
    }
    if db.depth == 0 || db.depth > MAX_DEPTH {
        return Err(format!("depth {}", db.depth));
    }
    let mut bytes = [0; PAGE_HEADER];
    read_up_to(file, &mut bytes, root * u64::from(page_size)).map_err(|error| error.to_string())?;
    let header = PageHeader::parse(&bytes).ok_or("no header")?;
    let flags = if db.depth == 1 { LEAF } else { BRANCH };
    header.check_node_page(root, flags, page_size).map_err(|why| format!("root page {root}: {why}"))
}

/// Makes the snapshot of this meta body the only one, in both meta pages, and returns when that is on the disk.
///
/// The caller must be alone with the file, and must know that all pages of the snapshot are in it. A power loss in
/// between does no harm if this is done again.
///
/// # Errors
///
/// [`Error::Damaged`], with nothing written, when the file cannot hold the snapshot.
pub(crate) fn restore(file: &File, meta: &MetaBody) -> Result<()> {
    check_snapshot(file, meta)?;
    check_end(file, meta)?;
    let failed = |error| Error::io("restoring the checkpoint", error);
    let page_size = meta.page_size();
    for number in 0..META_PAGES {
        // Header and body, then zeros as in a new file.
        let mut page = [number.to_ne_bytes(), meta_header_tail()].concat();
        page.extend_from_slice(&meta.0);
        page.resize(page_size as usize, 0);
        file.write_all_at(&page, number * u64::from(page_size)).map_err(failed)?;
    }
    file.sync_data().map_err(failed)
}

/// The second half of a meta page's header: padding, flags, and no bounds.
fn meta_header_tail() -> [u8; 8] {
    let [a, b] = META_FLAG.to_ne_bytes();
    [0, 0, a, b, 0, 0, 0, 0]
}

/// The start of a meta page, with zeros for what is not in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MetaPage {
    header: [u8; PAGE_HEADER],
    body: MetaBody,
}

fn read_meta_pages(file: &File) -> Result<[MetaPage; 2]> {
    let first = read_meta_page(file, 0)?;
    // With a first page that says nothing, the second is looked for where this system would have it.
    let page_size = plausible_page_size(&first.body).unwrap_or_else(default_page_size);
    Ok([first, read_meta_page(file, u64::from(page_size))?])
}

fn read_meta_page(file: &File, at: u64) -> Result<MetaPage> {
    let mut bytes = [0; META];
    read_up_to(file, &mut bytes, at).map_err(|e| Error::io("reading the data file", e))?;
    Ok(MetaPage {
        header: bytes_at(&bytes, 0).unwrap_or([0; PAGE_HEADER]),
        body: MetaBody(bytes_at(&bytes, PAGE_HEADER).unwrap_or([0; META_BODY])),
    })
}

/// The newest meta body, when all is well.
fn judge(path: &Path, file: &File, pages: &[MetaPage; 2]) -> Result<MetaBody> {
    let foreign = |detail: String| Error::Foreign { path: path.to_path_buf(), detail: detail.into() };
    let [first, second] = pages;
    match (first.body.magic() == MAGIC, second.body.magic() == MAGIC) {
        (true, true) => {}
        (false, false) if is_blank(first) => return Err(Error::damaged("the meta pages are blank")),
        (false, false) => return Err(foreign("the data file is not one of LMDB".to_owned())),
        (false, true) => return Err(Error::damaged("meta page 0 is not one")),
        (true, false) => return Err(Error::damaged("meta page 1 is not one")),
    }
    if first.body.version() != second.body.version() {
        return Err(Error::damaged("the meta pages have different versions"));
    }
    if first.body.version() != DATA_VERSION {
        return Err(foreign(format!("an LMDB file of version {}", first.body.version())));
    }
    let page_size = first.body.page_size();
    if plausible_page_size(&first.body).is_none() || page_size != second.body.page_size() {
        let other = second.body.page_size();
        return Err(Error::damaged(format!("the meta pages have page sizes {page_size} and {other}")));
    }
    if let Some(asked) = system_page_size()
        && asked != page_size
    {
        return Err(Error::Incompatible {
            path: path.to_path_buf(),
            what: "page size",
            stored: format!("{page_size} bytes"),
            asked: format!("{asked} bytes"),
        });
    }
    for (number, page) in (0..).zip(pages) {
        let header = PageHeader::parse(&page.header);
        if header.is_none_or(|header| header.number != number || header.flags != META_FLAG) {
            return Err(Error::damaged(format!("meta page {number} has a wrong header")));
        }
    }
    let newest = newest(&first.body, &second.body)?;
    let flags = newest.main().flags;
    if flags & (STRANGE_TREE | INTEGER_KEY) != 0 {
        return Err(foreign(format!("an LMDB file whose unnamed database has flags {flags:#x}")));
    }
    check_snapshot(file, &newest)?;
    check_end(file, &newest)?;
    Ok(newest)
}

/// Checks that no page in use lies behind the end of the file, where reading the map would kill the process.
///
/// LMDB leaves a file shorter than its last page when that was freed before it was ever written. This is rare, and cannot
/// be told from a file that was cut off without a look at all pages.
fn check_end(file: &File, meta: &MetaBody) -> Result<()> {
    let complete = (meta.last_page() + 1).saturating_mul(u64::from(meta.page_size()));
    match file_len(file)? < complete {
        true => check_trees(file, meta),
        false => Ok(()),
    }
}

/// Makes a checked file as long as its last page, so that the next check needs no look at all pages. The caller is alone
/// with the file.
pub(crate) fn complete(file: &File, meta: &MetaBody) -> Result<()> {
    let complete = (meta.last_page() + 1).saturating_mul(u64::from(meta.page_size()));
    if file_len(file)? < complete {
        file.set_len(complete).map_err(|e| Error::io("extending the data file", e))?;
    }
    Ok(())
}

/// The meta body that LMDB starts from. Nothing else is said of the other: a failed commit can have left anything there.
fn newest(first: &MetaBody, second: &MetaBody) -> Result<MetaBody> {
    let (even, odd) = (first.txn_id(), second.txn_id());
    let newest = if even >= odd { even } else { odd };
    // Two equal ids are those of a new file or a restored one. Otherwise each transaction is on the page of its parity,
    // and next to it is the transaction before.
    let in_order = even == odd || (even.abs_diff(odd) == 1 && even % 2 == 0);
    if !in_order {
        return Err(Error::damaged(format!("the meta pages are of transactions {even} and {odd}")));
    }
    Ok(if newest % 2 == 0 { *first } else { *second })
}

fn is_blank(page: &MetaPage) -> bool {
    page.header.iter().chain(&page.body.0).all(|&byte| byte == 0)
}

fn short(len: u64) -> Error {
    Error::damaged(format!("the data file ends after {len} bytes, inside its meta pages"))
}

fn plausible_page_size(meta: &MetaBody) -> Option<u32> {
    let size = meta.page_size();
    (meta.magic() == MAGIC && size.is_power_of_two() && (MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&size))
        .then_some(size)
}

fn default_page_size() -> u32 {
    system_page_size().unwrap_or(4096)
}

/// The page size LMDB gives to new files on this system; `None` when that is not known.
fn system_page_size() -> Option<u32> {
    let size = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
        4096
    } else if cfg!(all(target_vendor = "apple", target_arch = "aarch64")) {
        16384
    } else {
        u32::try_from(page_size_of_auxv(&std::fs::read("/proc/self/auxv").ok()?)?).ok()?
    };
    Some(size.min(MAX_PAGE_SIZE))
}

/// The value of `AT_PAGESZ` in Linux's auxiliary vector: pairs of words.
fn page_size_of_auxv(auxv: &[u8]) -> Option<u64> {
    const AT_PAGESZ: u64 = 6;
    let mut words = auxv.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
    while let (Some(kind), Some(value)) = (words.next(), words.next()) {
        if kind == AT_PAGESZ {
            return Some(value);
        }
    }
    None
}

fn file_len(file: &File) -> Result<u64> {
    Ok(file.metadata().map_err(|e| Error::io("looking up the size of the data file", e))?.len())
}

/// Reads to the end of the buffer or of the file, and returns how much.
pub(super) fn read_up_to(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => break,
            Ok(n) => {
                buffer = buffer.get_mut(n..).unwrap_or_default();
                at += n as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

/// `N` bytes from `at`, when they are there.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
