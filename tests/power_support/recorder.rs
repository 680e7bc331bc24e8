//! The processes that live, and their requests in one order.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use super::setting::Setting;
use super::wire::{Request, answer, next_request};
use crate::damage_support::HANG;

/// Names one of the crate's rules that is to be broken, in a build for tests.
pub(crate) const BREAK: &str = "CACHEMERE_BREAK";

pub(crate) struct Process {
    pub(crate) id: u64,
    child: Child,
    line: UnixStream,
}

impl Process {
    pub(crate) fn answer(&self, text: &str) {
        answer(&self.line, text);
    }

    /// Ends the process as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn ended(&mut self) -> String {
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Recorder {
    inbox: Receiver<(u64, Option<Request>)>,
    sender: Sender<(u64, Option<Request>)>,
    started: u64,
    /// A rule that the processes are to break.
    broken: Option<&'static str>,
}

impl Recorder {
    pub(crate) fn new(broken: Option<&'static str>) -> Recorder {
        let (sender, inbox) = channel();
        Recorder { inbox, sender, started: 0, broken }
    }

    pub(crate) fn start(&mut self, role: &str, arguments: &[&str]) -> Process {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments).env("CACHEMERE_TEST_ROLE", role).stdin(Stdio::from(OwnedFd::from(theirs)));
        command.stdout(Stdio::null());
        if let Some(rule) = self.broken {
            // Then it is expected to fail.
            command.env(BREAK, rule);
            if std::env::var_os("CACHEMERE_KEEP").is_none() {
                command.stderr(Stdio::null());
            }
        }
        let child = command.spawn().unwrap();
        self.started += 1;
        let (id, to, from) = (self.started, self.sender.clone(), ours.try_clone().unwrap());
        std::thread::spawn(move || {
            loop {
                match next_request(&from) {
                    Ok(request) => drop(to.send((id, Some(request)))),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => {
                        drop(to.send((id, None)));
                        return;
                    }
                }
            }
        });
        Process { id, child, line: ours }
    }

    /// The next request of any process, or its end.
    pub(crate) fn next(&self) -> Result<(u64, Option<Request>), String> {
        self.inbox.recv_timeout(HANG).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("HANG: nobody has said anything for {HANG:?}"),
            RecvTimeoutError::Disconnected => unreachable!("a sender is kept"),
        })
    }
}

/// A process that opens images, and what it makes of them.
pub(crate) struct Checker {
    recorder: Recorder,
    process: Option<Process>,
    setting: Setting,
}

impl Checker {
    pub(crate) fn new(setting: Setting, broken: Option<&'static str>) -> Checker {
        Checker { recorder: Recorder::new(broken), process: None, setting }
    }

    /// What an image holds, as a line.
    pub(crate) fn look_at(&mut self, dir: &std::path::Path) -> Result<String, String> {
        let hear = |recorder: &Recorder, process: &mut Process| loop {
            match recorder.next()? {
                (id, Some(request)) if id == process.id => return Ok(request.text),
                (id, None) if id == process.id => {
                    return Err(format!("UNSOUND: opening an image ended with {}", process.ended()));
                }
                _ => {}
            }
        };
        if self.process.is_none() {
            let mut process = self.recorder.start("checker", &[]);
            hear(&self.recorder, &mut process)?;
            self.process = Some(process);
        }
        let process = self.process.as_mut().unwrap();
        process.answer(&format!("{} {}", self.setting.told(), dir.to_str().unwrap()));
        let heard = hear(&self.recorder, process);
        if heard.is_err() {
            self.process = None;
        }
        heard
    }
}
