//! What other embedded stores cost for the same work, in one run.
//!
//! `cargo run --release` prints two Markdown tables, for 10,000 and for 100,000 entries; `CACHEMERE_BENCH_QUICK=1`
//! makes everything small. All hold the same documents of about 1 KB as MessagePack (the `cached` crate leaves out the
//! field names and adds a time), each in its own directory of one file system, and take turns.
//!
//! - bulk: filling the store in batches of 1,000, each one transaction, per item; keys in random order
//! - set: one new key into the full store, a transaction each
//! - cold get: one key in random order, decoded; from the page cache and the store's own block cache if it has one
//! - hot get: the same 100 keys again and again, decoded, unless the store keeps decoded values as cachemere does
//!
//! foyer writes to the disk after its set has returned, and may leave entries out; moka is memory alone, and shows what the disk
//! costs the others.
//!
//! "Synced" stores return from a set when it is safe from a power loss. Of the others, cachemere, fjall and SQLite keep
//! an older consistent state after one; raw heed with `NO_SYNC` may lose everything.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use cached::{ConcurrentCached, RedbCache, SerializeCached};
use cachemere::{Cache, Durability};
use redb::{Database, ReadableDatabase, TableDefinition};

#[path = "../../common/mod.rs"]
mod common;
mod hybrid;

use common::measure::{median, nanos, time};
use common::raw::Raw;
use common::values::{Document, decode, document, encode, key, shuffled};

type Item = (String, Document);

trait Store {
    fn set(&self, item: &Item);

    /// Whether there is a way to write many at once.
    fn set_many(&self, items: &[Item]) -> bool {
        items.iter().for_each(|item| self.set(item));
        false
    }

    fn get(&self, key: &String) -> Document;

    /// Whether what was set is there when it is opened anew.
    fn is_kept(&self) -> bool {
        true
    }

    /// As `get`, from whatever the store keeps in memory.
    fn get_hot(&self, key: &String) -> Document {
        self.get(key)
    }
}

struct Ours {
    cold: Cache<str, Document>,
    hot: Cache<str, Document>,
}

impl Ours {
    fn open(dir: &Path, durability: Durability) -> Box<dyn Store> {
        let open = |front| {
            let cache = Cache::builder(dir).durability(durability).front_bytes(front);
            cache.open().unwrap()
        };
        Box::new(Ours { cold: open(0), hot: open(64 << 20) })
    }
}

impl Store for Ours {
    fn set(&self, (key, value): &Item) {
        self.cold.insert(key, value).unwrap();
    }

    fn set_many(&self, items: &[Item]) -> bool {
        self.cold.insert_many(items.iter().map(|(key, value)| (key.as_str(), value))).unwrap();
        true
    }

    fn get(&self, key: &String) -> Document {
        self.cold.get(key).unwrap().unwrap()
    }

    fn get_hot(&self, key: &String) -> Document {
        self.hot.get(key).unwrap().unwrap()
    }
}

impl Store for Raw {
    fn set(&self, (key, value): &Item) {
        self.put(key, &encode(value));
    }

    fn set_many(&self, items: &[Item]) -> bool {
        let encoded: Vec<Vec<u8>> = items.iter().map(|(_, value)| encode(value)).collect();
        self.put_many(items.iter().zip(&encoded).map(|((key, _), value)| (key.as_str(), value.as_slice())));
        true
    }

    fn get(&self, key: &String) -> Document {
        Raw::get(self, key, decode).unwrap()
    }
}

struct Redb {
    database: Database,
    durability: redb::Durability,
}

impl Redb {
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("documents");

    fn open(dir: &Path, durability: redb::Durability) -> Box<dyn Store> {
        let database = Database::create(dir.join("redb")).unwrap();
        Box::new(Redb { database, durability })
    }
}

impl Store for Redb {
    fn set(&self, item: &Item) {
        self.set_many(std::slice::from_ref(item));
    }

    fn set_many(&self, items: &[Item]) -> bool {
        let mut txn = self.database.begin_write().unwrap();
        txn.set_durability(self.durability).unwrap();
        {
            let mut table = txn.open_table(Self::TABLE).unwrap();
            for (key, value) in items {
                table.insert(key.as_str(), encode(value).as_slice()).unwrap();
            }
        }
        txn.commit().unwrap();
        true
    }

    fn get(&self, key: &String) -> Document {
        let table = self.database.begin_read().unwrap().open_table(Self::TABLE).unwrap();
        decode(table.get(key.as_str()).unwrap().unwrap().value())
    }
}

struct Cached(RedbCache<String, Document>);

impl Cached {
    fn open(dir: &Path, durable: bool) -> Box<dyn Store> {
        let cache = RedbCache::builder("documents").disk_dir(dir).durable(durable);
        Box::new(Cached(cache.build().unwrap()))
    }
}

impl Store for Cached {
    fn set(&self, (key, value): &Item) {
        self.0.cache_set_ref(key, value).unwrap();
    }

    fn get(&self, key: &String) -> Document {
        self.0.cache_get(key).unwrap().unwrap()
    }
}

struct Fjall {
    database: fjall::Database,
    documents: fjall::Keyspace,
}

impl Fjall {
    fn open(dir: &Path) -> Box<dyn Store> {
        let database = fjall::Database::builder(dir).open().unwrap();
        let documents = database.keyspace("documents", fjall::KeyspaceCreateOptions::default).unwrap();
        Box::new(Fjall { database, documents })
    }
}

impl Store for Fjall {
    fn set(&self, (key, value): &Item) {
        self.documents.insert(key.as_str(), encode(value)).unwrap();
    }

    fn set_many(&self, items: &[Item]) -> bool {
        let mut batch = self.database.batch();
        for (key, value) in items {
            batch.insert(&self.documents, key.as_str(), encode(value));
        }
        batch.commit().unwrap();
        true
    }

    fn get(&self, key: &String) -> Document {
        decode(&self.documents.get(key).unwrap().unwrap())
    }
}

struct Sqlite(rusqlite::Connection);

impl Sqlite {
    const INSERT: &str = "INSERT OR REPLACE INTO documents VALUES (?1, ?2)";

    fn open(dir: &Path, synchronous: &str) -> Box<dyn Store> {
        let connection = rusqlite::Connection::open(dir.join("sqlite")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", synchronous).unwrap();
        let table = "CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID";
        connection.execute_batch(table).unwrap();
        Box::new(Sqlite(connection))
    }
}

impl Store for Sqlite {
    fn set(&self, (key, value): &Item) {
        let mut statement = self.0.prepare_cached(Self::INSERT).unwrap();
        statement.execute((key, encode(value))).unwrap();
    }

    fn set_many(&self, items: &[Item]) -> bool {
        self.0.execute_batch("BEGIN IMMEDIATE").unwrap();
        items.iter().for_each(|item| self.set(item));
        self.0.execute_batch("COMMIT").unwrap();
        true
    }

    fn get(&self, key: &String) -> Document {
        let mut statement = self.0.prepare_cached("SELECT value FROM documents WHERE key = ?1").unwrap();
        statement.query_row([key], |row| Ok(decode(row.get_ref(0)?.as_blob()?))).unwrap()
    }
}

/// Memory alone: what is measured beside it outlives the process.
struct Moka(moka::sync::Cache<String, Document>);

impl Moka {
    fn open() -> Box<dyn Store> {
        Box::new(Moka(moka::sync::Cache::new(1_000_000)))
    }
}

impl Store for Moka {
    fn set(&self, (key, value): &Item) {
        self.0.insert(key.clone(), value.clone());
    }

    fn get(&self, key: &String) -> Document {
        // It forgets what it had when it is opened anew.
        self.0.get_with_by_ref(key, || document(0))
    }

    fn is_kept(&self) -> bool {
        false
    }
}

/// What opens a store for filling it, and then for the rest.
type Open = fn(&Path, bool) -> Box<dyn Store>;

/// The stores, whether their sets are synced, and how to open them. A synced store is filled without syncs where it can
/// be opened so; its `bulk` is not shown then.
const STORES: [(&str, bool, Open); 12] = [
    ("raw heed, `NO_SYNC`", false, |dir, _| Box::new(Raw::open(dir, false))),
    ("cachemere", false, |dir, _| Ours::open(dir, Durability::Checkpoint)),
    ("redb, `Durability::None`", false, |dir, _| Redb::open(dir, redb::Durability::None)),
    ("cached (`RedbCache`), `durable(false)`", false, |dir, _| Cached::open(dir, false)),
    ("fjall", false, |dir, _| Fjall::open(dir)),
    ("SQLite, WAL, `synchronous=NORMAL`", false, |dir, _| Sqlite::open(dir, "NORMAL")),
    ("foyer, `WriteOnInsertion`", false, |dir, _| hybrid::Foyer::open(dir)),
    ("moka, in memory alone", false, |_, _| Moka::open()),
    ("raw heed, synced", true, |dir, filling| Box::new(Raw::open(dir, !filling))),
    ("cachemere, `Durability::Sync`", true, |dir, filling| {
        Ours::open(dir, if filling { Durability::Checkpoint } else { Durability::Sync })
    }),
    ("redb, `Durability::Immediate`", true, |dir, filling| {
        Redb::open(dir, if filling { redb::Durability::None } else { redb::Durability::Immediate })
    }),
    ("cached (`RedbCache`), the default", true, |dir, filling| Cached::open(dir, !filling)),
];

fn main() {
    let quick = std::env::var_os("CACHEMERE_BENCH_QUICK").is_some();
    for entries in if quick { vec![500] } else { vec![10_000, 100_000] } {
        println!("{}", table(entries, quick));
    }
}

fn table(entries: usize, quick: bool) -> String {
    let (turns, sets, synced_sets, gets) = if quick { (3, 20, 3, 200) } else { (9, 1_000, 50, 10_000) };
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let items: Vec<Item> = (0..entries as u64).map(|n| (key(n), document(n))).collect();
    let stores: Vec<_> = STORES
        .iter()
        .enumerate()
        .map(|(place, (name, synced, open))| {
            let dir = dir.path().join(place.to_string());
            std::fs::create_dir(&dir).unwrap();
            let store = open(&dir, true);
            let batches: Vec<f64> = items
                .chunks(1_000)
                .filter_map(|batch| {
                    let mut bulk = true;
                    let each = time(batch.len(), || bulk = store.set_many(batch));
                    (bulk && !synced).then_some(each)
                })
                .collect();
            // Closed and opened anew, so that all start alike.
            drop(store);
            eprintln!("filled {name} with {entries}");
            (name, *synced, open(&dir, false), median(&batches))
        })
        .collect();
    let mut costs = vec![[const { Vec::new() }; 3]; stores.len()];
    for turn in 0..turns {
        let order = shuffled(entries, turn as u64);
        let new: Vec<Item> = (0..sets as u64)
            .map(|n| (1 << 40) + (turn * sets) as u64 + n)
            .map(|n| (key(n), document(n)))
            .collect();
        for at in 0..stores.len() {
            // Each turn another one is the first.
            let place = (at + turn) % stores.len();
            let (_, synced, store, _) = &stores[place];
            let new = &new[..if *synced { synced_sets } else { sets }];
            let cold = &order[..gets.min(entries)];
            let hot: Vec<&String> = items.iter().take(100).map(|(key, _)| key).collect();
            hot.iter().for_each(|key| drop(store.get_hot(key)));
            let [set, cold_get, hot_get] = &mut costs[place];
            hot_get.push(time(gets, || {
                (0..gets).for_each(|n| drop(black_box(store.get_hot(hot[n % hot.len()]))));
            }));
            if store.is_kept() {
                cold_get.push(time(cold.len(), || {
                    cold.iter().for_each(|n| drop(black_box(store.get(&items[*n].0))));
                }));
            }
            set.push(time(new.len(), || new.iter().for_each(|item| store.set(item))));
        }
    }
    let mut out = format!(
        "{entries} entries:\n\n| | set | bulk, per item | cold get | hot get |\n|---|---:|---:|---:|---:|\n"
    );
    for ((name, synced, _, bulk), [set, cold, hot]) in stores.iter().zip(&costs) {
        let _ = write!(out, "| {name} | {} | {} ", nanos(median(set)), nanos(*bulk));
        // Reading does not depend on how it was written.
        let _ = match synced {
            true => writeln!(out, "| | |"),
            false => writeln!(out, "| {} | {} |", nanos(median(cold)), nanos(median(hot))),
        };
    }
    out
}
