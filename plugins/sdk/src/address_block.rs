use std::net::{IpAddr, Ipv6Addr};

/// An address with all others that its owner can use as well, by which clients are told apart.
///
/// An IPv6 network of 64 bits is the least that a subscriber gets (RFC 6177), so that one address of it says no more than
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressBlock([u8; 16]);

impl AddressBlock {
    /// Returns the block of this address; IPv4-mapped IPv6 is in the block of its IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).octets(),
        })
    }

    /// Returns its bytes, which no other block has.
    pub fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_an_ipv4_address_or_a_network_of_64_bits() {
        let block = |text: &str| AddressBlock::of(text.parse().unwrap());
        assert_eq!(block("192.0.2.1"), block("::ffff:192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::2"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
    }
}
