//! A target's support of HTTP/2, if the file leaves the protocol to the server (ALPN).
//!
//! Pingora 0.9.1 turns HTTP/2 off for an upstream after one response that breaks the protocol, or one
//! `HTTP_1_1_REQUIRED`: it enters the peer's hash into a map (`prefer_h1`) that it never clears. From then on, until a
//! restart, requests to an upstream that speaks only HTTP/2 were answered with 502. It does so only for peers that may
//! fall back to HTTP/1, so:
//! - once the server has chosen `h2` in a handshake, peers offer `h2` alone;
//! - a first response that breaks the protocol comes before that takes effect. The entry that it leaves is never looked
//!   up again, because later peers have another hash;
//! - `HTTP_1_1_REQUIRED` of a server holds for [`HTTP1_FOR`], and not over a reload.
//!
//! # When Pingora is upgraded
//! This rests on the map of Pingora 0.9.1 having a peer's hash as its key, and on a group key being a part of that. The
//! tests of `upstream_tls::broken_http2` fail when that changes. To be offered upstream: entries of `prefer_h1` that
//! end, and none for a response that only broke the protocol. Then the group keys can stay as they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pingora::{protocols::ALPN, upstreams::peer::HttpPeer};

use crate::clock::now_ms;

/// The time that a target is spoken to by HTTP/1.1 after it required that.
pub(super) const HTTP1_FOR: Duration = Duration::from_secs(300);

/// A bit of the group key that separates connections over which HTTP/1.1 was required.
const HTTP1_ONLY: u64 = 1 << 63;

/// The HTTP/2 support of one target, as far as known.
#[derive(Debug)]
pub(crate) struct Http2 {
    /// Set once the server has chosen it.
    is_chosen: AtomicBool,
    /// The time until which it required HTTP/1.1, in milliseconds of [`now_ms`].
    http1_until: AtomicU64,
    /// The number of times that Pingora may have entered a peer with this group key.
    entries: Arc<AtomicU64>,
}

/// The numbers by group key. Pingora's map outlives every configuration, so this has to as well; zeros are forgotten.
static ENTRIES: LazyLock<Mutex<HashMap<u64, Arc<AtomicU64>>>> = LazyLock::new(Mutex::default);

impl Http2 {
    /// Returns the state of a target about which nothing is known. `group_key` is that of the target's peers.
    pub(crate) fn new(group_key: u64) -> Self {
        let entries = ENTRIES.lock().entry(group_key).or_default().clone();
        Self { is_chosen: AtomicBool::new(false), http1_until: AtomicU64::new(0), entries }
    }

    /// Forgets zeros that no configuration refers to any more.
    pub(crate) fn forget_unused() {
        ENTRIES.lock().retain(|_, count| Arc::strong_count(count) > 1 || count.load(Relaxed) > 0);
    }

    /// Prepares a peer that may speak either protocol.
    pub(crate) fn offer(&self, peer: &mut HttpPeer) {
        // An even number: the odd ones are those of peers for upgrades.
        peer.group_key = peer.group_key.wrapping_add(self.entries.load(Relaxed).wrapping_mul(2));
        let until = self.http1_until.load(Relaxed);
        if until > 0 && now_ms() < until {
            peer.options.alpn = ALPN::H1;
            // Connections of their own: Pingora would keep using them when both protocols may be spoken again.
            peer.group_key ^= HTTP1_ONLY;
        } else if self.is_chosen.load(Relaxed) {
            peer.options.alpn = ALPN::H2;
        }
    }

    /// Notes the protocol that a server chose in a handshake.
    pub(crate) fn negotiated(&self, protocol: Option<&[u8]>) {
        let is_chosen = protocol == Some(b"h2");
        if self.is_chosen.load(Relaxed) != is_chosen {
            self.is_chosen.store(is_chosen, Relaxed);
        }
    }

    /// Handles a failed handshake that offered this. Returns whether another one may succeed: the server no longer
    /// accepts `h2`, which was all that it was offered.
    pub(crate) fn may_have_gone(&self, offered: &ALPN) -> bool {
        *offered == ALPN::H2 && self.is_chosen.swap(false, Relaxed)
    }

    /// Handles a response that broke the protocol, or required HTTP/1.1: a peer that offered both is in Pingora's map
    /// now.
    pub(crate) fn failed(&self, offered: &ALPN) {
        if *offered == ALPN::H2H1 {
            self.entries.fetch_add(1, Relaxed);
        }
    }

    /// Notes that the server requires HTTP/1.1. Returns whether that is new.
    pub(crate) fn requires_http1(&self) -> bool {
        let (now, length) = (now_ms(), u64::try_from(HTTP1_FOR.as_millis()).unwrap_or(u64::MAX));
        self.http1_until.swap(now.saturating_add(length), Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(http2: &Http2) -> (ALPN, u64) {
        let mut peer = HttpPeer::new("10.0.0.1:443", true, "a.example".to_owned());
        peer.options.alpn = ALPN::H2H1;
        peer.group_key = 7;
        http2.offer(&mut peer);
        (peer.options.alpn, peer.group_key)
    }

    #[test]
    fn http2_that_was_chosen_is_offered_alone() {
        let http2 = Http2::new(1);
        assert_eq!(offered(&http2), (ALPN::H2H1, 7));
        http2.negotiated(Some(b"h2"));
        assert_eq!(offered(&http2), (ALPN::H2, 7));
        http2.negotiated(None);
        assert_eq!(offered(&http2), (ALPN::H2H1, 7));
    }

    #[test]
    fn a_handshake_that_offered_it_alone_is_tried_again_with_both() {
        let http2 = Http2::new(2);
        assert!(!http2.may_have_gone(&ALPN::H2H1));
        http2.negotiated(Some(b"h2"));
        assert!(http2.may_have_gone(&ALPN::H2));
        assert_eq!(offered(&http2).0, ALPN::H2H1);
        assert!(!http2.may_have_gone(&ALPN::H2), "once");
    }

    #[test]
    fn no_peer_meets_its_entry_in_the_map_again() {
        let http2 = Http2::new(3);
        http2.failed(&ALPN::H2H1);
        assert_eq!(offered(&http2), (ALPN::H2H1, 9));
        assert_eq!(offered(&Http2::new(3)).1, 9, "nor after a reload");
        drop(http2);
        Http2::forget_unused();
        assert_eq!((offered(&Http2::new(3)).1, offered(&Http2::new(4)).1), (9, 7));
        let http2 = Http2::new(3);
        http2.failed(&ALPN::H2);
        assert_eq!(offered(&http2).1, 9, "there is none of a peer that has no choice");
    }

    #[test]
    fn http1_that_is_required_is_spoken_for_a_while() {
        let http2 = Http2::new(5);
        http2.negotiated(Some(b"h2"));
        assert!(http2.requires_http1());
        assert_eq!(offered(&http2), (ALPN::H1, 7 | HTTP1_ONLY));
        assert!(!http2.requires_http1(), "logged once");
        http2.http1_until.store(now_ms(), Relaxed);
        assert_eq!(offered(&http2), (ALPN::H2, 7), "those connections are not used any more");
    }
}
