//! Files that are loaded: whatever is in them is loaded or refused, in each format, the same on one thread as on two.
#![no_main]

use std::sync::LazyLock;

use cachemere::load::{Column, Format, Load, NumberType, OnError, RawBytes, Records};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("there is memory"));

fuzz_target!(|input: &[u8]| {
    let Some((&how, content)) = input.split_first() else { return };
    let path = DIR.path().join("input");
    std::fs::write(&path, content).expect("there is memory");
    let loaded = |threads| {
        let on_error = if how & 8 == 0 { OnError::Skip } else { OnError::Fail };
        let load = Load::new([&path], format(how), DIR.path());
        let load = load.options(|options| options.threads(threads).memory_budget(4 << 20).on_error(on_error));
        match load.sort(&RawBytes { number_type: Some(NumberType::F64) }, &mut ()) {
            Ok(sorted) => {
                format!("{} records, {} skipped", sorted.summary().records, sorted.summary().skipped)
            }
            // Of several bad records, two threads may meet another one first.
            Err(error) => format!("refused: {}", error.to_string().is_empty()),
        }
    };
    assert_eq!(loaded(1), loaded(2));
});

fn format(how: u8) -> Format {
    let format = Format::new(match how % 8 {
        0 => Records::TabSep,
        1 => Records::NdJson { key: "id".into(), value: None },
        2 => Records::NdJson { key: "id".into(), value: Some("a.0".into()) },
        3 => Records::Tuple2 { key: None, value: None },
        4 => Records::Tuple2 { key: Some("id".into()), value: Some("a".into()) },
        5 => Records::BinKv,
        6 => {
            Records::Csv { key: Column::Number(0), value: Column::Number(1), delimiter: b',', header: false }
        }
        _ => Records::Csv {
            key: Column::Name("id".into()),
            value: Column::Name("a".into()),
            delimiter: b';',
            header: true,
        },
    });
    if how & 16 == 0 { format } else { format.sorted() }
}
