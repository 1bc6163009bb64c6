//! Admin over the actor protocol: a program on this machine, or on another with mutual TLS, asks a running node.
//!
//! ```text
//!  client ──▶ socket/TCP/TLS ─▶ preamble ──▶ sessions ─────▶ AdminActor ──▶ Desk ──▶ Answers
//!  client.rs  listener.rs      preamble.rs  session.rs      actor.rs       desk.rs  answers.rs
//! ```
//!
//! Versions and envelopes are in [`wire`], large answers in [`parcel`], requests that may not be carried out twice in
//! [`remembered`].
//!
//! *Never here:* the meaning of a request.

mod actor;
mod answers;
mod callers;
mod client;
pub mod data_dir;
mod desk;
mod listener;
pub mod parcel;
pub mod preamble;
pub mod private_file;
pub mod refusals;
pub mod remembered;
mod secret;
mod server;
pub mod session;
mod socket;
pub mod stream;
mod target;
mod tls;
pub mod waiting_room;
mod weight;
pub mod wire;

pub use actor::{ADMIN_GROUP, AdminActor, AdminMessage};
pub use answers::Answers;
pub use callers::Callers;
pub use client::{Client, NotConnected};
pub use desk::{ASKS_MAX, Desk};
pub use listener::{Listeners, PREAMBLE_DEADLINE, SESSIONS_MAX, WAITING_MAX};
pub use secret::{SECRET_BYTES_MIN, SECRET_FILE_VARIABLE, SECRET_VARIABLE, Secret, random_256};
pub use server::{AdminServer, AdminServerArguments, AdminServerMessage};
pub use socket::{SOCKET_NAME, private_listener};
pub use target::{NodeAddress, Target, loopback};
pub use tls::{CLUSTER_NAME, ServerTls, Tls, TlsFiles, is_name};
