//! Compression by content, and files that cannot be read.

use cachemere::Error;
use cachemere::load::Load;

use super::collected::{bzip2, collect, file, gzip, load_bytes, tab_separated, xz, zstd};
use super::support::Test;

pub(crate) const TESTS: &[Test] = &[
    ("all_members_of_compressed_files_are_loaded_whatever_their_names", || {
        let text = |from: u32| -> Vec<u8> {
            (from..from + 5000).flat_map(|n| format!("key {n}\tvalue {}\n", n * 7).into_bytes()).collect()
        };
        let (a, b) = (text(100_000), text(200_000));
        let plain = load_bytes(&tab_separated(), &[a.clone(), b.clone()].concat()).unwrap().1;
        assert_eq!(plain.len(), 10_000);
        for compress in [gzip, bzip2, zstd, xz] {
            let members = [compress(&a), compress(&b)].concat();
            let (_dir, path) = file("without an extension", &members);
            let (summary, loaded) = collect(|dir| Load::new([&path], tab_separated(), dir)).unwrap();
            assert_eq!(summary.bytes_read, members.len() as u64);
            assert!(loaded == plain);
        }
    }),
    ("truncated_and_broken_compression_is_an_error_that_names_the_file", || {
        let text: Vec<u8> = (0..20_000u32)
            .flat_map(|n| format!("{}\t{n}\n", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes())
            .collect();
        for compress in [gzip, bzip2, zstd, xz] {
            let whole = compress(&text);
            let mut broken = whole.clone();
            let middle = broken.len() / 2;
            broken[middle..middle + 64].fill(0xff);
            let cut = |len: usize| whole[..len].to_vec();
            for bytes in [cut(whole.len() - 1), cut(middle), cut(20), broken] {
                let (_dir, path) = file("half.dat", &bytes);
                let error = collect(|dir| Load::new([&path], tab_separated(), dir)).unwrap_err();
                assert!(error.is_bad_input() && error.to_string().contains("half.dat"), "{error}");
            }
        }
    }),
    ("a_missing_or_unreadable_file_among_many_is_an_error_before_anything_is_read", || {
        let (dir, path) = file("there", "a\t1\n".repeat(100_000).as_bytes());
        let directory = dir.path().join("directory");
        std::fs::create_dir(&directory).unwrap();
        for wrong in [dir.path().join("missing"), directory, "/dev/null".into()] {
            let load = |dir: &std::path::Path| Load::new([&path, &wrong], tab_separated(), dir);
            let error = collect(load).unwrap_err();
            assert!(matches!(&error, Error::Input { path, .. } if *path == wrong), "{error}");
        }
    }),
    ("no_files_and_empty_files_are_loads_of_nothing", || {
        let (_dir, empty) = file("empty", b"");
        let none: [&str; 0] = [];
        assert_eq!(collect(|dir| Load::new(none, tab_separated(), dir)).unwrap().0.records, 0);
        assert_eq!(collect(|dir| Load::new([&empty, &empty], tab_separated(), dir)).unwrap().0.records, 0);
    }),
];
