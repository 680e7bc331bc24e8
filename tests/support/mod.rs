//! What the tests with several processes share: child processes of the same test binary, words of shared memory, and
//! numbers that look random.
//!
//! A test binary that uses this has no test harness of its own (`harness = false`): its `main` hands over to
//! [`run`], which either plays the role that a parent process asked for or runs the tests.
#![allow(dead_code, unsafe_code)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

/// The first argument of a process that plays a role instead of running tests.
const ROLE: &str = "play-role";
/// Longer than anything may take on a busy machine; who waits so long is stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(60);

/// A test: its name, which is the promise it checks, and what it does.
pub(crate) type Test = (&'static str, fn());

/// A role: its name, and what it does with its arguments.
pub(crate) type Part<'a> = (&'a str, fn(&[String]));

/// Plays a role if this process was started by [`Role::start`], else runs the tests.
pub(crate) fn run(roles: &[Part<'_>], tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, marker, name, rest @ ..] = arguments.as_slice()
        && marker == ROLE
    {
        let role = roles.iter().find(|(role, _)| role == name);
        role.unwrap_or_else(|| panic!("no role {name}")).1(rest);
        return ExitCode::SUCCESS;
    }
    let trial = |(name, test): &Test| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    let trials = tests.iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Whether the long forms of the tests are asked for.
pub(crate) fn torture() -> bool {
    std::env::var_os("CACHEMERE_TORTURE").is_some()
}

/// One of two numbers: for the short form and the long one.
pub(crate) fn rounds(short: u64, long: u64) -> u64 {
    if torture() { long } else { short }
}

/// A directory that is removed at the end of the test, and the path of a store in it that does not exist yet.
pub(crate) fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

/// A child process that plays a role. It is killed when this is dropped.
pub(crate) struct Role {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Role {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Role {
        Role::run(Command::new(std::env::current_exe().unwrap()), name, arguments)
    }

    /// One that is killed, or with `stop:` in front stopped, at a named place: `NAME:N`.
    pub(crate) fn start_with_fault(fault: &str, name: &str, arguments: &[&str]) -> Role {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("CACHEMERE_FAULT", fault);
        Role::run(command, name, arguments)
    }

    /// One that another program starts, which takes program and arguments behind its own.
    pub(crate) fn start_under(program: &[&str], name: &str, arguments: &[&str]) -> Role {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(std::env::current_exe().unwrap());
        Role::run(command, name, arguments)
    }

    fn run(mut command: Command, name: &str, arguments: &[&str]) -> Role {
        command.arg(ROLE).arg(name).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdin = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = channel();
        // Reads on while the test does other things, so that the child never waits for room in the pipe.
        std::thread::spawn(move || {
            let mut output = output;
            loop {
                let mut line = String::new();
                // What was cut off by a kill is no line.
                if output.read_line(&mut line).unwrap_or(0) == 0 || !line.ends_with('\n') {
                    break;
                }
                line.pop();
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Role { process, stdin, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line the child says; `None` when it has said everything and its end of the pipe is closed.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(STUCK) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("process {} says nothing: stuck", self.pid()),
        }
    }

    /// Waits for one certain line.
    pub(crate) fn expect(&self, expected: &str) {
        assert_eq!(self.line().as_deref(), Some(expected));
    }

    /// All lines until the child's end of the pipe is closed.
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// The lines that have come by now.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// Tells the child, by the end of its input, that it has done enough.
    pub(crate) fn finish(&mut self) {
        self.stdin = None;
    }

    /// Kills the child with `SIGKILL` and waits until the kernel has taken everything from it.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for the child to end, by itself or because it was killed.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.wait()
    }

    /// How the child has ended, if it has.
    pub(crate) fn ended_by_now(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Waits until the child is stopped; `false` if it has ended instead.
    pub(crate) fn is_stopped(&mut self) -> bool {
        let since = Instant::now();
        loop {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if self.is_stopped_now() {
                return true;
            }
            assert!(since.elapsed() < STUCK, "process {} was not stopped", self.pid());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn is_stopped_now(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Behind the name in parentheses.
        stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('T'))
    }

    /// Lets a child that is stopped go on.
    pub(crate) fn go_on(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    }

    /// The next line, if one comes in time.
    pub(crate) fn line_within(&self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// Waits for the child to end by itself, and asserts that it ended well.
    pub(crate) fn join(mut self) {
        self.finish();
        let status = self.wait();
        assert!(status.success(), "process {} failed: {status}", self.pid());
    }

    fn wait(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < STUCK, "process {} is stuck", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Fails if the child has ended, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Says a line to the process that started this one.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Waits for a line from the process that started this one; `None` when it wants no more.
pub(crate) fn hear() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).unwrap();
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Waits until the process that started this one wants no more.
pub(crate) fn hear_the_end() {
    drop(std::io::stdin().lock().read_to_end(&mut Vec::new()));
}

/// Numbers that look random (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Different for every process and call.
    pub(crate) fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Random(now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 40))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub(crate) fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Words of memory shared by all processes that map the same file, parents and forked children among them.
pub(crate) struct SharedWords {
    words: *mut AtomicU64,
    len: usize,
}

// SAFETY: the memory is only ever used as atomic words.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the file, which is made with zeros if it does not exist.
    pub(crate) fn map(path: &Path, len: usize) -> SharedWords {
        use std::os::fd::AsRawFd;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(8 * len as u64).unwrap();
        // SAFETY: a new shared mapping of a file that is long enough; nothing else is at its address.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                8 * len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(address, libc::MAP_FAILED);
        SharedWords { words: address.cast(), len }
    }
}

impl std::ops::Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has `len` words, is aligned to a page, and is never unmapped.
        unsafe { std::slice::from_raw_parts(self.words, self.len) }
    }
}
