//! `AsyncCache`: crowds of tasks on few threads, loads that end however they may, and leaders in other processes.

#[path = "support/mod.rs"]
mod support;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cachemere::{AsyncCache, Cache, Error};
use support::{Role, STUCK, hear, say, store};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Barrier, Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const TASKS: usize = 10_000;
/// Of a process with a crowd of tasks: the main one, two of the runtime, four for the disk, the housekeeper and the one for
/// naps, with some that were not counted on.
const HANDFUL: usize = 14;

fn main() -> ExitCode {
    support::run(
        &[("crowd", crowd), ("lead", lead), ("leave", leave)],
        &[
            ("a_crowd_on_one_key_loads_it_once_on_a_handful_of_threads", || in_crowd("one")),
            ("a_crowd_on_as_many_keys_needs_a_handful_of_threads", || in_crowd("many")),
            ("a_crowd_without_a_front_needs_a_handful_of_threads", || in_crowd("no front")),
            ("a_crowd_whose_loads_fail_takes_turns", || in_crowd("failing")),
            ("a_crowd_that_waits_for_another_process_needs_a_handful_of_threads", crowd_behind_a_process),
            ("loads_may_need_the_blocking_thread_that_others_have", blocking_threads_are_taken),
            ("waiters_may_have_all_blocking_threads", blocking_threads_wait),
            ("a_load_that_is_dropped_frees_the_key_for_the_next_in_line", dropped_load),
            ("a_waiter_that_is_dropped_passes_its_turn_on", dropped_waiter),
            ("a_waiter_that_is_not_polled_keeps_nobody_out_who_comes", unpolled_waiter),
            ("a_load_that_never_ends_keeps_no_process_from_its_end", never_ending),
            ("a_dropped_load_is_free_for_other_processes", free_for_others),
            ("a_leader_in_another_process_that_is_killed_is_followed", killed_leader),
            ("a_leader_in_another_process_that_never_ends_can_be_waited_for_in_time", waiting_in_time),
            ("a_panic_in_a_load_goes_to_its_task_and_another_loads", panicking),
            ("what_was_loaded_is_kept_when_its_task_goes", kept_though_dropped),
            ("threads_and_tasks_wait_for_each_other", threads_and_tasks),
            ("tasks_that_need_each_others_keys_both_go_on", circles),
            ("a_load_may_use_its_own_key", recursion),
            ("an_error_is_not_kept", errors),
            ("all_operations_do_what_they_do_without_async", operations),
            ("a_read_only_handle_loads_and_keeps_nothing", read_only),
        ],
    )
}

fn open(path: &Path) -> AsyncCache<u32, String> {
    Cache::builder(path).open().unwrap().into()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Nothing of this takes so long unless it is stuck.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(STUCK, future).await.expect("stuck")
}

fn in_time<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(soon(future))
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Plays a crowd and says how often it loaded, and the most threads that there were.
fn crowd(arguments: &[String]) {
    let [path, what] = arguments else { panic!("{arguments:?}") };
    let builder = Cache::builder(Path::new(path));
    let builder = if what == "no front" { builder.front_bytes(0) } else { builder };
    let cache: AsyncCache<u32, String> = builder.open().unwrap().into();
    let loads = Arc::new(AtomicUsize::new(0));
    let most = in_time(async {
        let tasks: Vec<JoinHandle<()>> = (0..TASKS as u32)
            .map(|n| {
                let (cache, loads) = (cache.clone(), loads.clone());
                let (key, fails) =
                    (if what == "one" || what == "failing" { 7 } else { n }, what == "failing");
                tokio::spawn(async move {
                    let load = || async {
                        loads.fetch_add(1, Ordering::SeqCst);
                        if !fails {
                            sleep(Duration::from_millis(30)).await;
                        }
                        if fails { Err(Error::EmptyKey) } else { Ok(format!("of {key}")) }
                    };
                    let got = cache.try_get_or_insert_with(&key, load).await;
                    assert_eq!(got.ok(), (!fails).then(|| format!("of {key}")));
                })
            })
            .collect();
        let mut most = 0;
        for task in tasks {
            most = most.max(threads());
            task.await.unwrap();
        }
        most
    });
    say(&format!("{} {most}", loads.load(Ordering::SeqCst)));
}

fn in_crowd(what: &str) {
    let (_dir, path) = store();
    let since = Instant::now();
    let role = Role::start("crowd", &[path.to_str().unwrap(), what]);
    let said = role.line().expect("the crowd comes to an end");
    eprintln!("{what}: {TASKS} tasks took {:?}, loads and threads: {said}", since.elapsed());
    let (loads, threads) = said.split_once(' ').unwrap();
    assert_eq!(loads.parse::<usize>().unwrap(), if what == "one" { 1 } else { TASKS });
    assert!(threads.parse::<usize>().unwrap() <= HANDFUL, "{threads} threads");
    role.join();
}

/// A load that says when it begins, and never ends.
fn endless() -> (impl FnOnce() -> Pin<Box<dyn Future<Output = String> + Send>> + Send, oneshot::Receiver<()>)
{
    let (begins, begun) = oneshot::channel();
    let load = || async {
        begins.send(()).unwrap();
        std::future::pending().await
    };
    (|| Box::pin(load()) as Pin<Box<_>>, begun)
}

/// A task that loads a key and never ends, once it does.
async fn lead_for_ever(cache: &AsyncCache<u32, String>, key: u32) -> JoinHandle<()> {
    let (cache, (load, begun)) = (cache.clone(), endless());
    let task = tokio::spawn(async move {
        cache.get_or_insert_with(&key, load).await.unwrap();
    });
    soon(begun).await.unwrap();
    task
}

/// Has the lead of so many keys, for as long as its input lasts.
fn lead(arguments: &[String]) {
    let [path, keys] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path));
    let runtime = runtime();
    runtime.block_on(async {
        for key in 0..keys.parse().unwrap() {
            lead_for_ever(&cache, key).await;
        }
    });
    say("leads");
    hear();
}

fn leader(path: &Path, keys: &str) -> Role {
    let role = Role::start("lead", &[path.to_str().unwrap(), keys]);
    role.expect("leads");
    role
}

/// Ends while a load goes on that a timeout has dropped, and another one that nothing has.
fn leave(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path));
    in_time(async {
        lead_for_ever(&cache, 1).await;
        let (load, _begun) = endless();
        assert!(timeout(Duration::from_millis(20), cache.get_or_insert_with(&2, load)).await.is_err());
        // Neither does a load of another task wait for that.
        assert_eq!(soon(cache.get_or_insert_with(&2, || async { "2".to_owned() })).await.unwrap(), "2");
    });
    say("leaves");
}

fn never_ending() {
    let (_dir, path) = store();
    let mut role = Role::start("leave", &[path.to_str().unwrap()]);
    role.expect("leaves");
    let since = Instant::now();
    assert!(role.ended().success());
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

fn crowd_behind_a_process() {
    const KEYS: u32 = 2_000;
    let (_dir, path) = store();
    let mut role = leader(&path, &KEYS.to_string());
    let cache = open(&path);
    let took = in_time(async {
        let loads = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..TASKS as u32)
            .map(|n| {
                let (cache, loads, key) = (cache.clone(), loads.clone(), n % KEYS);
                tokio::spawn(async move {
                    let load = || async {
                        loads.fetch_add(1, Ordering::SeqCst);
                        "here".to_owned()
                    };
                    cache.get_or_insert_with(&key, load).await.unwrap()
                })
            })
            .collect();
        sleep(Duration::from_millis(500)).await;
        // Other tests of this process have threads of their own, but no thousands.
        assert!(threads() < 100, "{} threads", threads());
        assert_eq!(loads.load(Ordering::SeqCst), 0);
        role.kill();
        let killed = Instant::now();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "here");
        }
        assert_eq!(loads.load(Ordering::SeqCst), KEYS as usize);
        killed.elapsed()
    });
    eprintln!("{TASKS} tasks behind a process: all had their values {took:?} after it was killed");
}

fn blocking_threads_are_taken() {
    let (_dir, path) = store();
    let cache = open(&path);
    let runtime =
        Builder::new_multi_thread().worker_threads(2).max_blocking_threads(1).enable_time().build().unwrap();
    runtime.block_on(soon(async {
        let tasks: Vec<_> = (0..200)
            .map(|key| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let load = || async {
                        let blocking =
                            tokio::task::spawn_blocking(move || std::thread::sleep(Duration::from_millis(1)));
                        blocking.await.unwrap();
                        key.to_string()
                    };
                    cache.get_or_insert_with(&(key % 100), load).await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(cache.len().await.unwrap(), 100);
    }));
}

fn blocking_threads_wait() {
    let (_dir, path) = store();
    let cache = open(&path);
    let runtime =
        Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_time().build().unwrap();
    runtime.block_on(soon(async {
        let (goes_on, waits) = (Arc::new(Notify::new()), Arc::new(Barrier::new(3)));
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let (cache, goes_on, waits) = (cache.clone(), goes_on.clone(), waits.clone());
                let handle = tokio::runtime::Handle::current();
                tokio::task::spawn_blocking(move || {
                    handle.block_on(async {
                        waits.wait().await;
                        goes_on.notified().await;
                        cache.get(&1).await.unwrap()
                    })
                })
            })
            .collect();
        waits.wait().await;
        // All of the runtime's blocking threads are taken by those who wait for this.
        cache.insert(&1, "one".to_owned()).await.unwrap();
        while tasks.iter().any(|task| !task.is_finished()) {
            goes_on.notify_waiters();
            tokio::task::yield_now().await;
        }
        for task in tasks {
            assert_eq!(task.await.unwrap().as_deref(), Some("one"));
        }
    }));
}

/// Tasks that stand in line for a key, in this order, and note their turn when they load.
async fn line_up(cache: &AsyncCache<u32, String>, key: u32, tasks: u32) -> Vec<JoinHandle<String>> {
    let mut line = Vec::new();
    for n in 0..tasks {
        let cache = cache.clone();
        line.push(tokio::spawn(async move {
            cache.get_or_insert_with(&key, || async { n.to_string() }).await.unwrap()
        }));
        sleep(Duration::from_millis(30)).await;
    }
    line
}

fn dropped_load() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let (load, begun) = endless();
        let timed = timeout(Duration::from_millis(300), cache.get_or_insert_with(&1, load));
        let (timed, line) = tokio::join!(timed, async {
            begun.await.unwrap();
            line_up(&cache, 1, 4).await
        });
        assert!(timed.is_err());
        for task in line {
            assert_eq!(task.await.unwrap(), "0", "the first in line loads, and the others have that");
        }
    });
}

fn dropped_waiter() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let leader = lead_for_ever(&cache, 1).await;
        let line = line_up(&cache, 1, 4).await;
        // The first one is dropped before it is called, or when it was and has not looked yet.
        let (first, rest) = line.split_first().unwrap();
        first.abort();
        leader.abort();
        for task in rest {
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        assert!(["1", "2", "3"].contains(&cache.get(&1).await.unwrap().unwrap().as_str()));
    });
    // Again and again, at the moment of the call.
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(soon(async {
        for key in 10..200 {
            let leader = lead_for_ever(&cache, key).await;
            let mut first = Box::pin(cache.get_or_insert_with(&key, std::future::pending));
            while timeout(Duration::from_millis(1), &mut first).await.is_ok() {}
            let second = tokio::spawn({
                let cache = cache.clone();
                async move { cache.get_or_insert_with(&key, || async { "second".to_owned() }).await.unwrap() }
            });
            sleep(Duration::from_millis(1)).await;
            leader.abort();
            let _ = leader.await;
            // Called, and never polled again.
            drop(first);
            assert_eq!(second.await.unwrap(), "second");
        }
    }));
}

fn unpolled_waiter() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let leader = lead_for_ever(&cache, 1).await;
        let mut unpolled = Box::pin(cache.get_or_insert_with(&1, || async { "late".to_owned() }));
        assert!(timeout(Duration::from_millis(50), &mut unpolled).await.is_err());
        leader.abort();
        let _ = leader.await;
        assert_eq!(cache.get_or_insert_with(&1, || async { "new".to_owned() }).await.unwrap(), "new");
        assert_eq!(unpolled.await.unwrap(), "new");
    });
}

fn free_for_others() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let leader = lead_for_ever(&cache, 0).await;
        let path = path.clone();
        let other = tokio::task::spawn_blocking(move || self::leader(&path, "1"));
        sleep(Duration::from_millis(200)).await;
        assert!(!other.is_finished());
        leader.abort();
        let mut role = other.await.unwrap();
        role.finish();
        role.join();
    });
}

fn killed_leader() {
    let (_dir, path) = store();
    let mut role = leader(&path, "1");
    let cache = open(&path);
    in_time(async {
        let line = line_up(&cache, 0, 3).await;
        assert!(line.iter().all(|task| !task.is_finished()));
        role.kill();
        let killed = Instant::now();
        for task in line {
            assert_eq!(task.await.unwrap(), "0");
        }
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    });
}

fn waiting_in_time() {
    let (_dir, path) = store();
    let mut role = leader(&path, "1");
    let cache = open(&path);
    in_time(async {
        for _ in 0..3 {
            let wait = cache.get_or_insert_with(&0, || async { "here".to_owned() });
            assert!(timeout(Duration::from_millis(100), wait).await.is_err());
        }
        // Nor does it keep anybody from anything else.
        assert_eq!(cache.get(&0).await.unwrap(), None);
        cache.insert(&0, "inserted".to_owned()).await.unwrap();
        let found = cache.get_or_insert_with(&0, || async { "here".to_owned() }).await;
        assert_eq!(found.unwrap(), "inserted");
    });
    role.finish();
    role.join();
}

fn panicking() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let load = || async {
                        if n < 10 {
                            std::panic::resume_unwind(Box::new("as a loader might"));
                        }
                        n.to_string()
                    };
                    cache.get_or_insert_with(&1, load).await.unwrap()
                })
            })
            .collect();
        let mut loaded = Vec::new();
        for (n, task) in tasks.into_iter().enumerate() {
            match task.await {
                Ok(value) => loaded.push(value),
                Err(failed) => assert!(failed.is_panic() && n < 10),
            }
        }
        assert!(loaded.len() >= 10 && loaded.iter().all(|value| *value == loaded[0]), "{loaded:?}");
        // Nor does one in a closure that runs on the store's own threads end those.
        for _ in 0..10 {
            let cache = cache.clone();
            let update = async move { cache.update(&1, |_| std::panic::resume_unwind(Box::new("oh"))).await };
            assert!(tokio::spawn(update).await.unwrap_err().is_panic());
        }
        assert_eq!(cache.get(&1).await.unwrap().as_deref(), Some(loaded[0].as_str()));
    });
}

fn kept_though_dropped() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        for key in 0..50 {
            let loaded = Arc::new(AtomicUsize::new(0));
            let load = || async {
                loaded.store(1, Ordering::SeqCst);
                "loaded".to_owned()
            };
            let mut loading = Box::pin(cache.get_or_insert_with(&key, load));
            let goes = std::future::poll_fn(|context| {
                let polled = loading.as_mut().poll(context);
                if loaded.load(Ordering::SeqCst) == 1 || polled.is_ready() {
                    return std::task::Poll::Ready(());
                }
                std::task::Poll::Pending
            });
            goes.await;
            drop(loading);
            let again = cache.get_or_insert_with(&key, || async { "again".to_owned() });
            assert_eq!(again.await.unwrap(), "loaded", "key {key}");
        }
    });
}

fn threads_and_tasks() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        // A thread waits for a task that is dropped.
        let task = lead_for_ever(&cache, 1).await;
        let waits = cache.blocking().clone();
        let thread =
            std::thread::spawn(move || waits.get_or_insert_with(&1, || "thread".to_owned()).unwrap());
        sleep(Duration::from_millis(150)).await;
        assert!(!thread.is_finished());
        task.abort();
        let joined = tokio::task::spawn_blocking(move || thread.join().unwrap());
        assert_eq!(joined.await.unwrap(), "thread");
        // A task waits for a thread.
        let (blocking, (go, goes)) = (cache.blocking().clone(), std::sync::mpsc::channel::<()>());
        let (begins, begun) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let load = || {
                begins.send(()).unwrap();
                goes.recv().unwrap();
                "thread".to_owned()
            };
            blocking.get_or_insert_with(&2, load).unwrap()
        });
        begun.await.unwrap();
        let line = line_up(&cache, 2, 3).await;
        go.send(()).unwrap();
        for task in line {
            assert_eq!(task.await.unwrap(), "thread");
        }
        assert_eq!(thread.join().unwrap(), "thread");
    });
}

fn circles() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let both = Arc::new(Barrier::new(2));
        let tasks = [(1, 2), (2, 1)].map(|(mine, other)| {
            let (cache, both) = (cache.clone(), both.clone());
            tokio::spawn(async move {
                let load = || async {
                    both.wait().await;
                    // Beside another wait, as a load may have several.
                    let third = mine + 10;
                    let beside = cache.get_or_insert_with(&third, || async { "beside".to_owned() });
                    let inner = cache.get_or_insert_with(&other, || async { "inner".to_owned() });
                    let (beside, inner) = tokio::join!(beside, inner);
                    beside.unwrap() + &inner.unwrap()
                };
                cache.get_or_insert_with(&mine, load).await.unwrap()
            })
        });
        for task in tasks {
            assert!(task.await.unwrap().starts_with("beside"));
        }
    });
}

fn recursion() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let load = || async {
            let own = cache.get_or_insert_with(&1, || async { "inner".to_owned() });
            own.await.unwrap() + " in outer"
        };
        assert_eq!(cache.get_or_insert_with(&1, load).await.unwrap(), "inner in outer");
    });
    // Also a task within the load of a thread.
    let runtime = runtime();
    let load =
        || runtime.block_on(soon(cache.get_or_insert_with(&2, || async { "task".to_owned() }))).unwrap();
    assert_eq!(cache.blocking().get_or_insert_with(&2, load).unwrap(), "task");
}

fn errors() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        let failed = cache.try_get_or_insert_with(&1, || async { Err::<String, _>(Error::EmptyKey) }).await;
        assert!(matches!(failed, Err(Error::EmptyKey)));
        assert_eq!(cache.get(&1).await.unwrap(), None);
        assert_eq!(cache.get_or_insert_with(&1, || async { "good".to_owned() }).await.unwrap(), "good");
        cache.close().await.unwrap();
        assert!(matches!(cache.get(&1).await, Err(Error::Closed)));
        let closed = cache.get_or_insert_with(&2, || async { unreachable!("in vain") }).await;
        assert!(matches!(closed, Err(Error::Closed)));
    });
}

fn operations() {
    let (_dir, path) = store();
    let cache = open(&path);
    in_time(async {
        cache.insert(&1, "a".to_owned()).await.unwrap();
        cache.insert_with_ttl(&2, "b".to_owned(), Duration::from_secs(100)).await.unwrap();
        cache.insert_many(vec![(3, "c".to_owned()), (4, "d".to_owned())]).await.unwrap();
        let mut batch = cachemere::Batch::new();
        batch.insert(&5, "e".to_owned()).remove(&4);
        cache.write(batch).await.unwrap();
        assert_eq!(cache.get(&1).await.unwrap().as_deref(), Some("a"));
        // Now from memory.
        assert_eq!(cache.get_shared(&1).await.unwrap().as_deref(), Some(&"a".to_owned()));
        assert_eq!(cache.stats().await.unwrap().front_hits, 1);
        let many = cache.get_many(vec![3, 4, 5]).await.unwrap();
        assert_eq!(many, [Some("c".to_owned()), None, Some("e".to_owned())]);
        assert!(cache.contains(&2).await.unwrap() && !cache.contains(&4).await.unwrap());
        assert!(cache.info(&2).await.unwrap().unwrap().expires.is_some());
        let updated = cache.update(&1, |old| old.map(|old| old + "!")).await.unwrap();
        assert_eq!(updated.as_deref(), Some("a!"));
        // Never what another handle has replaced.
        let other: Cache<u32, String> = Cache::builder(&path).open().unwrap();
        assert_eq!(cache.get(&1).await.unwrap().as_deref(), Some("a!"));
        other.insert(&1, &"other".to_owned()).unwrap();
        assert_eq!(cache.get(&1).await.unwrap().as_deref(), Some("other"));
        assert!(cache.remove(&1).await.unwrap() && !cache.remove(&1).await.unwrap());
        assert_eq!((cache.len().await.unwrap(), cache.is_empty().await.unwrap()), (3, false));
        assert_eq!(cache.namespaces().await.unwrap().len(), 1);
        assert_eq!(cache.store_info().await.unwrap().cipher, None);
        cache.checkpoint().await.unwrap();
        cache.clear().await.unwrap();
        assert!(cache.is_empty().await.unwrap());
    });
}

fn read_only() {
    let (_dir, path) = store();
    open(&path).blocking().insert(&1, &"there".to_owned()).unwrap();
    let cache: AsyncCache<u32, String> = Cache::builder(&path).read_only(true).open().unwrap().into();
    in_time(async {
        assert_eq!(cache.get_or_insert_with(&1, || async { unreachable!() }).await.unwrap(), "there");
        for n in 0..2 {
            let loaded = cache.get_or_insert_with(&2, || async move { n.to_string() }).await;
            assert_eq!(loaded.unwrap(), n.to_string());
        }
        assert!(cache.insert(&1, String::new()).await.unwrap_err().is_read_only());
    });
}
