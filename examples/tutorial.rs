//! What the tutorial shows: a cache of answers that expire, encrypted and compressed, computed once however many ask.
//!
//! `cargo run --example tutorial`

use std::time::Duration;

use cachemere::{Batch, Cache, Secret, Zstd};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    text: String,
    tokens: u32,
}

/// Stands for a call that takes seconds and costs money.
fn ask_the_model(question: &str) -> Result<Answer, Box<dyn std::error::Error>> {
    Ok(Answer { text: question.to_uppercase(), tokens: 9 })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("cachemere-tutorial-{}", std::process::id()));

    let cache: Cache<str, Answer> = Cache::builder(&directory)
        .time_to_live(Duration::from_secs(30 * 86_400))
        .compression(Zstd::default())
        .encryption(Secret::key([7; 32]))
        .open()?;

    // Of all threads and processes that miss a key at once, one calls the model. An error is stored for nobody.
    let question = "why is the sky blue?";
    let answer = cache.try_get_or_insert_with(question, || ask_the_model(question))?;
    assert_eq!(answer.text, "WHY IS THE SKY BLUE?");
    assert_eq!(cache.get(question)?, Some(answer));

    // Several writes: all of them or none.
    let mut batch = Batch::<str, Answer>::new();
    for number in 0..3 {
        let answer = Answer { text: format!("answer {number}"), tokens: number };
        batch.insert(&format!("question {number}"), answer);
    }
    cache.write(&batch)?;
    assert_eq!(cache.len()?, 4);

    // In the order of insertion.
    let last = cache.iter().last().ok_or("it is empty")??;
    assert_eq!(last.0, "question 2");

    cache.close()?;
    std::fs::remove_dir_all(directory)?;
    println!("all of it is so");
    Ok(())
}
