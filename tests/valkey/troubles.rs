//! What goes wrong: each is an error of its own, in time, and does no harm.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use cachemere::valkey::{Remote, RemoteBuilder};
use cachemere::{Condition, Error};

use crate::Test;
use crate::proxy::{Proxy, Way};
use crate::server::Server;
use crate::support::{STUCK, rounds};

pub(crate) const TESTS: &[Test] = &[
    ("a_server_that_is_not_there_is_told_in_time", not_there),
    ("a_server_that_comes_back_is_used_again", comes_back),
    ("a_wrong_password_is_told_and_never_shown", passwords),
    ("what_a_user_may_not_do_is_named", rights),
    ("a_change_whose_answer_is_lost_is_uncertain_and_not_done_twice", lost_answers),
    ("an_answer_that_is_late_ends_no_connection", late_answers),
    ("what_was_held_up_does_not_overwrite_what_came_after", late_writes),
    ("a_forked_child_has_a_connection_of_its_own", forked),
    ("a_database_that_is_emptied_is_empty_and_goes_on", emptied),
];

/// Until it is not an error any more.
fn at_last<T>(mut work: impl FnMut() -> cachemere::Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match work() {
            Ok(done) => return done,
            Err(error) if begun.elapsed() > STUCK => panic!("still {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn payload(remote: &Remote, key: &[u8]) -> Option<Vec<u8>> {
    remote.get(key).unwrap().map(|found| found.payload.to_vec())
}

fn not_there(_: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [closed, silent] {
        let begun = Instant::now();
        let address = format!("valkey://127.0.0.1:{port}");
        let opened = Remote::builder(&address).answer_within(Duration::from_millis(300)).open();
        let error = opened.expect_err("nobody is there");
        assert!(error.is_unreachable() && error.to_string().contains(&address), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

fn comes_back(program: &Path) {
    let mut server = Server::start(program, &[]);
    let remote = Remote::builder(server.address("app")).open().unwrap();
    remote.insert(b"key", b"1", 0, None).unwrap();
    assert!(payload(&remote, b"key").is_some());
    server.kill();
    // As soon as it is known nobody waits, nor is anything given that was in memory longer than it may.
    let begun = Instant::now();
    while remote.get(b"key").is_ok() {
        assert!(begun.elapsed() < STUCK);
    }
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(remote.get(b"key").unwrap_err().is_unreachable());
        assert!(remote.insert(b"key", b"2", 0, None).unwrap_err().is_unreachable());
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.restart();
    assert_eq!(at_last(|| remote.get(b"key")), None);
    remote.insert(b"key", b"3", 0, None).unwrap();
    assert_eq!(payload(&remote, b"key").as_deref(), Some(&b"3"[..]));
}

fn passwords(program: &Path) {
    let server = Server::start(program, &["--requirepass", "the right one"]);
    let builder = || Remote::builder(server.address("app")).answer_within(Duration::from_secs(20));
    let refused = |builder: RemoteBuilder, said: &str| {
        let shown = format!("{builder:?}");
        let error = builder.open().expect_err("it is to be refused");
        let shown = format!("{shown} {error} {error:?}");
        assert!(shown.contains(said) && !shown.contains("hidden"), "{shown}");
    };
    refused(builder().password("hidden"), "WRONGPASS");
    refused(builder(), "NOAUTH");
    refused(Remote::builder(format!("valkey://user:hidden@127.0.0.1:{}", server.port())), "a password in it");
    let remote = builder().password("the right one").open().unwrap();
    remote.insert(b"key", b"1", 0, None).unwrap();
    assert!(!format!("{remote:?}").contains("right"));
}

fn rights(program: &Path) {
    let server = Server::start(program, &[]);
    drop(Remote::builder(server.address("app")).open().unwrap());
    for (without, operation) in
        [("-set", "the insertion"), ("-client|tracking", "CLIENT TRACKING"), ("-mget", "the read")]
    {
        server.tell("ACL DELUSER app");
        let made = server.tell(&format!("ACL SETUSER app on >secret ~* &* +@all {without}"));
        assert!(made.starts_with("+OK"), "{made}");
        let address = format!("valkey://app@127.0.0.1:{}/0?store=app", server.port());
        let error = Remote::builder(address).password("secret").open().and_then(|remote| {
            remote.get(b"key")?;
            remote.insert(b"key", b"1", 0, None)
        });
        let error = error.expect_err(without);
        let shown = error.to_string();
        assert!(shown.contains(operation) && shown.contains("no permissions"), "{without}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

fn lost_answers(program: &Path) {
    let server = Server::start(program, &[]);
    let proxy = Proxy::start(server.port());
    let patience = Duration::from_millis(300);
    let remote = Remote::builder(proxy.address("app")).answer_within(patience).open().unwrap();
    let direct = Remote::builder(server.address("app")).max_stale(Duration::ZERO).open().unwrap();
    // The server has the script from here on, so that it is its answer that is lost.
    direct.insert_if(b"first", b"1", 0, None, Condition::Absent).unwrap();
    for (n, cuts) in [(0u8, false), (1, true)] {
        let key = [n];
        proxy.hold(Way::ToClient, true);
        let error = std::thread::scope(|scope| {
            let lost = scope.spawn(|| remote.insert_if(&key, b"1", 0, None, Condition::Absent));
            if cuts {
                at_last(|| direct.get(&key).and_then(|it| it.ok_or(Error::EmptyKey)));
                proxy.cut_clients();
            }
            lost.join().unwrap().expect_err("its answer is lost")
        });
        assert!(error.is_uncertain(), "{error}");
        proxy.hold(Way::ToClient, false);
        // It was done once: a second time it would have been refused, and have said so.
        assert_eq!(payload(&direct, &key).as_deref(), Some(&b"1"[..]));
        assert_eq!(at_last(|| remote.get(&key)).map(|it| it.payload.to_vec()).as_deref(), Some(&b"1"[..]));
    }
    // What may be done twice is, on the next connection, and nobody is told.
    let patient = Remote::builder(proxy.address("app")).answer_within(STUCK).open().unwrap();
    proxy.hold(Way::ToClient, true);
    std::thread::scope(|scope| {
        let done = scope.spawn(|| patient.insert(b"again", b"1", 0, None));
        at_last(|| direct.get(b"again").and_then(|it| it.ok_or(Error::EmptyKey)));
        proxy.cut_clients();
        done.join().unwrap().unwrap();
    });
}

fn late_answers(program: &Path) {
    let server = Server::start(program, &[]);
    let proxy = Proxy::start(server.port());
    let remote =
        Remote::builder(proxy.address("app")).answer_within(Duration::from_millis(200)).open().unwrap();
    let connections = || {
        server
            .tell("INFO stats")
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:").map(str::to_owned))
    };
    let before: u64 = connections().unwrap().parse().unwrap();
    proxy.hold(Way::ToClient, true);
    for _ in 0..3 {
        assert!(remote.get(b"key").unwrap_err().is_unreachable());
    }
    proxy.hold(Way::ToClient, false);
    // The answers that come late are not taken for those of later questions.
    remote.insert(b"key", b"1", 0, None).unwrap();
    assert_eq!(payload(&remote, b"key").as_deref(), Some(&b"1"[..]));
    // But for the connections that ask for it.
    let after: u64 = connections().unwrap().parse().unwrap();
    assert_eq!(after - before, 1);
}

fn late_writes(program: &Path) {
    let server = Server::start(program, &[]);
    let proxy = Proxy::start(server.port());
    let remote =
        Remote::builder(proxy.address("app")).answer_within(Duration::from_millis(150)).open().unwrap();
    let direct = Remote::builder(server.address("app")).max_stale(Duration::ZERO).open().unwrap();
    for round in 0..rounds(10, 100) {
        let key = round.to_le_bytes();
        at_last(|| remote.insert(b"ready", b"", 0, None));
        proxy.hold(Way::ToServer, true);
        assert!(remote.insert(&key, b"old", 0, None).unwrap_err().is_uncertain());
        proxy.cut_clients();
        at_last(|| remote.insert(&key, b"new", 0, None));
        proxy.hold(Way::ToServer, false);
        std::thread::sleep(Duration::from_millis(20));
        for remote in [&direct, &remote] {
            assert_eq!(payload(remote, &key).as_deref(), Some(&b"new"[..]), "round {round}");
        }
    }
}

fn emptied(program: &Path) {
    let server = Server::start(program, &[]);
    let [a, b] = [(); 2].map(|()| Remote::builder(server.address("app")).open().unwrap());
    a.insert(b"key", b"1", 0, None).unwrap();
    for remote in [&a, &b] {
        assert!(payload(remote, b"key").is_some());
    }
    server.tell("FLUSHALL");
    std::thread::sleep(Duration::from_millis(510));
    assert_eq!(payload(&a, b"key"), None);
    a.insert(b"key", b"2", 0, None).unwrap();
    for remote in [&b, &a] {
        assert_eq!(payload(remote, b"key").as_deref(), Some(&b"2"[..]));
    }
}

#[allow(unsafe_code)]
fn forked(program: &Path) {
    let server = Server::start(program, &[]);
    let remote = Remote::builder(server.address("app")).answer_within(STUCK).open().unwrap();
    remote.insert(b"key", b"1", 0, None).unwrap();
    assert!(payload(&remote, b"key").is_some());
    // SAFETY: the child only uses what is remade in it, and ends without running anything of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let work = || -> cachemere::Result<bool> {
            let found = remote.get(b"key")?.is_some_and(|it| *it.payload == *b"1");
            remote.insert(b"key", b"2", 0, None)?;
            Ok(found && remote.get(b"key")?.is_some_and(|it| *it.payload == *b"2"))
        };
        let is_done =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok_and(|it| it.unwrap_or(false));
        // SAFETY: it ends this process.
        unsafe { libc::_exit(i32::from(!is_done)) };
    }
    let begun = Instant::now();
    let mut status = -1;
    // SAFETY: the child is this process's own, and nobody else waits for it.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > STUCK {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(status, 0);
    // The parent's connection is what it was, and the child's write is seen in time.
    std::thread::sleep(Duration::from_millis(510));
    assert_eq!(payload(&remote, b"key").as_deref(), Some(&b"2"[..]));
    remote.insert(b"key", b"3", 0, None).unwrap();
    assert_eq!(payload(&remote, b"key").as_deref(), Some(&b"3"[..]));
}
