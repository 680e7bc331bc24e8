//! Requests of a tested process to the recorder, each of which waits for an answer. They go over standard input, which is a
//! socket.
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// The answer to a sync that fails.
pub(crate) const FAIL: &str = "fail";

/// What happened, or is about to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Something is about to be done.
    Before,
    /// Bytes of a file were written.
    Wrote,
    /// A hole was made in a file, which reads as zeros.
    Punched,
    /// A range of a file is about to be synced.
    Sync,
    /// A directory is about to be synced.
    SyncDirectory,
    /// Something was done.
    After,
    /// The last order was carried out, with a report; what is the next?
    Next,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Before, Kind::Wrote, Kind::Punched, Kind::Sync, Kind::SyncDirectory, Kind::After, Kind::Next];
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// The file, and the range in it.
    pub(crate) file: u64,
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) text: String,
}

impl Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind as u8];
        for number in [self.file, self.at, self.len] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.text.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Request {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Request {
            kind: Kind::ALL[bytes[0] as usize],
            file: number(1),
            at: number(9),
            len: number(17),
            text: String::from_utf8(bytes[25..].to_vec()).unwrap(),
        }
    }
}

fn send(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
    framed.extend_from_slice(bytes);
    to.write_all(&framed)
}

fn receive(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// In the recorder: the next request of a process, or its end.
pub(crate) fn next_request(from: &UnixStream) -> io::Result<Request> {
    receive(from).map(|bytes| Request::decode(&bytes))
}

/// In the recorder: lets a process go on.
pub(crate) fn answer(to: &UnixStream, text: &str) {
    // It may have ended.
    drop(send(to, text.as_bytes()));
}

/// Standard input, past the hooks.
struct Line;

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: a system call that writes into a buffer of that length.
        let read = unsafe { libc::syscall(libc::SYS_read, 0, buffer.as_mut_ptr(), buffer.len()) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }
}

impl Write for Line {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // SAFETY: a system call that reads from a buffer of that length.
        let written = unsafe { libc::syscall(libc::SYS_write, 0, buffer.as_ptr(), buffer.len()) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static TURN: Mutex<()> = Mutex::new(());

/// In a tested process: returns with the recorder's answer. Without a recorder the process ends.
pub(crate) fn ask(request: &Request) -> String {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = send(Line, &request.encode()).and_then(|()| receive(Line));
    match answer {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        // SAFETY: nothing of this process is needed any more.
        Err(_) => unsafe { libc::_exit(0) },
    }
}
