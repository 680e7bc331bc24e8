//! What is done on the server in one step, under a condition.
//!
//! Both scripts are given the key of an entry and that of its namespace's id. They compare that id with the one the entry's
//! key was made for, and the stamp, which lies at a fixed place in an entry's header.

use std::sync::LazyLock;

use redis::{Cmd, Value};

/// `KEYS`: entry, id. `ARGV`: expected id, expected stamp (empty: no entry), new entry, its time in milliseconds or 0.
/// Returns -1 if it is another id, 0 if the condition does not hold, else 1.
const PUT: &str = "\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
if redis.call('GETRANGE', KEYS[1], 56, 63) ~= ARGV[2] then return 0 end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return 1";

/// `KEYS`: entry, id. `ARGV`: expected id, expected stamp. Returns as [`PUT`].
const REMOVE: &str = "\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
if redis.call('GETRANGE', KEYS[1], 56, 63) ~= ARGV[2] then return 0 end
return redis.call('UNLINK', KEYS[1])";

pub(super) struct Script {
    code: &'static str,
    hash: String,
}

pub(super) static PUT_IF: LazyLock<Script> = LazyLock::new(|| Script::new(PUT));
pub(super) static REMOVE_IF: LazyLock<Script> = LazyLock::new(|| Script::new(REMOVE));

impl Script {
    fn new(code: &'static str) -> Script {
        Script { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// The command for a server that has it already, or one that brings it along.
    pub(super) fn command(&self, is_known: bool) -> Cmd {
        let mut command = redis::cmd(if is_known { "EVALSHA" } else { "EVAL" });
        command.arg(if is_known { &self.hash } else { self.code }).arg(2);
        command
    }
}

/// Whether the server has forgotten the script, or never had it.
pub(super) fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}
