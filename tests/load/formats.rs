//! Every format, and its bad records, with file and line.

use cachemere::Error;
use cachemere::load::{Column, Format, Load, NumberType, OnError, Records};

use super::collected::{collect, file, load_bytes, pairs, tab_separated};
use super::support::Test;

pub(crate) const TESTS: &[Test] = &[
    ("tab_separated_lines_are_loaded", || {
        let (summary, loaded) = load_bytes(&tab_separated(), b"b\t1\na\t2\t3\r\nc\t").unwrap();
        assert_eq!(loaded, pairs(&[("a", "2\t3"), ("b", "1"), ("c", "")]));
        assert_eq!((summary.records, summary.bytes_read, summary.bytes_spilled), (3, 13, 0));
    }),
    ("lines_of_json_are_loaded_by_their_paths_or_whole", || {
        let lines = b"{\"id\": \"b\", \"n\": {\"v\": -7}}\n{\"n\": {\"v\": 8}, \"id\": \"a\"}\n";
        let whole = Format::new(Records::NdJson { key: "id".into(), value: None });
        let (_, loaded) = load_bytes(&whole, lines).unwrap();
        assert_eq!(loaded[1].1, "{\"id\": \"b\", \"n\": {\"v\": -7}}");
        let part = Format::new(Records::NdJson { key: "id".into(), value: Some("n".into()) });
        let (_, loaded) = load_bytes(&part, lines).unwrap();
        assert_eq!(loaded, pairs(&[("a", "{\"v\":8}"), ("b", "{\"v\":-7}")]));
        let number = Format::new(Records::NdJson { key: "id".into(), value: Some("n.v".into()) });
        let (_, loaded) = load_bytes(&number.number_type(NumberType::U32), &lines[28..]).unwrap();
        assert_eq!(loaded, pairs(&[("a", "\x08\0\0\0")]));
    }),
    ("pairs_of_json_are_loaded", || {
        let format = Format::new(Records::Tuple2 { key: None, value: None });
        let (_, loaded) = load_bytes(&format, b"[\"k\", \"v\"]\n[\"a\", true]\n").unwrap();
        assert_eq!(loaded, pairs(&[("a", "\x01"), ("k", "v")]));
    }),
    ("binary_pairs_are_loaded", || {
        let (_, loaded) =
            load_bytes(&Format::new(Records::BinKv), &binary(&[("b", "1"), ("a", "2\n")])).unwrap();
        assert_eq!(loaded, pairs(&[("a", "2\n"), ("b", "1")]));
    }),
    ("rows_are_loaded_by_name_or_number_of_their_columns", || {
        let text = b"key,n,value\nb,0,\"x, \"\"y\"\"\nz\"\na,1,plain\n";
        let named = |key: &str| Records::Csv {
            key: Column::Name(key.into()),
            value: Column::Name("value".into()),
            delimiter: b',',
            header: true,
        };
        let (_, loaded) = load_bytes(&Format::new(named("key")), text).unwrap();
        assert_eq!(loaded, pairs(&[("a", "plain"), ("b", "x, \"y\"\nz")]));
        let (key, value) = (Column::Number(1), Column::Number(0));
        let numbered = Records::Csv { key, value, delimiter: b'\t', header: false };
        let (_, loaded) = load_bytes(&Format::new(numbered), b"1\tb\n2\ta\n").unwrap();
        assert_eq!(loaded, pairs(&[("a", "2"), ("b", "1")]));
        let error = load_bytes(&Format::new(named("of nobody")), text).unwrap_err().to_string();
        assert!(error.contains("of nobody"), "{error}");
    }),
    ("bad_records_are_errors_with_file_and_line_or_are_counted", || {
        for (format, good, bad, place) in bad_records() {
            let bytes = [&good[..], &bad, &good].concat();
            let (_dir, path) = file("with bad records", &bytes);
            let load = |on_error| {
                collect(|dir| {
                    Load::new([&path], format.clone(), dir).options(|options| options.on_error(on_error))
                })
            };
            let error = load(OnError::Fail).unwrap_err();
            assert!(matches!(error, Error::BadRecord { .. }) && error.is_bad_input(), "{error}");
            let told = error.to_string();
            assert!(told.contains("with bad records") && told.contains(place), "{told}");
            let (summary, loaded) = load(OnError::Skip).unwrap();
            assert_eq!((summary.skipped, summary.bad.len(), loaded.len()), (1, 1, 1), "{bad:?}");
            assert!(summary.bad[0].contains(place), "{:?}", summary.bad);
        }
    }),
    ("a_pair_that_is_cut_off_is_an_error_also_where_bad_records_are_skipped", || {
        let mut bytes = binary(&[("a", "1"), ("b", "2")]);
        bytes.truncate(bytes.len() - 1);
        let (_dir, path) = file("cut", &bytes);
        let load = collect(|dir| {
            Load::new([&path], Format::new(Records::BinKv), dir).options(|o| o.on_error(OnError::Skip))
        });
        let told = load.unwrap_err().to_string();
        assert!(told.contains("record 2, byte 18"), "{told}");
    }),
    ("of_many_bad_records_ten_are_described", || {
        let (_dir, path) = file("bad", "no tab\n".repeat(1000).as_bytes());
        let (summary, loaded) =
            collect(|dir| Load::new([&path], tab_separated(), dir).options(|o| o.on_error(OnError::Skip)))
                .unwrap();
        assert_eq!((summary.skipped, summary.bad.len(), loaded.len()), (1000, 10, 0));
        assert!(summary.bad[0].contains("line 1:"), "{:?}", summary.bad);
    }),
    ("options_that_make_no_sense_are_refused_by_name", || {
        let csv = |delimiter, header| {
            let (key, value) = (Column::Name("k".into()), Column::Number(1));
            Format::new(Records::Csv { key, value, delimiter, header })
        };
        let (_dir, path) = file("file", b"a\t1\n");
        let load = |format: &Format, budget, threads| {
            let options = |dir: &std::path::Path| {
                let load = Load::new([&path], format.clone(), dir);
                load.options(|options| options.memory_budget(budget).threads(threads))
            };
            collect(options).unwrap_err()
        };
        for (error, name) in [
            (load(&tab_separated(), 1000, 1), "memory_budget"),
            (load(&tab_separated(), 8 << 20, 0), "threads"),
            (load(&csv(b'"', true), 8 << 20, 1), "delimiter"),
            (load(&csv(b',', false), 8 << 20, 1), "column"),
        ] {
            assert!(error.is_invalid() && error.to_string().contains(name), "{error}");
        }
    }),
    ("empty_lines_and_a_byte_order_mark_are_no_part_of_records", || {
        let ndjson = Format::new(Records::NdJson { key: "k".into(), value: Some("v".into()) });
        let csv =
            Records::Csv { key: Column::Number(0), value: Column::Number(1), delimiter: b',', header: false };
        for (format, text) in [
            (tab_separated(), "\u{feff}a\tx\n\n\r\nb\ty\n\n"),
            (ndjson, "\u{feff}{\"k\":\"a\",\"v\":\"x\"}\n\n \t\r\n{\"k\":\"b\",\"v\":\"y\"}\n  "),
            (
                Format::new(Records::Tuple2 { key: None, value: None }),
                "\u{feff}\n[\"a\",\"x\"]\n\n[\"b\",\"y\"]",
            ),
            (Format::new(csv), "\u{feff}a,x\n\n\r\nb,y\n\n"),
        ] {
            let (_dir, path) = file("marked", text.as_bytes());
            let (summary, pairs) = collect(|dir| Load::new([&path], format.clone(), dir)).unwrap();
            assert_eq!((summary.records, summary.skipped), (2, 0), "{format:?}");
            let found: Vec<_> = pairs.iter().map(|(key, value)| (&key[..], &value[..])).collect();
            assert_eq!(found, [("a", "x"), ("b", "y")], "{format:?}");
        }
        // Lines are counted all the same, and a mark elsewhere is text.
        let (_dir, path) = file("bad", "a\tx\n\nno tab\n".as_bytes());
        let error = collect(|dir| Load::new([&path], tab_separated(), dir)).unwrap_err();
        assert!(error.to_string().contains("line 3:"), "{error}");
        let (_dir, path) = file("within", "a\tx\n\u{feff}b\ty\n".as_bytes());
        let (_, pairs) = collect(|dir| Load::new([&path], tab_separated(), dir)).unwrap();
        assert!(pairs.iter().any(|(key, _)| key == "\u{feff}b"));
    }),
    ("numbers_that_json_does_not_have_are_taken_if_they_are_asked_for", || {
        let text = r#"{"k":"NaN \" a","v":{"x":[NaN,-Infinity,"Infinity"]},"more":Infinity}"#;
        let (_dir, path) = file("non-finite", text.as_bytes());
        let format = Format::new(Records::NdJson { key: "k".into(), value: Some("v".into()) });
        let load = |format: Format| collect(|dir| Load::new([&path], format.clone(), dir));
        assert!(load(format.clone()).unwrap_err().to_string().contains("line 1:"));
        let (_, pairs) = load(format.clone().non_finite()).unwrap();
        let [(key, value)] = &pairs[..] else { panic!("{pairs:?}") };
        assert_eq!(key, "NaN \" a");
        assert_eq!(value, r#"{"x":[NaN,-Infinity,"Infinity"]}"#);
        for bad in
            [r#"{"k":"a","v":NaNa}"#, r#"{"k":"a","v":Inf}"#, r#"{"k":"a","v":+Infinity}"#, r#"{"k":"a,NaN"#]
        {
            let (_dir, path) = file("bad", bad.as_bytes());
            let loaded = collect(|dir| Load::new([&path], format.clone().non_finite(), dir));
            assert!(loaded.unwrap_err().to_string().contains("line 1:"), "{bad}");
        }
    }),
];

fn binary(pairs: &[(&str, &str)]) -> Vec<u8> {
    let sized = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    pairs.iter().flat_map(|(key, value)| [sized(key), sized(value)].concat()).collect()
}

/// Format, a good record, a bad one, and where that is when it comes second.
fn bad_records() -> Vec<(Format, Vec<u8>, Vec<u8>, &'static str)> {
    let json = |value: Option<&str>| Records::NdJson { key: "id".into(), value: value.map(str::to_owned) };
    let csv =
        Records::Csv { key: Column::Number(0), value: Column::Number(1), delimiter: b',', header: false };
    let with_number = |records| Format::new(records).number_type(NumberType::I32);
    let good = b"{\"id\":\"a\",\"v\":1}\n".to_vec();
    let bad = |text: &str| text.as_bytes().to_vec();
    vec![
        (tab_separated(), bad("a\t1\n"), bad("no tab\n"), "line 2:"),
        (Format::new(json(None)), good.clone(), bad("{\"id\":\n"), "line 2:"),
        (Format::new(json(None)), good.clone(), bad("{\"id\":[1]}\n"), "line 2:"),
        (Format::new(json(None)), good.clone(), b"{\"id\":\"\xff\"}\n".to_vec(), "line 2:"),
        (with_number(json(Some("v"))), good.clone(), bad("{\"id\":\"b\"}\n"), "line 2:"),
        (with_number(json(Some("v"))), good.clone(), bad("{\"id\":\"b\",\"v\":2147483648}\n"), "line 2:"),
        (
            Format::new(json(Some("v"))),
            bad("{\"id\":\"a\",\"v\":null}\n"),
            bad("{\"id\":\"b\",\"v\":3}\n"),
            "line 2:",
        ),
        (
            Format::new(Records::Tuple2 { key: None, value: None }),
            bad("[\"a\",\"\"]\n"),
            bad("[\"b\"]\n"),
            "line 2:",
        ),
        (Format::new(csv), bad("a,\"\n\"\n"), bad("b,1,2\n"), "line 3:"),
    ]
}
