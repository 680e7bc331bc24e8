//! Embeds many texts in batches, and none twice: what is known is looked up at once, what is not is computed and kept
//! in one transaction for each batch. A run that is interrupted goes on where it was.
//!
//! ```text
//! cargo run --release --example bulk_embedding
//! ```

use std::time::Instant;

use cachemere::Cache;

type Embedding = Vec<f32>;

const BATCH: usize = 256;

/// Stands for a model that takes texts in batches.
fn embed(texts: &[&str]) -> Vec<Embedding> {
    let of = |text: &str| {
        let mut embedding = vec![0.0; 384];
        for (at, byte) in text.bytes().enumerate() {
            embedding[(at * 31 + usize::from(byte)) % 384] += 1.0;
        }
        embedding
    };
    texts.iter().map(|text| of(text)).collect()
}

/// The embeddings of all texts, in their order. Also how many had to be computed.
fn embed_all(cache: &Cache<str, Embedding>, texts: &[String]) -> cachemere::Result<(Vec<Embedding>, usize)> {
    let (mut all, mut computed) = (Vec::with_capacity(texts.len()), 0);
    for batch in texts.chunks(BATCH) {
        // From one snapshot, in the order of the tree.
        let known = cache.get_many(batch.iter().map(String::as_str))?;
        let missing: Vec<&str> = batch
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(text, _)| text.as_str())
            .collect();
        let new = embed(&missing);
        // All of them or none: a batch that was paid for is kept whole, also if the process is killed right after this.
        cache.insert_many(missing.iter().copied().zip(&new))?;
        computed += new.len();
        let mut new = new.into_iter();
        all.extend(known.into_iter().filter_map(|known| known.or_else(|| new.next())));
    }
    Ok((all, computed))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    // The name of the model belongs to the name of what it made.
    let cache: Cache<str, Embedding> =
        Cache::builder(dir.path().join("embeddings")).namespace("bytes-384/1").open()?;
    let mut texts: Vec<String> = (0..2_000).map(|n| format!("passage {n} of some book")).collect();
    for run in ["the first run", "the second run", "with 100 more"] {
        let begun = Instant::now();
        let (embeddings, computed) = embed_all(&cache, &texts)?;
        assert_eq!(embeddings.len(), texts.len());
        println!("{run}: {} texts, {computed} computed, {:?}", texts.len(), begun.elapsed());
        if run == "the second run" {
            assert_eq!(computed, 0);
            texts.extend((0..100).map(|n| format!("note {n}")));
        }
    }
    Ok(())
}
