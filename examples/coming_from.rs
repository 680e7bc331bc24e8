//! What is written for `cached`, moka, redb and foyer, written for this crate: the page "Coming from other caches" shows it.
//!
//! `cargo run --features macros --example coming_from`

use std::path::Path;
use std::time::Duration;

use cachemere::{AsyncCache, Batch, Cache, CallKey, RemovalCause, memoize};

// --8<-- [start:cached]
// #[cached(ttl_secs = 60, sync_writes = "by_key")]
// fn get_user(id: u64) -> Result<User, ApiError> { … }
#[memoize(cache = users, ttl = Duration::from_secs(60))]
fn get_user(id: u64, users: &Cache<CallKey, String>) -> Result<String, Box<dyn std::error::Error>> {
    // Of all threads and processes one runs this, and an error is not kept.
    Ok(format!("user {id}"))
}
// --8<-- [end:cached]

fn from_moka(path: &Path) -> cachemere::Result<()> {
    // --8<-- [start:moka]
    // moka::sync::Cache::builder().max_capacity(…).time_to_live(…).eviction_listener(…).build()
    let cache: Cache<str, String> = Cache::builder(path)
        .namespace("moka")
        .time_to_live(Duration::from_secs(60))
        // What is in memory, in bytes; what is on the disk has `max_entries` and `max_bytes`, and no limit unless one is set.
        .front_bytes(64 << 20)
        .removal_listener(|key: &str, _value, cause| {
            if cause == RemovalCause::Expired {
                println!("{key} was too old");
            }
        })
        .open()?;
    // cache.get_with("key", || …)
    let value = cache.get_or_insert_with("key", || "value".to_owned())?;
    assert_eq!(value, "value");
    // cache.invalidate("key")
    cache.remove("key")?;
    // --8<-- [end:moka]
    Ok(())
}

fn from_redb(path: &Path) -> cachemere::Result<()> {
    // --8<-- [start:redb]
    // const TABLE: TableDefinition<&str, &[u8]> = …; begin_write, open_table, insert, commit
    let table: Cache<str, Vec<u8>> = Cache::builder(path).namespace("table").open()?;
    table.insert("a", &vec![1])?;
    // Several changes in one transaction: all of them or none.
    let mut batch = Batch::<str, Vec<u8>>::new();
    batch.insert("b", vec![2]).remove("a");
    table.write(&batch)?;
    // A change of what is there, atomic among threads and processes.
    table.update("b", |value| value.map(|value| [value, vec![3]].concat()))?;
    // In the order of insertion: there are no ranges of keys.
    assert_eq!(table.iter().collect::<cachemere::Result<Vec<_>>>()?, [("b".to_owned(), vec![2, 3])]);
    // --8<-- [end:redb]
    Ok(())
}

async fn from_foyer(path: &Path) -> Result<(), cachemere::Error> {
    // --8<-- [start:foyer]
    // HybridCacheBuilder::new().memory(64 MiB).storage()….build().await
    let cache: AsyncCache<u64, String> =
        Cache::builder(path).namespace("hybrid").front_bytes(64 << 20).open()?.into();
    // cache.get_or_fetch(&42, || async { … }).await
    let load = || async { Ok::<_, cachemere::Error>("the answer".to_owned()) };
    let answer = cache.try_get_shared_or_insert_with(&42, load).await?;
    assert_eq!(*answer, "the answer");
    // --8<-- [end:foyer]
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("store");
    let users = Cache::builder(&path).namespace("users").open()?;
    assert_eq!((get_user(1, &users)?, get_user(1, &users)?), ("user 1".to_owned(), "user 1".to_owned()));
    assert_eq!(users.stats()?.hits, 1);
    from_moka(&path)?;
    from_redb(&path)?;
    from_foyer(&path).await?;
    Ok(())
}
