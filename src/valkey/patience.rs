//! Waiting for an answer of the server, in the thread that asked: for so long, and not longer than until Ctrl-C.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::waiting::go_on_waiting;

/// How often it is asked whether to go on.
pub(super) const ROUND: Duration = Duration::from_millis(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What comes of the future; `None` when the time is over before.
pub(super) fn wait<F: Future>(future: F, until: Instant) -> Result<Option<F::Output>> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(Some(output));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        thread::park_timeout(left.min(ROUND));
        go_on_waiting()?;
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[test]
    fn it_ends_with_the_answer_or_with_the_time() {
        let soon = || Instant::now() + Duration::from_millis(50);
        assert_eq!(wait(future::ready(1), soon()).unwrap(), Some(1));
        assert_eq!(wait(future::pending::<()>(), soon()).unwrap(), None);
        let (sender, receiver) = futures_channel::oneshot::channel();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            sender.send(2)
        });
        assert_eq!(wait(receiver, Instant::now() + Duration::from_secs(20)).unwrap(), Some(Ok(2)));
        other.join().unwrap().unwrap();
    }
}
