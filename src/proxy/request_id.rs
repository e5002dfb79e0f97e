//! Ids that tell requests apart, in the logs of the gateway and of everything behind it.

use std::cell::Cell;

/// A request's id: 128 random bits in hexadecimal, or what a trusted peer sent.
#[derive(Clone, Copy)]
pub struct RequestId {
    bytes: [u8; Self::MAX_BYTES],
    length: u8,
}

impl Default for RequestId {
    fn default() -> Self {
        Self { bytes: [0; Self::MAX_BYTES], length: 0 }
    }
}

impl RequestId {
    /// The longest id that is taken over.
    pub const MAX_BYTES: usize = 64;

    /// A new one. It tells requests apart and is no secret: a small generator for each thread, seeded by the system.
    pub fn random() -> Self {
        let mut id = Self { length: 32, ..Self::default() };
        for half in id.bytes[..32].chunks_exact_mut(16) {
            let bits = next().to_be_bytes();
            hex::encode_to_slice(bits, half).expect("16 digits for 8 bytes");
        }
        id
    }

    /// One from outside, if it is made of letters, digits, `.`, `_` and `-` alone and is not too long.
    pub fn accepted(from: &[u8]) -> Option<Self> {
        let is_fit = (1..=Self::MAX_BYTES).contains(&from.len())
            && from.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let mut id = Self { length: u8::try_from(from.len()).ok()?, ..Self::default() };
        is_fit.then(|| {
            id.bytes[..from.len()].copy_from_slice(from);
            id
        })
    }

    /// As text; empty before there is one.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every state occurs once in 2^64 steps, so ids of one thread never repeat, and
/// 64 random bits of seed keep threads and processes apart.
fn next() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(getrandom::u64().unwrap_or_else(|_| {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
        }));
    }
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_new_and_printable() {
        let ids: std::collections::HashSet<String> =
            (0..1000).map(|_| RequestId::random().as_str().to_owned()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn an_id_from_outside_has_a_restricted_character_set() {
        assert_eq!(RequestId::accepted(b"a.B_9-").map(|id| id.as_str().to_owned()).as_deref(), Some("a.B_9-"));
        for wrong in [&b""[..], b"a b", b"a\"b", b"a\nb", b"\xff", &[b'a'; 65]] {
            assert!(RequestId::accepted(wrong).is_none());
        }
    }
}
