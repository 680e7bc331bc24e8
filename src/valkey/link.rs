//! The connection to the server: one, which all threads of a process share, in a thread of its own.
//!
//! The socket, the protocol and the order of answers are redis-rs'. It calls the handler of the server's own messages in
//! the order of the socket: when an answer reaches who asked, everything that came before it has been handled. Here is
//! what it has not:
//!
//! - A connection is *up* when the one before it has been ended on the server, by its number, so that nothing that is
//!   still held up in the network is done after what is written from now on.
//! - A question is asked each 100 ms. Its answer proves that all messages up to the moment when it was asked are in, and
//!   tells the server's time, which all machines go by.
//! - While there is no connection, nobody waits for one: operations fail at once, with what the last attempt failed for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    Value,
};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::address::Address;
use super::patience::{ROUND, wait};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::store::this_process;
use crate::waiting::go_on_waiting;

/// The time between two questions whether all messages are in.
const BEAT: Duration = Duration::from_millis(100);
/// A connection that has not answered for so long is given up.
const DEAD: Duration = Duration::from_secs(10);
/// Pauses between attempts to connect, while operations fail.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Requests that wait for the thread; those of more callers wait in them.
const QUEUE: usize = 1024;

/// Who is told what the server tells by itself. In the thread of the link, in the order of the socket, so it must not wait.
pub(super) trait Listener: Send + Sync + 'static {
    /// Keys were changed, removed, expired or evicted, or the server cannot remember any more that they were read.
    fn changed(&self, key: &[u8]);
    /// Anything can have changed: the database was emptied, or the connection is a new one or lost.
    fn all_changed(&self);
    /// Everything that the server had to tell at this moment has been told.
    fn proven(&self, at: Instant);
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not sent.
    Down(String),
    /// It was sent, perhaps, and the answer did not come: lost with the connection of this number, or in time.
    Lost { detail: String, connection: Option<u64> },
    /// While it was waited for.
    Ended(Error),
}

pub(super) struct Link {
    shared: Arc<Shared>,
    work: AbortHandle,
    process: u64,
}

/// How to come to the server.
pub(super) struct Access {
    pub(super) address: Address,
    pub(super) password: Option<Zeroizing<String>>,
    /// How long an answer may take, and a connection to be made.
    pub(super) patience: Duration,
}

struct Shared {
    access: Arc<Access>,
    listener: Arc<dyn Listener>,
    state: Mutex<State>,
    changed: Condvar,
    began: Instant,
    /// The server's time at `began`, in microseconds.
    clock: AtomicU64,
}

enum State {
    /// For the first time, or just lost.
    Connecting,
    Up {
        connection: MultiplexedConnection,
        number: u64,
    },
    Down(String),
}

/// What tells a connection from all others of the server, also when it was started anew.
struct Name {
    id: String,
    address: String,
}

impl Link {
    /// Begins to connect.
    pub(super) fn open(access: Arc<Access>, listener: Arc<dyn Listener>) -> Result<Link> {
        let failed = |e| Error::io("starting the thread of a connection to a server", e);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let shared = Arc::new(Shared {
            access,
            listener,
            state: Mutex::new(State::Connecting),
            changed: Condvar::new(),
            began: Instant::now(),
            clock: AtomicU64::new(Time::from_system(std::time::SystemTime::now()).0),
        });
        let running = runtime.spawn(run(shared.clone()));
        let work = running.abort_handle();
        let thread = std::thread::Builder::new().name("cachemere-valkey".into());
        thread.spawn(move || drop(runtime.block_on(running))).map_err(failed)?;
        Ok(Link { shared, work, process: this_process() })
    }

    /// The server's time.
    pub(super) fn now(&self) -> Time {
        let elapsed = u64::try_from(self.shared.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Time(self.shared.clock.load(Ordering::Relaxed).saturating_add(elapsed))
    }

    pub(super) fn address(&self) -> &Address {
        &self.shared.access.address
    }

    /// Sends commands in one go, and gives back an answer to each: errors of the server are among them.
    pub(super) fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        self.ask_until(commands, self.deadline())
    }

    /// The same of what may be done twice: where a connection was lost it is asked again on the next one, in the same time.
    pub(super) fn ask_again(&self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let until = self.deadline();
        match self.ask_until(commands, until) {
            Err(Failure::Lost { connection: Some(lost), .. }) => {
                self.wait_for_next(lost, until)?;
                self.ask_until(commands, until)
            }
            done => done,
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.access.patience
    }

    fn ask_until(&self, commands: &Pipeline, until: Instant) -> Result<Vec<Value>, Failure> {
        let (mut connection, number) = self.connection(until)?;
        match wait(connection.send_packed_commands(commands, 0, commands.len()), until) {
            Ok(Some(Ok(answers))) if answers.len() == commands.len() => Ok(answers),
            Ok(Some(Ok(_))) => {
                Err(Failure::Lost { detail: "an answer is missing".to_owned(), connection: None })
            }
            Ok(Some(Err(error))) => {
                Err(Failure::Lost { detail: error.to_string(), connection: Some(number) })
            }
            Ok(None) => {
                let detail = format!("no answer within {:?}", self.shared.access.patience);
                Err(Failure::Lost { detail, connection: None })
            }
            Err(interrupted) => Err(Failure::Ended(interrupted)),
        }
    }

    fn connection(&self, until: Instant) -> Result<(MultiplexedConnection, u64), Failure> {
        let mut state = self.shared.state();
        loop {
            match &*state {
                State::Up { connection, number } => return Ok((connection.clone(), *number)),
                State::Down(why) => return Err(Failure::Down(why.clone())),
                State::Connecting => state = self.pause(state, until)?,
            }
        }
    }

    fn wait_for_next(&self, lost: u64, until: Instant) -> Result<(), Failure> {
        let mut state = self.shared.state();
        while matches!(&*state, State::Up { number, .. } if *number == lost) {
            state = self.pause(state, until)?;
        }
        Ok(())
    }

    fn pause<'s>(
        &self,
        state: MutexGuard<'s, State>,
        until: Instant,
    ) -> Result<MutexGuard<'s, State>, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Down(format!("no connection within {:?}", self.shared.access.patience)));
        }
        let woken = self.shared.changed.wait_timeout(state, left.min(ROUND));
        let (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        if let Err(interrupted) = go_on_waiting() {
            return Err(Failure::Ended(interrupted));
        }
        Ok(state)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.process == this_process() {
            self.work.abort();
        } else {
            // It is another process's thread that has the connection, and can have locked anything.
            std::mem::forget(self.shared.clone());
            std::mem::forget(self.work.clone());
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", self.address()).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }

    /// Takes over the time that the server has told, asked for at `asked`.
    fn take_time(&self, asked: Instant, answer: &Value) -> Option<()> {
        let Value::Array(parts) = answer else { return None };
        let number = |at: usize| match parts.get(at) {
            Some(Value::BulkString(digits)) => str::from_utf8(digits).ok()?.parse::<u64>().ok(),
            _ => None,
        };
        let told = number(0)?.checked_mul(1_000_000)?.checked_add(number(1)?)?;
        // It was that late after half of the way there and back.
        let then = asked.saturating_duration_since(self.began) + asked.elapsed() / 2;
        let then = u64::try_from(then.as_micros()).unwrap_or(u64::MAX);
        self.clock.store(told.saturating_sub(then), Ordering::Relaxed);
        Some(())
    }
}

/// Connects, again and again, until it is aborted.
async fn run(shared: Arc<Shared>) {
    let mut before: Option<Name> = None;
    let mut pause = FIRST_PAUSE;
    for number in 0.. {
        match timeout(shared.access.patience, connect(&shared, &mut before)).await {
            Ok(Ok((connection, mut driver))) => {
                pause = FIRST_PAUSE;
                shared.listener.all_changed();
                shared.set(State::Up { connection: connection.clone(), number });
                attend(&shared, connection, &mut driver).await;
                driver.abort();
                shared.set(State::Connecting);
                shared.listener.all_changed();
            }
            failed => {
                let why = match failed {
                    Ok(Err(why)) => why,
                    _ => format!("no connection within {:?}", shared.access.patience),
                };
                shared.set(State::Down(why));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

type Connected = (MultiplexedConnection, JoinHandle<()>);

async fn connect(shared: &Arc<Shared>, before: &mut Option<Name>) -> Result<Connected, String> {
    let Access { address, password, .. } = &*shared.access;
    let socket =
        TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|e| e.to_string())?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(address.database.into())
        .set_skip_set_lib_name();
    if let Some(user) = &address.user {
        info = info.set_username(user);
    }
    if let Some(password) = password {
        info = info.set_password(password.as_str());
    }
    let listener = shared.listener.clone();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
        .set_push_sender(move |push: PushInfo| {
            hear(&*listener, &push);
            Ok::<(), ()>(())
        });
    let made = MultiplexedConnection::new_with_config(&info, socket, config).await;
    let (mut connection, driver) = made.map_err(told)?;
    let driver = AbortOnDrop(Some(tokio::spawn(driver)));
    let name = Name::ask(&mut connection).await?;
    if let Some(old) = before {
        old.end(&mut connection).await?;
    }
    *before = Some(name);
    let asked = Instant::now();
    let mut commands = redis::pipe();
    commands.cmd("CLIENT").arg("TRACKING").arg("ON").cmd("TIME");
    let answers = connection.send_packed_commands(&commands, 0, 2).await.map_err(told)?;
    for (answer, command) in answers.iter().zip(["CLIENT TRACKING", "TIME"]) {
        if let Value::ServerError(error) = answer {
            return Err(format!("{command}: {}", RedisError::from(error.clone())));
        }
    }
    answers.get(1).and_then(|time| shared.take_time(asked, time)).ok_or("TIME: not understood")?;
    Ok((connection, driver.keep()))
}

/// Asks at each beat, until the connection is lost or does not answer any more.
async fn attend(shared: &Shared, mut connection: MultiplexedConnection, driver: &mut JoinHandle<()>) {
    loop {
        let asked = Instant::now();
        match timeout(DEAD, connection.send_packed_command(&redis::cmd("TIME"))).await {
            Ok(Ok(answer)) if shared.take_time(asked, &answer).is_some() => shared.listener.proven(asked),
            _ => return,
        }
        if timeout(BEAT, &mut *driver).await.is_ok() {
            return;
        }
    }
}

/// Tells the listener what the server has told.
fn hear(listener: &dyn Listener, push: &PushInfo) {
    match (&push.kind, push.data.first()) {
        (PushKind::Invalidate, Some(Value::Array(keys))) => {
            for key in keys {
                match key {
                    Value::BulkString(key) => listener.changed(key),
                    _ => listener.all_changed(),
                }
            }
        }
        (PushKind::Invalidate | PushKind::Disconnection, _) => listener.all_changed(),
        _ => {}
    }
}

impl Name {
    async fn ask(connection: &mut MultiplexedConnection) -> Result<Name, String> {
        let answer = connection.send_packed_command(redis::cmd("CLIENT").arg("INFO")).await.map_err(told)?;
        let text = match answer {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
            Value::ServerError(error) => return Err(format!("CLIENT INFO: {}", RedisError::from(error))),
            _ => return Err("CLIENT INFO: not understood".to_owned()),
        };
        let field = |name: &str| text.split_ascii_whitespace().find_map(|field| field.strip_prefix(name));
        let (Some(id), Some(address)) = (field("id="), field("addr=")) else {
            return Err("CLIENT INFO: not understood".to_owned());
        };
        Ok(Name { id: id.to_owned(), address: address.to_owned() })
    }

    /// Ends the connection of this name, if there still is one.
    async fn end(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let mut command = redis::cmd("CLIENT");
        command.arg("KILL").arg("ID").arg(&self.id).arg("ADDR").arg(&self.address);
        match connection.send_packed_command(&command).await.map_err(told)? {
            Value::ServerError(error) => Err(format!("CLIENT KILL: {}", RedisError::from(error))),
            _ => Ok(()),
        }
    }
}

/// What redis-rs says, in which there is no password.
fn told(error: RedisError) -> String {
    error.to_string()
}

/// A driver that ends with the attempt to connect, unless that succeeds.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().unwrap_or_else(|| tokio::spawn(std::future::ready(())))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What everything here rests on, should redis-rs ever change: a message that stands before an answer on the socket has
    /// been handled when the answer is handed out.
    #[test]
    fn messages_are_handled_before_the_answers_behind_them() {
        const ROUNDS: u64 = 2000;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            let mut say = socket.try_clone().unwrap();
            let mut hear = || {
                // All of a command comes at once, since it is sent alone.
                let mut command = [0; 512];
                let length = socket.read(&mut command).unwrap();
                assert_ne!(length, 0);
            };
            hear();
            say.write_all(b"%1\r\n+proto\r\n:3\r\n").unwrap();
            for round in 0..ROUNDS {
                hear();
                let message = b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n";
                let answer = format!(":{round}\r\n");
                // In one packet, or behind a pause.
                if round % 100 == 0 {
                    say.write_all(message).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                    say.write_all(answer.as_bytes()).unwrap();
                } else {
                    say.write_all(&[&message[..], answer.as_bytes()].concat()).unwrap();
                }
            }
        });

        let handled = Arc::new(AtomicU64::new(0));
        let counted = handled.clone();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().unwrap();
        let info =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let connected = runtime.block_on(async {
            let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let config = AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(
                move |push: PushInfo| {
                    if push.kind == PushKind::Invalidate {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok::<(), ()>(())
                },
            );
            MultiplexedConnection::new_with_config(&info, socket, config).await
        });
        let (mut connection, driver) = connected.unwrap();
        // As it is used: the answers are waited for in another thread.
        let attending = std::thread::spawn(move || runtime.block_on(driver));
        for round in 0..ROUNDS {
            let command = redis::cmd("GET");
            let asked = connection.send_packed_command(&command);
            let answer =
                wait(asked, Instant::now() + Duration::from_secs(60)).unwrap().expect("in time").unwrap();
            assert_eq!(answer, Value::Int(round as i64));
            assert_eq!(handled.load(Ordering::SeqCst), round + 1);
        }
        server.join().unwrap();
        drop(connection);
        attending.join().unwrap();
    }
}
