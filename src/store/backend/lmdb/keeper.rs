//! A thread that keeps a read transaction open: the pin that stops LMDB from reusing pages of the last checkpoint.
//!
//! It is a thread of its own because a read transaction belongs to the thread that opened it, and because a pin must
//! stay open while the thread that asked for it goes on reading.
#![allow(unsafe_code)]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use heed::{Env, WithTls};

use crate::error::{Error, Result};

enum Command {
    Pin,
    Release,
}

/// The address of an environment that outlives the thread it is sent to.
struct EnvAddress(*const Env<WithTls>);

// SAFETY: `Env` is `Sync`, so a shared reference to it may be used from another thread.
unsafe impl Send for EnvAddress {}

pub(crate) struct Keeper {
    /// `None` once the thread was told to end.
    commands: Option<SyncSender<Command>>,
    pinned: Receiver<Result<u64, heed::Error>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Safety
    ///
    /// `env` must neither move nor be dropped before the keeper is. (It is a reference without a lifetime, and not a
    /// clone of the `Env`, because in a forked child the clone would be left behind on the stack of a thread that no
    /// longer exists, and the child could never close the environment.)
    pub(crate) unsafe fn start(env: &Env<WithTls>) -> Result<Keeper> {
        let address = EnvAddress(env);
        let (commands, inbox) = sync_channel::<Command>(1);
        let (outbox, pinned) = sync_channel(1);
        let run = move || {
            let address = address;
            // SAFETY: the caller promises that the environment stays where it is until this thread has ended.
            let env = unsafe { &*address.0 };
            let mut pin = None;
            for command in inbox {
                // The old pin goes first: a thread can have one read transaction only.
                drop(pin.take());
                if let Command::Pin = command {
                    let reply = super::env::snapshot(env).map(|txn| {
                        let id = txn.id() as u64;
                        pin = Some(txn);
                        id
                    });
                    if outbox.send(reply).is_err() {
                        break;
                    }
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("cachemere-pin".into()).stack_size(128 << 10).spawn(run);
        let thread = thread.map_err(|e| Error::io("starting a thread", e))?;
        Ok(Keeper { commands: Some(commands), pinned, thread: Some(thread) })
    }

    /// Opens a read transaction on the newest snapshot, in place of the present one if any; returns its id.
    pub(crate) fn pin(&self) -> Result<u64> {
        self.send(Command::Pin)?;
        match self.pinned.recv() {
            Ok(reply) => reply.map_err(|e| super::env::lmdb_error(e, "opening a read transaction")),
            Err(_) => Err(gone()),
        }
    }

    pub(crate) fn release(&self) -> Result<()> {
        self.send(Command::Release)
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.as_ref().ok_or_else(gone)?.send(command).map_err(|_| gone())
    }

    /// Forgets a keeper that was inherited over a fork: its thread does not exist here.
    pub(crate) fn abandon(mut self) {
        std::mem::forget(self.thread.take());
        std::mem::forget(self);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // An error is a panic of the thread, which has unwound and thereby dropped its pin.
            drop(thread.join());
        }
    }
}

fn gone() -> Error {
    Error::Io {
        context: "the thread that pins checkpoints ended".into(),
        source: std::io::ErrorKind::BrokenPipe.into(),
    }
}
