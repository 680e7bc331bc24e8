//! What a disk may hold: of each page every version since the file was last synced, of each name every file since the
//! directory was.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::wire::Request;
use crate::damage_support::Dice;

const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// Where a data file is made that is then put in place.
const MAKING: [&str; 3] = ["compact.tmp", "create.tmp", "reencrypt.tmp"];
/// Segments whose bytes may lie in blocks that were never synced.
const REMEMBERED: usize = 6;

type Page = Arc<[u8; PAGE]>;

#[derive(Clone)]
struct Inode {
    file: Arc<File>,
    is_segment: bool,
    /// The first is on the disk, the last is the newest.
    pages: Vec<Vec<Page>>,
    lens: Vec<usize>,
}

#[derive(Clone)]
pub(crate) struct Disk {
    dir: PathBuf,
    files: HashMap<u64, Inode>,
    /// The first is on the disk, the last is the newest.
    names: BTreeMap<String, Vec<Option<u64>>>,
    /// Contents of segments that are gone.
    gone: Vec<Vec<Page>>,
    zeros: Page,
    /// Rises with each version that comes or goes.
    pub(crate) generation: u64,
}

/// Which version of each page and name is on the disk.
#[derive(Clone, Copy)]
pub(crate) enum Choice<'d> {
    /// The oldest of all, or the newest, but for one page or name.
    All { newest: bool, but: Option<&'d Odd> },
    /// Mixed, with bytes of older files in what was never synced, or without.
    Mixed { stale: bool },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Odd {
    Page(u64, usize),
    Name(String),
}

impl Inode {
    fn len(&self) -> usize {
        self.file.metadata().unwrap().len() as usize
    }

    /// Takes note of what the file holds now. Returns whether anything is new.
    fn look(&mut self, at: usize, len: usize, zeros: &Page) -> bool {
        let now = self.len();
        let mut changed = false;
        if self.lens.last() != Some(&now) {
            self.lens.push(now);
            changed = true;
        }
        self.pages.resize_with(self.pages.len().max(now.div_ceil(PAGE)), || vec![zeros.clone()]);
        let pages = at / PAGE..at.saturating_add(len).div_ceil(PAGE).min(now.div_ceil(PAGE));
        let mut bytes = vec![0; pages.len() * PAGE];
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], (pages.start * PAGE + read) as u64).unwrap() {
                0 => break,
                n => read += n,
            }
        }
        for (versions, page) in self.pages[pages].iter_mut().zip(bytes.as_chunks::<PAGE>().0) {
            if **versions.last().unwrap() != *page {
                versions.push(Arc::new(*page));
                changed = true;
            }
        }
        changed
    }

    /// What the range holds now is on the disk.
    fn sync(&mut self, at: usize, len: usize, zeros: &Page) {
        self.look(at, len, zeros);
        let pages = at / PAGE..at.saturating_add(len).div_ceil(PAGE).min(self.pages.len());
        for versions in &mut self.pages[pages] {
            versions.drain(..versions.len() - 1);
        }
        self.lens.drain(..self.lens.len() - 1);
    }
}

impl Disk {
    /// All that lies in a directory is on the disk. What is remembered of gone segments is taken over.
    pub(crate) fn of(dir: &Path, before: Option<&Disk>) -> Disk {
        let mut disk = Disk {
            dir: dir.to_owned(),
            files: HashMap::new(),
            names: BTreeMap::new(),
            gone: before.map_or(Vec::new(), |before| before.gone.clone()),
            zeros: Arc::new([0; PAGE]),
            generation: 0,
        };
        disk.look();
        disk.synced_directory();
        for inode in disk.files.values_mut() {
            inode.sync(0, usize::MAX, &disk.zeros);
        }
        disk
    }

    /// Finds out which names there are now.
    pub(crate) fn look(&mut self) {
        let mut present = BTreeMap::new();
        for place in std::iter::once("").chain(MAKING) {
            let prefix = if place.is_empty() { String::new() } else { format!("{place}/") };
            for entry in fs::read_dir(self.dir.join(place)).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if name == "data.mdb" || name.starts_with("log-") {
                    present.insert(format!("{prefix}{name}"), (entry.ino(), entry.path()));
                }
            }
        }
        let known: Vec<String> = self.names.keys().cloned().collect();
        for name in known.iter().filter(|name| !present.contains_key(*name)) {
            self.name(name, None);
        }
        for (name, (number, path)) in present {
            if let Entry::Vacant(unknown) = self.files.entry(number) {
                // It may have gone again, or be another one.
                let Ok(file) = File::open(&path) else { continue };
                if file.metadata().unwrap().ino() != number {
                    continue;
                }
                let is_segment = name.starts_with("log-");
                unknown.insert(Inode { file: Arc::new(file), is_segment, pages: Vec::new(), lens: vec![0] });
            }
            self.name(&name, Some(number));
        }
    }

    fn name(&mut self, name: &str, file: Option<u64>) {
        let versions = self.names.entry(name.to_owned()).or_insert_with(|| vec![None]);
        let before = *versions.last().unwrap();
        if before != file {
            versions.push(file);
            self.generation += 1;
            if let Some(inode) =
                before.and_then(|number| self.files.get_mut(&number)).filter(|i| i.is_segment)
            {
                inode.look(0, usize::MAX, &self.zeros);
                let newest = inode.pages.iter().map(|versions| versions.last().unwrap().clone());
                self.gone.push(newest.collect());
                let most = self.gone.len().saturating_sub(REMEMBERED);
                self.gone.drain(..most);
            }
        }
    }

    /// A request, for people.
    pub(crate) fn told(&self, request: &Request) -> String {
        let has = |versions: &Vec<Option<u64>>| versions.last() == Some(&Some(request.file));
        let name = self.names.iter().find(|(_, versions)| has(versions)).map_or("", |(name, _)| name);
        format!("{:?} {name} {} {}", request.kind, request.at, request.len)
    }

    pub(crate) fn wrote(&mut self, file: u64, at: u64, len: u64) {
        if let Some(inode) = self.files.get_mut(&file) {
            self.generation += u64::from(inode.look(at as usize, len as usize, &self.zeros));
        }
    }

    pub(crate) fn synced(&mut self, file: u64, at: u64, len: u64) {
        if let Some(inode) = self.files.get_mut(&file) {
            inode.sync(at as usize, len as usize, &self.zeros);
            self.generation += 1;
        }
    }

    pub(crate) fn synced_directory(&mut self) {
        for versions in self.names.values_mut() {
            versions.drain(..versions.len() - 1);
        }
        self.names.retain(|_, versions| versions[0].is_some());
        self.generation += 1;
    }

    /// Looks at the segments: what was appended since is a version of its own.
    pub(crate) fn look_at_segments(&mut self) {
        for inode in self.files.values_mut().filter(|inode| inode.is_segment) {
            self.generation += u64::from(inode.look(0, usize::MAX, &self.zeros));
        }
    }

    /// Looks at everything. Whatever combination of what was seen until now, and not synced, may be on the disk.
    pub(crate) fn look_at_all(&mut self) {
        self.look();
        for inode in self.files.values_mut() {
            self.generation += u64::from(inode.look(0, usize::MAX, &self.zeros));
        }
    }

    /// All pages and names that a power loss can change.
    pub(crate) fn odds(&self) -> Vec<Odd> {
        let mut odds = Vec::new();
        for versions in self.names.values() {
            for number in versions.iter().flatten() {
                let pages = self.files[number].pages.iter().enumerate();
                odds.extend(pages.filter(|(_, v)| v.len() > 1).map(|(page, _)| Odd::Page(*number, page)));
            }
        }
        let names = self.names.iter().filter(|(name, v)| v.first() != v.last() && !name.contains('/'));
        odds.extend(names.map(|(name, _)| Odd::Name(name.clone())));
        odds
    }

    /// Makes a directory as it is found when the power is back.
    pub(crate) fn build(&self, to: &Path, choice: Choice<'_>, dice: &mut Dice) {
        drop(fs::remove_dir_all(to));
        fs::create_dir_all(to).unwrap();
        for (name, versions) in self.names.iter().filter(|(name, _)| !name.contains('/')) {
            let picked = match choice {
                Choice::All { newest, but } => {
                    let is_odd = but == Some(&Odd::Name(name.clone()));
                    if newest != is_odd { versions.len() - 1 } else { 0 }
                }
                Choice::Mixed { .. } => one_of(versions.len(), dice),
            };
            let Some(number) = versions[picked] else { continue };
            let inode = &self.files[&number];
            let bytes = match choice {
                Choice::All { newest, but } => {
                    inode.plain(newest, |page| but == Some(&Odd::Page(number, page)))
                }
                Choice::Mixed { stale } => inode.mixed(if stale { &self.gone } else { &[] }, dice),
            };
            fs::write(to.join(name), bytes).unwrap();
        }
        self.litter(to, dice);
    }

    /// Nothing may depend on the other files.
    fn litter(&self, to: &Path, dice: &mut Dice) {
        let before = fs::read(self.dir.join("control")).unwrap_or_default();
        let control = match dice.below(4) {
            0 => None,
            1 => Some(before),
            2 => Some(vec![0; before.len()]),
            _ => {
                let len = dice.below(9000);
                Some(dice.bytes(len))
            }
        };
        if let Some(control) = control {
            fs::write(to.join("control"), control).unwrap();
        }
        for making in MAKING {
            if self.dir.join(making).exists() && dice.chance(50) {
                fs::create_dir(to.join(making)).unwrap();
                fs::write(to.join(making).join("data.mdb"), dice.bytes(5000)).unwrap();
            }
        }
    }
}

/// The oldest, the newest or any.
fn one_of(versions: usize, dice: &mut Dice) -> usize {
    match dice.below(4) {
        0 => 0,
        1 => versions - 1,
        _ => dice.below(versions),
    }
}

impl Inode {
    fn plain(&self, newest: bool, is_odd: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.pages.len() * PAGE);
        for (page, versions) in self.pages.iter().enumerate() {
            let of = if newest != is_odd(page) { versions.last() } else { versions.first() };
            bytes.extend_from_slice(&**of.unwrap());
        }
        let len = if newest { self.lens.last() } else { self.lens.first() };
        bytes.resize(*len.unwrap(), 0);
        bytes
    }

    fn mixed(&self, gone: &[Vec<Page>], dice: &mut Dice) -> Vec<u8> {
        let (least, most) = (self.lens[0], *self.lens.iter().max().unwrap());
        let len = match dice.below(8) {
            0 => least,
            1 => dice.between(least.min(most), most),
            _ => most,
        };
        let unit = if dice.chance(50) { SECTOR } else { PAGE };
        let bias = dice.below(7);
        let hole = dice.below(self.pages.len());
        // Of one older file, so that what lies there fits together, or of any.
        let older = dice.chance(70).then(|| dice.below(gone.len()));
        let mut bytes = vec![0; self.pages.len() * PAGE];
        for (page, versions) in self.pages.iter().enumerate() {
            let newest = versions.len() - 1;
            for at in (0..PAGE).step_by(unit) {
                let version = match bias {
                    0 => 0,
                    1 => newest,
                    2 if dice.chance(88) => 0,
                    3 if dice.chance(12) => 0,
                    2 | 3 => newest,
                    4 => dice.below(versions.len()),
                    // A hole, and all that is before or behind it.
                    5 if page == hole => 0,
                    5 => newest,
                    _ if page < hole => 0,
                    _ => newest,
                };
                let mut of: &[u8; PAGE] = &versions[version];
                // Of the header it is known that it was zeros when the file got its name.
                let is_unwritten = page > 0 && version == 0 && newest > 0 && of.iter().all(|byte| *byte == 0);
                if self.is_segment && is_unwritten && !gone.is_empty() {
                    let older = &gone[older.unwrap_or_else(|| dice.below(gone.len()))];
                    of = older.get(page).map_or(of, |page| page);
                }
                let to = page * PAGE + at;
                bytes[to..to + unit].copy_from_slice(&of[at..at + unit]);
            }
        }
        bytes.resize(len.max(least), 0);
        bytes
    }
}
