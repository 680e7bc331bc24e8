//! A machine whose power fails: a virtual one, with a real kernel and file system, killed while two processes in it write an
//! encrypted store. What the next boot finds is a state that was, with all that was safe.
//!
//! `make torture-machine` brings what it needs, and names it: `CACHEMERE_MACHINE` is a directory with `vmlinuz`, `busybox` and
//! the modules `virtio*.ko`. The machine's programs are this test binary and busybox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;
mod power_support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use damage_support::{Dice, main_with, say, seed};
use power_support::setting::Setting;
use power_support::steps::{Content, Counts, Model};
use power_support::writer;

/// How often the power fails.
const LOSSES: usize = 30;
/// How long a boot takes at most, without the help of a processor.
const BOOT: Duration = Duration::from_secs(300);
const STORE: &str = "/disk/store";
const MODULES: [&str; 5] =
    ["virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"];

fn setting() -> Setting {
    Setting { limit: 10 << 20, is_encrypted: true }
}

fn main() {
    main_with(
        |role, arguments| match role {
            "machine" => in_the_machine(&arguments[0]),
            "writer" => write(arguments[0].parse().unwrap(), arguments[1].parse().unwrap()),
            _ => panic!("no such role: {role}"),
        },
        vec![("a_machine_that_loses_power_finds_a_state_that_was_and_all_that_was_safe", losses)],
    );
}

/// As a line that nothing else on the console looks like.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n<{line}>\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// What the machine does when it has booted.
fn in_the_machine(era: &str) {
    let (cache, secret) = setting().open(Path::new(STORE), |builder| builder);
    tell(&format!("found {}", writer::content(&cache, secret).told()));
    cache.close().unwrap();
    let program = std::env::current_exe().unwrap();
    let start = |writer: &str| {
        let mut command = Command::new(&program);
        command.args([writer, era]).env(damage_support::ROLE, "writer").spawn().unwrap()
    };
    let writers = ["0", "1"].map(start);
    writers.into_iter().for_each(|mut writer| assert!(writer.wait().unwrap().success()));
}

fn write(writer: usize, era: u64) {
    let (cache, _) = setting().open(Path::new(STORE), |builder| builder);
    let mut number = writer::count(&cache, writer);
    loop {
        for _ in 0..10 {
            number += 1;
            writer::put(&cache, writer, number, era);
        }
        cache.checkpoint().unwrap();
        tell(&format!("safe {writer} {number}"));
    }
}

struct Machine {
    child: Child,
    lines: Receiver<String>,
}

impl Machine {
    fn boot(image: &Path, files: &Path, disk: &Path, era: usize) -> Machine {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-m", "512", "-display", "none", "-monitor", "none"]);
        command.args(["-serial", "stdio", "-no-reboot", "-append"]);
        command.arg(format!("console=ttyS0 quiet panic=-1 no_timer_check era={era}"));
        command.arg("-kernel").arg(files.join("vmlinuz")).arg("-initrd").arg(image);
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio", disk.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("qemu-system-x86_64 is to be had");
        let (send, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // The console can cut off a line.
            for line in out.split(b'\n').map_while(Result::ok) {
                drop(send.send(String::from_utf8_lossy(&line).trim().to_owned()));
            }
        });
        Machine { child, lines }
    }

    /// What it tells next, until a time. Panics with its console if it ends.
    fn hear(&self, until: Instant, console: &mut Vec<String>) -> Option<String> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => match line.strip_prefix('<').and_then(|line| line.strip_suffix('>')) {
                    Some(told) => return Some(told.to_owned()),
                    None => console.push(line),
                },
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return None,
                Err(_) => panic!("the machine has ended:\n{}", console.join("\n")),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn losses() {
    let files = PathBuf::from(std::env::var_os("CACHEMERE_MACHINE").expect("see make torture-machine"));
    let root = tempfile::tempdir().unwrap();
    let image = make_image(root.path(), &files);
    let disk = root.path().join("disk");
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(256 << 20).unwrap();
    let made = Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&disk).status();
    assert!(made.expect("mke2fs is to be had").success());

    let (mut dice, mut model) = (Dice::new(seed()), Model::default());
    let (mut safe, mut cut_off) = (0, 0);
    for boot in 0..=LOSSES {
        // The contents of steps follow from what is lost and written again, too.
        let machine = Machine::boot(&image, &files, &disk, boot);
        let mut console = Vec::new();
        let found = loop {
            match machine.hear(Instant::now() + BOOT, &mut console) {
                Some(told) if told.starts_with("found ") => break told,
                Some(_) => {}
                None => panic!("the machine says nothing:\n{}", console.join("\n")),
            }
        };
        let content = Content::read(found.strip_prefix("found ").unwrap());
        // What it was about to write is not known here, but what each step would have been.
        for (writer, count) in content.counts.iter().enumerate() {
            while model.begun()[writer] < *count {
                model.begin(writer, boot as u64 - 1, false);
            }
        }
        model.check(&content, &model.safe).unwrap_or_else(|why| panic!("boot {boot}: {why}"));
        cut_off += content.counts.iter().sum::<u64>() - model.safe.iter().sum::<u64>();
        model.restart(&content);
        if boot == LOSSES {
            break;
        }
        let until = Instant::now() + Duration::from_millis(dice.between(100, 4000) as u64);
        while let Some(told) = machine.hear(until, &mut console) {
            let words: Vec<&str> = told.split(' ').collect();
            if let ["safe", writer, number] = words[..] {
                let mut counts = Counts::default();
                counts[writer.parse::<usize>().unwrap()] = number.parse().unwrap();
                model.keep(&counts);
                safe += 1;
            }
        }
    }
    say(&format!(
        "{LOSSES} losses, {safe} checkpoints, {cut_off} steps found that were not known to be safe"
    ));
    assert!(safe > LOSSES, "{safe} checkpoints");
}

/// A file system in memory for the machine to boot from.
fn make_image(root: &Path, files: &Path) -> PathBuf {
    let tree = root.join("tree");
    for place in ["bin", "dev", "proc", "disk", "lib64"] {
        std::fs::create_dir_all(tree.join(place)).unwrap();
    }
    let copy = |from: &Path, to: &str| assert!(std::fs::copy(from, tree.join(to)).is_ok());
    copy(&files.join("busybox"), "bin/busybox");
    let program = std::env::current_exe().unwrap();
    let stripped = Command::new("strip").arg("-o").arg(tree.join("test")).arg(&program).status();
    if !stripped.is_ok_and(|status| status.success()) {
        copy(&program, "test");
    }
    // Each library where the program looks for it.
    let needed = Command::new("ldd").arg(&program).output().unwrap();
    for word in
        String::from_utf8(needed.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
    {
        let to = tree.join(word.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(word, to).unwrap();
    }
    let mut script = "#!/bin/busybox sh\nbb=/bin/busybox\n$bb mount -t proc proc /proc\n\
                      $bb mount -t devtmpfs dev /dev\n"
        .to_owned();
    for module in MODULES.iter().chain(&["virtio_blk"]) {
        copy(&files.join(format!("{module}.ko")), &format!("{module}.ko"));
        script += &format!("$bb insmod /{module}.ko\n");
    }
    script += "$bb mount -t ext4 /dev/vda /disk || exit 1\n\
               era=$($bb sed 's/.*era=\\([0-9]*\\).*/\\1/' /proc/cmdline)\n\
               CACHEMERE_TEST_ROLE=machine RUST_BACKTRACE=1 /test $era\n";
    let init = tree.join("init");
    std::fs::write(&init, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&init, executable).unwrap();
    let image = root.join("initrd");
    let packed = Command::new("sh")
        .arg("-c")
        .arg("find . | \"$1\" cpio -o -H newc > \"$2\"")
        .args(["sh", files.join("busybox").to_str().unwrap(), image.to_str().unwrap()])
        .current_dir(&tree)
        .status();
    assert!(packed.unwrap().success());
    image
}
