//! A command line tool with an encrypted cache: answers are kept between runs, and nobody reads them without the passphrase.
//!
//! ```text
//! export NOTES_PASSPHRASE='correct horse'
//! cargo run --example encrypted_cli -- ask "how far is the moon"     # takes a second
//! cargo run --example encrypted_cli -- ask "how far is the moon"     # does not
//! cargo run --example encrypted_cli -- list
//! cargo run --example encrypted_cli -- passphrase 'battery staple'   # changes it
//! cargo run --example encrypted_cli -- forget "how far is the moon"
//! ```

use std::process::ExitCode;
use std::time::Duration;

use cachemere::{Cache, Secret, Zstd};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Answer {
    text: String,
    tokens: u32,
}

/// Stands for a request that costs time and money.
fn ask(question: &str) -> Answer {
    std::thread::sleep(Duration::from_secs(1));
    Answer { text: format!("I would rather not say {question}."), tokens: 7 }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The messages say what to do: no source has to be printed.
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passphrase = std::env::var("NOTES_PASSPHRASE").map_err(|_| "set NOTES_PASSPHRASE")?;
    let directory = std::env::var_os("NOTES_DIR")
        .map_or_else(|| std::env::temp_dir().join("cachemere-encrypted-cli"), std::path::PathBuf::from);
    let cache: Cache<str, Answer> = Cache::builder(&directory)
        .encryption(Secret::passphrase(&passphrase))
        .compression(Zstd::default())
        .time_to_live(Duration::from_secs(30 * 86_400))
        .schema("answer/1")
        .open()?;
    match arguments[..] {
        ["ask", question] => {
            let answer = cache.get_or_insert_with(question, || ask(question))?;
            println!("{} ({} tokens)", answer.text, answer.tokens);
        }
        ["list"] => {
            for entry in cache.iter().rev() {
                let (question, answer) = entry?;
                println!("{question}: {}", answer.text);
            }
        }
        ["forget", question] => {
            println!("{}", if cache.remove(question)? { "forgotten" } else { "not known" })
        }
        ["passphrase", new] => {
            // All entries are encrypted anew, so that the old passphrase is of no use for a copy of the new store.
            cache.reencrypt(&Secret::passphrase(&passphrase), &Secret::passphrase(new))?;
        }
        _ => return Err("encrypted_cli ask QUESTION | list | forget QUESTION | passphrase NEW".into()),
    }
    // Dropping it would do the same, but could not tell of an error.
    Ok(cache.close()?)
}
