//! What the tests of damage, power loss and limits share: children of this very test binary, and random numbers.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod lmdb;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// Names the part a child plays. Its arguments follow on the command line.
pub(crate) const ROLE: &str = "CACHEMERE_TEST_ROLE";
/// A child that says nothing for so long hangs.
pub(crate) const HANG: Duration = Duration::from_secs(90);

/// Whether the long form of the tests was asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("CACHEMERE_TORTURE").is_some()
}

/// `short`, or `long` in the long form.
pub(crate) fn by_form<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// The `main` of a test binary: plays a child's part if started for one, else runs the tests.
pub(crate) fn main_with(play: fn(&str, &[String]), tests: Vec<(&'static str, fn())>) {
    if let Ok(role) = std::env::var(ROLE) {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        play(&role, &arguments);
        return;
    }
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// Where a child runs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    /// A file that stands in for the boot id.
    pub(crate) boot_id: Option<&'a Path>,
    /// A directory on which a tmpfs of so many KiB is mounted for the child alone.
    pub(crate) small_disk: Option<(&'a Path, u64)>,
    /// Whether a write beyond the limit on file sizes is an error instead of a signal.
    pub(crate) ignores_file_size_signal: bool,
}

/// A running child of this test binary, which talks in lines.
pub(crate) struct Peer {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<String>,
    pub(crate) name: String,
}

impl Peer {
    pub(crate) fn start(role: &str, arguments: &[&str]) -> Peer {
        Peer::start_in(Place::default(), role, arguments)
    }

    /// Starts a child in a mount namespace of its own where its place needs one.
    ///
    /// Mounting takes root, or a user namespace, which most systems let everybody make.
    pub(crate) fn start_in(place: Place<'_>, role: &str, arguments: &[&str]) -> Peer {
        let program = std::env::current_exe().unwrap();
        let mut script = String::new();
        let mut extra = Vec::new();
        if let Some(file) = place.boot_id {
            extra.push(file.to_str().unwrap().to_owned());
            script +=
                &format!("mount --bind \"${}\" /proc/sys/kernel/random/boot_id || exit 97; ", extra.len());
        }
        if let Some((dir, kib)) = place.small_disk {
            extra.push(dir.to_str().unwrap().to_owned());
            script += &format!("mount -t tmpfs -o size={kib}k tmpfs \"${}\" || exit 97; ", extra.len());
        }
        let mounts = !script.is_empty();
        if place.ignores_file_size_signal {
            script += "trap '' XFSZ; ";
        }
        let mut command = match (mounts, script.is_empty()) {
            (_, true) => Command::new(&program),
            (mounts, false) => {
                let mut command = if mounts {
                    let mut unshare = Command::new("unshare");
                    unshare.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" });
                    unshare.args(["sh", "-c"]);
                    unshare
                } else {
                    let mut sh = Command::new("sh");
                    sh.arg("-c");
                    sh
                };
                script += &format!("shift {}; exec \"$0\" \"$@\"", extra.len());
                command.arg(&script).arg(&program).args(&extra);
                command
            }
        };
        command.args(arguments).env(ROLE, role);
        Peer::of(command, &format!("{role} {arguments:?}"))
    }

    /// Starts what is a child of this test binary.
    pub(crate) fn of(mut command: Command, name: &str) -> Peer {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("starting {command:?}: {e}"));
        let to = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, from) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { break };
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Peer { child, to, from, name: name.to_owned() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn say(&mut self, line: &str) {
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{line}\n").as_bytes()).and_then(|()| to.flush()).unwrap_or_else(|e| {
            panic!("{}: cannot be told {line:?}: {e}", self.name);
        });
    }

    /// The next line; `None` when the child has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        match self.from.recv_timeout(HANG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let name = self.name.clone();
                let state =
                    std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
                self.kill();
                panic!("{name}: has said nothing for {HANG:?}; it was {state}");
            }
        }
    }

    /// As [`hear`](Self::hear), for a child that may be silent for long or hang, which is for the caller to judge.
    pub(crate) fn hear_within(&mut self, patience: Duration) -> Result<String, RecvTimeoutError> {
        self.from.recv_timeout(patience)
    }

    /// The next line, which must begin with `word`; the rest of it.
    pub(crate) fn expect(&mut self, word: &str) -> String {
        match self.hear() {
            Some(line) => match line.strip_prefix(word) {
                Some(rest) => rest.trim().to_owned(),
                None => panic!("{}: said {line:?}, not {word:?}", self.name),
            },
            None => {
                let status = self.child.wait().unwrap();
                assert_ne!(
                    status.code(),
                    Some(97),
                    "{}: cannot mount in a namespace of its own; this test needs root or unprivileged user \
                     namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
                    self.name
                );
                panic!("{}: ended with {status} and did not say {word:?}", self.name);
            }
        }
    }

    /// Says a line and expects an answer.
    pub(crate) fn ask(&mut self, line: &str, word: &str) -> String {
        self.say(line);
        self.expect(word)
    }

    /// Ends the child at once, without a chance to clean up.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }

    /// Closes the child's input and waits for it to end by itself.
    pub(crate) fn finish(&mut self) -> ExitStatus {
        self.to = None;
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if since.elapsed() > HANG {
                self.kill();
                panic!("{}: does not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Stops all threads of the child, and returns when they are.
    pub(crate) fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
        let since = Instant::now();
        while !self.is_stopped() {
            assert!(since.elapsed() < HANG, "{}: does not stop", self.name);
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.id())) else { return true };
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // After the name in parentheses; a thread that is gone has none.
            stat.rsplit(')')
                .next()
                .is_none_or(|rest| matches!(rest.trim().chars().next(), None | Some('T' | 'Z')))
        })
    }

    pub(crate) fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines a child is told; ends the child when there are no more.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

/// Answers the parent.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// Numbers that look random and come again with the same seed (xorshift64*).
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D);
        dice.roll();
        dice
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 |= u64::from(self.0 == 0);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.roll() >> 11) % bound.max(1) as u64) as usize
    }

    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.roll().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// A seed that differs from run to run, printed so that a failure can be played again with `CACHEMERE_SEED`.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("CACHEMERE_SEED") {
        Ok(seed) => seed.parse().expect("CACHEMERE_SEED is a number"),
        Err(_) => std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 & 0xFFFF_FFFF,
    };
    say(&format!("seed {seed} (set CACHEMERE_SEED to play it again)"));
    seed
}

/// A line of the test's report. Tests of this kind have no captured output to print to.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "    {line}"));
}

/// A directory for stores whose syncs need not reach a disk: in memory where there is room for it.
pub(crate) fn quick_dir() -> tempfile::TempDir {
    const ENOUGH: u64 = 512 << 20;
    let memory = Path::new("/dev/shm");
    match rustix::fs::statvfs(memory) {
        Ok(found) if found.f_bavail * found.f_frsize > ENOUGH => tempfile::tempdir_in(memory),
        _ => tempfile::tempdir(),
    }
    .unwrap()
}

/// Copies the files of a directory, without those in directories of it.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}
