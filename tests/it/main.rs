//! The tests of the whole: the real binary, real sockets, real peers.
//!
//! `harness` is what they stand on; every other module is a set of scenarios that can be read without it.
//! A new file is one more line in the list below.

#![cfg(test)]

mod admin;
mod client_address;
mod daemon;
mod daemon_files;
mod harness;
mod heads;
mod hidden_credentials;
mod identity;
mod paths;
mod reload;
mod reload_credentials;
mod reload_storm;
mod routing;
mod shutdown;
mod smoke;
