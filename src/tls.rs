//! TLS between clients and the gateway: which certificate a client sees, who is asked for one, and what is known of a
//! connection afterwards.
//!
//! A [`Tls`] is what one listener speaks in one snapshot. A connection begins with its `entry` context, and the server
//! name in the client's first message chooses what holds from there on, before a session is looked up, so that nothing
//! of one name is carried to another.
//!
//! - `certificate`: a chain and its key, read and checked.
//! - `clients`: who is asked for a certificate, and by whose word it is believed.
//! - `names`: from a server name to both.
//! - `compiled`: all of it, of one listener.
//! - `context`: what OpenSSL has to be told of a name.
//! - `entry`: what a connection begins with, and how it becomes one of a name.
//! - `observer`: what is found out in the course of a handshake.
//! - `handshake`: one handshake, and why it failed.
//! - `secured`: a connection after it, looked at again for each request.
//! - `staple`: a CA's word that a certificate is not revoked.
//! - `report`: what people are told of it.
//! - `ffi`: what OpenSSL can do and its Rust crate does not show.
//!
//! # The danger
//! A session that is resumed brings the certificate of the connection that began it. A name that asks for
//! certificates therefore neither gives nor takes sessions, and those of other names are bound to the name.

mod certificate;
mod clients;
mod compiled;
mod context;
mod entry;
mod ffi;
mod handshake;
mod names;
mod observer;
mod report;
mod secured;
mod served;
mod staple;

pub use self::{
    compiled::Tls,
    ffi::TicketKeys,
    handshake::{Failure, Handshake, HandshakeResult, accept},
    secured::{Misdirected, Secured},
    served::Served,
};

#[cfg(test)]
mod tests;
