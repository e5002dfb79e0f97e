//! The tests of the whole: the real binary, real sockets, real peers.
//!
//! `harness` is what they stand on; every other module is a set of scenarios that can be read without it.
//! A new file is one more line in the list below.

#![cfg(test)]

mod admin;
mod attempts;
mod basic_auth;
mod claimed;
mod client_address;
mod client_certificates;
mod configuration;
mod connections;
mod control_socket;
mod daemon;
mod daemon_files;
mod descriptors;
mod harness;
mod heads;
mod hidden_credentials;
mod hmac;
mod hmac_bodies;
mod http2;
mod identity;
mod jwt;
mod logs;
mod mtls;
mod own_gateway;
mod paths;
mod readme;
mod reload;
mod reload_credentials;
mod reload_exposed;
mod reload_storm;
mod routing;
mod rules;
mod secrets;
mod shutdown;
mod smoke;
mod streams;
mod subcommands;
mod tls;
mod tls_attacks;
mod under_systemd;
mod unwritable_log;
mod upgrades;
mod upstream_tls;
mod upstreams;
