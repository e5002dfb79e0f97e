//! Ids that tell requests apart, in the logs of the gateway and of everything behind it.

use std::cell::RefCell;

use zeroize::Zeroize;

/// A request's id: 128 random bits in hexadecimal, or what a trusted peer sent.
#[derive(Clone, Copy)]
pub(crate) struct RequestId {
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
    pub(crate) const MAX_BYTES: usize = 64;

    /// A new one, which nobody can predict from those before it: services behind the gateway take such ids for keys of
    /// idempotency and names of jobs.
    pub(crate) fn random() -> Self {
        thread_local! {
            static STOCK: RefCell<Stock> = const { RefCell::new(Stock::empty()) };
        }
        let mut id = Self { length: 32, ..Self::default() };
        let bits = STOCK.with_borrow_mut(Stock::take);
        hex::encode_to_slice(bits, &mut id.bytes[..32]).expect("32 digits for 16 bytes");
        id
    }

    /// Returns an id from outside, if it is made of letters, digits, `.`, `_` and `-` alone and is not too long.
    pub(crate) fn accepted(from: &[u8]) -> Option<Self> {
        let is_fit = (1..=Self::MAX_BYTES).contains(&from.len())
            && from.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let mut id = Self { length: u8::try_from(from.len()).ok()?, ..Self::default() };
        is_fit.then(|| {
            id.bytes[..from.len()].copy_from_slice(from);
            id
        })
    }

    /// Returns the id as text; empty before there is one.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// The number of random bytes that a thread asks the system for at once: enough for 256 ids, so that a request pays for
/// the copy of 16 bytes.
const STOCK_BYTES: usize = 4096;

/// Random bytes from the system that a thread has not used yet. Used ones are wiped.
struct Stock {
    bytes: [u8; STOCK_BYTES],
    used: usize,
}

impl Stock {
    const fn empty() -> Self {
        Self { bytes: [0; STOCK_BYTES], used: STOCK_BYTES }
    }

    fn take(&mut self) -> [u8; 16] {
        if self.used == STOCK_BYTES {
            getrandom::fill(&mut self.bytes).expect("the system gave random bytes when the process started");
            self.used = 0;
        }
        let (mut bits, unused) = ([0; 16], &mut self.bytes[self.used..]);
        bits.copy_from_slice(&unused[..16]);
        unused[..16].zeroize();
        self.used += 16;
        bits
    }
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

    /// Ids used to come from SplitMix64, whose state follows from any 64 bits of its output.
    #[test]
    fn an_id_does_not_tell_the_next_one() {
        let halves = |id: RequestId| {
            let bits = u128::from_str_radix(id.as_str(), 16).expect("128 bits in hexadecimal");
            [(bits >> 64) as u64, bits as u64]
        };
        let [first, second] = halves(RequestId::random());
        let [third, _] = halves(RequestId::random());
        assert_ne!(splitmix_after(first), second);
        assert_ne!(splitmix_after(second), third);
    }

    /// The number that SplitMix64 makes after this one.
    fn splitmix_after(output: u64) -> u64 {
        let unshift = |mut value: u64, by: u32| {
            let mixed = value;
            (0..64 / by).for_each(|_| value = mixed ^ (value >> by));
            value
        };
        let inverse = |odd: u64| {
            (0..6).fold(odd, |inverse: u64, _| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse))))
        };
        let mix = |state: u64| {
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        let state = unshift(output, 31).wrapping_mul(inverse(0x94D0_49BB_1331_11EB));
        let state = unshift(state, 27).wrapping_mul(inverse(0xBF58_476D_1CE4_E5B9));
        let state = unshift(state, 30);
        assert_eq!(mix(state), output, "the inversion is right");
        mix(state.wrapping_add(0x9E37_79B9_7F4A_7C15))
    }

    #[test]
    fn what_was_used_is_wiped_and_the_stock_is_filled_again() {
        let mut stock = Stock::empty();
        let taken: std::collections::HashSet<[u8; 16]> = (0..STOCK_BYTES / 16 + 1).map(|_| stock.take()).collect();
        assert_eq!(taken.len(), STOCK_BYTES / 16 + 1);
        assert!(stock.bytes[..16] == [0; 16] && stock.bytes[16..].iter().any(|byte| *byte != 0));
    }

    #[test]
    fn an_id_from_outside_has_a_restricted_character_set() {
        assert_eq!(RequestId::accepted(b"a.B_9-").map(|id| id.as_str().to_owned()).as_deref(), Some("a.B_9-"));
        for wrong in [&b""[..], b"a b", b"a\"b", b"a\nb", b"\xff", &[b'a'; 65]] {
            assert!(RequestId::accepted(wrong).is_none());
        }
    }
}
