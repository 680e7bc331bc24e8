//! A network that can be slow: what goes through it is late by a set time, held, or cut, and never reordered.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked at whether to go on.
const ROUND: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    late: [AtomicU64; 2],
    is_over: AtomicBool,
    open: Mutex<Vec<Connection>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    held: Arc<[AtomicBool; 2]>,
}

impl Proxy {
    pub(crate) fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        listener.set_nonblocking(true).unwrap();
        let of_thread = shared.clone();
        thread::spawn(move || {
            while !of_thread.is_over() {
                match listener.accept() {
                    Ok((client, _)) => {
                        client.set_nonblocking(false).unwrap();
                        let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                        let held = Arc::<[AtomicBool; 2]>::default();
                        let too = |socket: &TcpStream| {
                            socket.set_nodelay(true).unwrap();
                            socket.try_clone().unwrap()
                        };
                        pass(of_thread.clone(), held.clone(), Way::ToServer, too(&client), too(&server));
                        pass(of_thread.clone(), held.clone(), Way::ToClient, too(&server), too(&client));
                        of_thread.open.lock().unwrap().push(Connection { client, server, held });
                    }
                    Err(_) => thread::sleep(ROUND),
                }
            }
        });
        Proxy { port, shared }
    }

    pub(crate) fn address(&self, store: &str) -> String {
        format!("valkey://127.0.0.1:{}/0?store={store}", self.port)
    }

    pub(crate) fn be_late(&self, way: Way, by: Duration) {
        self.shared.late[way as usize].store(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Lets nothing through this way of the connections there are, until it is told otherwise. What comes meanwhile waits.
    pub(crate) fn hold(&self, way: Way, held: bool) {
        for connection in self.shared.open.lock().unwrap().iter() {
            connection.held[way as usize].store(held, Ordering::SeqCst);
        }
    }

    /// Ends the client's side of all connections. What is held on the way to the server is still on its way.
    pub(crate) fn cut_clients(&self) {
        for connection in self.shared.open.lock().unwrap().iter() {
            drop(connection.client.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for Connection { client, server, .. } in self.shared.open.lock().unwrap().drain(..) {
            drop(client.shutdown(Shutdown::Both));
            drop(server.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

/// Reads at once and writes when it is time, in two threads, so that what is late does not come slower as well.
fn pass(shared: Arc<Shared>, held: Arc<[AtomicBool; 2]>, way: Way, mut from: TcpStream, mut to: TcpStream) {
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    let of_writer = shared.clone();
    thread::spawn(move || {
        for (at, bytes) in receiver {
            while !of_writer.is_over()
                && (held[way as usize].load(Ordering::SeqCst)
                    || at.elapsed()
                        < Duration::from_millis(of_writer.late[way as usize].load(Ordering::SeqCst)))
            {
                thread::sleep(Duration::from_micros(200));
            }
            if of_writer.is_over() || to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Write));
    });
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => {
                    if sender.send((Instant::now(), bytes[..read].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
}
