//! The entries of a store on another machine, in Valkey or Redis.
//!
//! [`Remote`] takes and gives bytes, as [`ByteCache`](crate::ByteCache) does for a store in a directory, and keeps payloads in
//! memory of which it states how old they can be. The other faces do not take such an address yet.
//!
//! How it is built, from the outside in: `builder` opens; `remote` is the face; `entries` has what an operation is made
//! of, `read`, `change` and `walk` the operations, each of them one trip to the server;
//! `memory` says what may be given out without one; `space` finds or makes store and namespace; `script` has what the
//! server does under a condition, `keys` what its keys are; `link` is the connection. `docs/DESIGN.md` in the repository
//! explains the decisions.

mod address;
mod builder;
mod change;
mod entries;
mod keys;
mod link;
mod memory;
mod patience;
mod read;
mod remote;
mod script;
mod space;
mod walk;

pub use self::builder::RemoteBuilder;
pub use self::remote::{Found, Remote, Walk};
