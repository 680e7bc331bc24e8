//! Embeds every paragraph of this repository's own text, keeps the vectors in an encrypted cache, and answers a question
//! with them. The second pass, and every later run, computes nothing.
//!
//! `cargo run --release --example demo -- "what survives a power loss?"`
#![allow(clippy::print_stdout, clippy::indexing_slicing)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachemere::{Cache, Secret, Zstd};
use serde::{Deserialize, Serialize};

const DIMENSIONS: usize = 384;
/// What a call to an embedding service costs at the very least.
const PRICE: Duration = Duration::from_millis(2);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Embedding {
    vector: Vec<f32>,
    words: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "what survives a power loss?".to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let store = root.join("target/demo-store");
    let open = || {
        Cache::<str, Embedding>::builder(&store)
            .namespace("embeddings/v1")
            .time_to_idle(Duration::from_secs(30 * 86_400))
            .compression(Zstd::default())
            .encryption(Secret::key(*b"in earnest, out of your keyring!"))
            .open()
    };
    let paragraphs = paragraphs(root)?;
    println!("{} paragraphs of text; an embedding costs {PRICE:?}", paragraphs.len());

    for pass in ["first", "second"] {
        // A new handle each time: what the second pass finds comes off the disk, not out of memory.
        let cache = open()?;
        let start = Instant::now();
        let mut best: Vec<(f32, &str)> = Vec::new();
        let mut computed = 0;
        let asked = cache.get_or_insert_with(&question, || embed(&question))?;
        for text in &paragraphs {
            let embedding = cache.get_or_insert_with(text, || {
                computed += 1;
                embed(text)
            })?;
            let similarity: f32 = embedding.vector.iter().zip(&asked.vector).map(|(a, b)| a * b).sum();
            best.push((similarity, text));
        }
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!(
            "\n{pass} pass: {computed} computed, {} from the cache, {:.0?}",
            paragraphs.len() - computed,
            start.elapsed()
        );
        if pass == "second" {
            assert_eq!(computed, 0, "everything was in the cache");
            println!("\n{question}");
            for (similarity, text) in best.iter().take(3) {
                println!(
                    "  {similarity:.2}  {}",
                    text.split_whitespace().take(24).collect::<Vec<_>>().join(" ")
                );
            }
            let stats = cache.stats()?;
            println!("\n{} entries in {} KiB, every one encrypted", stats.entries, stats.file_bytes / 1024);
            assert!(cache.verify()?.is_clean());
        }
        cache.close()?;
    }
    let secret_text = paragraphs.iter().max_by_key(|text| text.len()).ok_or("there is text")?;
    let on_disk = fs::read(store.join("data.mdb"))?;
    let needle = &secret_text.as_bytes()[..24.min(secret_text.len())];
    assert!(!on_disk.windows(needle.len()).any(|bytes| bytes == needle));
    println!("not a word of it can be read on the disk");
    Ok(())
}

/// Stands in for a model: hashed word pairs, normalized. What matters here is that it takes its time.
fn embed(text: &str) -> Embedding {
    std::thread::sleep(PRICE);
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .map(|word| word.to_lowercase().trim_end_matches('s').to_owned())
        .collect();
    let mut vector = vec![0f32; DIMENSIONS];
    for word in &words {
        let hash = word
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        vector[hash as usize % DIMENSIONS] += 1.0;
    }
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1.0);
    vector.iter_mut().for_each(|x| *x /= length);
    Embedding { vector, words: words.len() }
}

/// The paragraphs of all Markdown and Rust files of the repository.
fn paragraphs(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in ["", "docs", "src", "src/store", "src/entries", "src/pipeline"] {
        for entry in fs::read_dir(root.join(folder))? {
            let path: PathBuf = entry?.path();
            if matches!(path.extension().and_then(|e| e.to_str()), Some("md" | "rs")) {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(file)?;
        all.extend(text.split("\n\n").map(str::trim).filter(|p| p.len() > 80).map(str::to_owned));
    }
    all.sort();
    all.dedup();
    Ok(all)
}
