//! Counts the control frames of an HTTP/2 connection, so that a flood of them ends it.
//!
//! A frame of nine bytes costs us more than it costs its sender: it is parsed, some are acknowledged, and flow control
//! limits DATA alone (RFC 9113 section 10.5; CVE-2019-9512 for PING, CVE-2019-9515 for SETTINGS, and their kind). The
//! `h2` library ends floods of CONTINUATION, of empty DATA frames and of streams that are reset at once. The others are
//! counted here: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM and frames of unknown types.
//!
//! Honest peers send many of them, too, but each for a reason: they ask, or they were sent something. So requests and
//! DATA frames that we send earn their connection more of them. A client of gRPC measures the connection by a PING for
//! nearly every piece that it receives, and any client says by WINDOW_UPDATE that it has read.
//!
//! Only the heads of frames are looked at, and nothing is copied: the cost is that of a few instructions a frame.

use std::time::Instant;

/// The number of control frames a second that a connection may send in the long run, beside those that it has earned.
pub(super) const CONTROL_FRAMES_PER_SECOND: u32 = 1_000;
/// The number that it may send at once.
pub(super) const CONTROL_FRAMES_BURST: u32 = 10_000;
/// The number that is earned by each request, and by each DATA frame that we send (as in Envoy).
const EARNED: u32 = 10;

/// The length of a frame's head (RFC 9113 section 4.1).
const HEAD_BYTES: usize = 9;
/// The length of the connection preface before the first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// The number of CONTINUATION frames in [`CALM_DOWN`]: more than `h2` accepts at our limit of a header list.
const CONTINUATIONS: usize = 16;

/// Frames that make `h2` end a connection with GOAWAY and ENHANCE_YOUR_CALM, just as it does for floods that it detects
/// itself: a request whose headers never end. They are fed to it after the last frame of a flood, instead of the bytes
/// that follow.
pub(super) const CALM_DOWN: [u8; HEAD_BYTES * (1 + CONTINUATIONS)] = {
    let mut frames = [0; HEAD_BYTES * (1 + CONTINUATIONS)];
    let mut index = 0;
    while index <= CONTINUATIONS {
        let at = index * HEAD_BYTES;
        frames[at + 3] = if index == 0 { HEADERS } else { CONTINUATION };
        // The last stream that a client can open.
        frames[at + 5] = 0x7f;
        frames[at + 6] = 0xff;
        frames[at + 7] = 0xff;
        frames[at + 8] = 0xff;
        index += 1;
    }
    frames
};

/// Watches both directions of one connection.
#[derive(Debug)]
pub(super) struct FrameWatch {
    received: Cursor,
    sent: Cursor,
    left: u32,
    refilled: Instant,
    is_flood: bool,
}

impl FrameWatch {
    /// Returns the state of a new connection, which begins with the preface.
    pub(super) fn new() -> Self {
        Self {
            received: Cursor { payload_left: PREFACE_BYTES, ..Cursor::default() },
            sent: Cursor::default(),
            left: CONTROL_FRAMES_BURST,
            refilled: Instant::now(),
            is_flood: false,
        }
    }

    /// Inspects received bytes. `Some`: it is a flood, and its last frame ends after this many of the bytes.
    pub(super) fn received(&mut self, mut bytes: &[u8]) -> Option<usize> {
        let all = bytes.len();
        loop {
            self.received.skip_payload(&mut bytes);
            if self.is_flood && self.received.is_between_frames() {
                return Some(all - bytes.len());
            }
            match self.received.next_head(&mut bytes)? {
                Head { kind: HEADERS, .. } => self.earn(),
                Head { kind: DATA | CONTINUATION, .. } => {}
                _ => self.is_flood = self.is_flood || !self.spend(),
            }
        }
    }

    /// Inspects sent bytes.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        loop {
            self.sent.skip_payload(&mut bytes);
            let Some(head) = self.sent.next_head(&mut bytes) else { return };
            if head.kind == DATA && head.payload_bytes > 0 {
                self.earn();
            }
        }
    }

    fn earn(&mut self) {
        self.left = (self.left + EARNED).min(CONTROL_FRAMES_BURST);
    }

    /// Takes one frame off the allowance. The clock is read only when none is left.
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            let now = Instant::now();
            let earned =
                now.saturating_duration_since(self.refilled).as_secs_f64() * f64::from(CONTROL_FRAMES_PER_SECOND);
            if earned < 1.0 {
                return false;
            }
            self.left = (earned as u32).min(CONTROL_FRAMES_BURST);
            self.refilled = now;
        }
        self.left -= 1;
        true
    }
}

struct Head {
    kind: u8,
    payload_bytes: usize,
}

/// A position in a sequence of frames that comes in pieces.
#[derive(Debug, Default)]
struct Cursor {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    payload_left: usize,
}

impl Cursor {
    fn is_between_frames(&self) -> bool {
        self.head_bytes == 0 && self.payload_left == 0
    }

    /// Skips the payload of the frame whose head was seen last.
    fn skip_payload(&mut self, bytes: &mut &[u8]) {
        let skipped = self.payload_left.min(bytes.len());
        *bytes = &bytes[skipped..];
        self.payload_left -= skipped;
    }

    /// Consumes bytes up to the end of the next head; `None` if they ended before.
    fn next_head(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let taken = (HEAD_BYTES - self.head_bytes).min(bytes.len());
        self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.head_bytes += taken;
        if self.head_bytes < HEAD_BYTES || self.payload_left > 0 {
            return None;
        }
        self.head_bytes = 0;
        let [high, middle, low, kind, ..] = self.head;
        self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(Head { kind, payload_bytes: self.payload_left })
    }
}

#[cfg(test)]
mod tests;
