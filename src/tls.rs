//! TLS between clients and the gateway: server certificates by name, client certificates, and the facts known about a
//! connection afterwards.
//!
//! A [`Tls`] is the TLS of one listener in one snapshot. A connection begins with its `entry` context, and the server
//! name in the client's first message chooses the settings from there on, before a session is looked up, so that
//! nothing is carried over from one name to another.
//!
//! - `certificate`: a chain and its key, read and checked.
//! - `clients`: who is asked for a certificate, and the CAs that are trusted for it.
//! - `names`: from a server name to both.
//! - `compiled`: all of it, for one listener.
//! - `context`: the OpenSSL context of a name.
//! - `entry`: the context that a connection begins with, and the switch to that of a name.
//! - `observer`: facts found in the course of a handshake.
//! - `handshake`: one handshake, and why it failed.
//! - `secured`: a connection after its handshake, checked again for each request.
//! - `staple`: OCSP responses.
//! - `report`: descriptions for operators.
//! - `ffi`: functions of OpenSSL that its Rust crate does not expose.
//!
//! # The danger
//! A session that is resumed brings the certificate of the connection that began it. A name that asks for certificates
//! therefore neither gives nor takes sessions, and those of other names are bound to the name.

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

pub(crate) use self::{
    compiled::Tls,
    ffi::TicketKeys,
    handshake::{Failure, Handshake, accept},
    secured::{Misdirected, Secured},
};

#[cfg(test)]
mod tests;
