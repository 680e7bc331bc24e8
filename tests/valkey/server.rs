//! Servers to test with, each for one test: on a port of its own, with nothing on the disk, and gone when the test is.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const TO_START: Duration = Duration::from_secs(20);

/// The programs there are: those that `make test-valkey` has fetched, and what is installed.
pub(crate) fn programs() -> Vec<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(fetched).into_iter().flatten().filter_map(|file| Some(file.ok()?.path())).collect();
    found.extend(
        ["/usr/bin/redis-server", "/usr/bin/valkey-server"]
            .map(PathBuf::from)
            .into_iter()
            .filter(|it| it.exists()),
    );
    found.sort();
    found
}

/// A server that runs, until it is dropped or the thread that started it ends, by whatever.
pub(crate) struct Server {
    program: PathBuf,
    child: Child,
    port: u16,
    more: Vec<String>,
}

impl Server {
    pub(crate) fn start(program: &Path, more: &[&str]) -> Server {
        let more: Vec<String> = more.iter().map(|&it| it.to_owned()).collect();
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = launch(program, port, &more) {
                return Server { program: program.to_owned(), child, port, more };
            }
        }
        panic!("{} does not start", program.display());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address of a store in it.
    pub(crate) fn address(&self, store: &str) -> String {
        format!("valkey://127.0.0.1:{}/0?store={store}", self.port)
    }

    /// Ends it, as by a crash, and starts it again, empty, at the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = launch(&self.program, self.port, &self.more).expect("the port is still free");
    }

    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends one command by itself and gives back what is answered, as it comes.
    pub(crate) fn tell(&self, command: &str) -> String {
        ask(self.port, command).expect("the server answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `None`: something else has taken the port.
#[allow(unsafe_code)]
fn launch(program: &Path, port: u16, more: &[String]) -> Option<Child> {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--daemonize", "no", "--loglevel", "warning"]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    // SAFETY: a system call that allocates nothing.
    #[cfg(target_os = "linux")]
    unsafe {
        command.pre_exec(|| {
            let signal = Some(rustix::process::Signal::KILL);
            Ok(rustix::process::set_parent_process_death_signal(signal)?)
        });
    }
    let mut child = command.spawn().expect("the server can be started");
    let begun = Instant::now();
    while begun.elapsed() < TO_START {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        // Without a password, with one, and while it loads.
        if ask(port, "PING")
            .is_some_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
        {
            return Some(child);
        }
        sleep(Duration::from_millis(10));
    }
    drop(child.kill());
    drop(child.wait());
    None
}

fn ask(port: u16, command: &str) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    socket.write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut answer = vec![0; 4096];
    let length = socket.read(&mut answer).ok()?;
    answer.truncate(length);
    String::from_utf8(answer).ok().filter(|it| !it.is_empty())
}
