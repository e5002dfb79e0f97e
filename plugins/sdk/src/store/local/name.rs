use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Stands for a key: SipHash twice, with two secrets of this store. Whoever does not know them cannot make two keys
/// meet, and by chance any two of a billion do less than once in 10^20 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name([u8; 16]);

/// The kind of thing that a key stands for: two kinds under one key do not know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Value,
    Set,
    Lease,
    Channel,
    Count,
    Gcra,
    SlidingWindow,
    FixedWindow,
}

impl Name {
    pub(super) fn new(halves: [u64; 2]) -> Self {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&halves[0].to_ne_bytes());
        name[8..].copy_from_slice(&halves[1].to_ne_bytes());
        Self(name)
    }

    fn half(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    /// The shard that it belongs to, of so many.
    pub(super) fn shard(&self, shards: usize) -> usize {
        usize::try_from(self.half(0) % shards as u64).expect("fewer shards than that")
    }

    /// One of sixteen equal parts of all names.
    pub(super) fn sixteenth(&self) -> u8 {
        self.0[7] >> 4
    }
}

impl Hash for Name {
    /// It is a hash already; the other half chose the shard.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.half(8));
    }
}

/// Takes the one number that it is given for the hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PassOn(u64);

pub(super) type BuildPassOn = BuildHasherDefault<PassOn>;

impl Hasher for PassOn {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
