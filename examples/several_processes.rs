//! Several processes share one directory: of all that miss a key at once, one computes it, and each sees what the others write.
//!
//! ```text
//! cargo run --example several_processes
//! ```

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cachemere::Cache;

const WORKERS: usize = 4;
const PAGES: u64 = 20;

fn open(path: &Path) -> cachemere::Result<Cache<u64, String>> {
    Cache::builder(path).open()
}

/// What each worker does: it needs all pages, in an order of its own, and counts those that it had to fetch.
fn work(path: &Path, worker: u64) -> cachemere::Result<()> {
    let cache = open(path)?;
    let fetched: Cache<str, u64> = cache.sibling()?.namespace("fetched").open()?;
    for page in (0..PAGES).map(|page| (page * 7 + worker * 5) % PAGES) {
        let text = cache.try_get_or_insert_with(&page, || {
            std::thread::sleep(Duration::from_millis(20));
            // Atomic among all processes; no lock of the store is held while a load runs.
            fetched.update("pages", |count| Some(count.unwrap_or(0) + 1))?;
            Ok::<_, cachemere::Error>(format!("page {page}, fetched by worker {worker}"))
        })?;
        assert!(text.starts_with(&format!("page {page},")));
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, path, worker] = arguments.as_slice() {
        return Ok(work(Path::new(path), worker.parse()?)?);
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("store");
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            Command::new(std::env::current_exe()?)
                .arg(&path)
                .arg(worker.to_string())
                .stdin(Stdio::null())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    for mut worker in workers {
        assert!(worker.wait()?.success());
    }
    let cache = open(&path)?;
    let fetched: Cache<str, u64> = cache.sibling()?.namespace("fetched").open()?;
    println!("{WORKERS} processes needed {PAGES} pages each: {:?} were fetched", fetched.get("pages")?);
    assert_eq!((cache.len()?, fetched.get("pages")?), (PAGES, Some(PAGES)));
    Ok(())
}
