//! Decides which addresses of a name may be targets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::upstream::place::plain;

/// Services that hand out a machine's credentials and are not at a link-local address: the metadata services of AWS and
/// of Google by IPv6, of Alibaba and of Oracle, AWS's EKS Pod Identity, and Azure's WireServer.
const METADATA: [IpAddr; 6] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Returns why requests must not go to an address of a name, if so. `own` are the addresses that the gateway listens
/// on.
///
/// The owner of the name, or somebody who forges the answer, could otherwise reach services meant for the machine
/// alone: the admin listener, and the metadata service of a cloud, which hands out the machine's credentials. A
/// listener of our own would make a loop.
pub(crate) fn forbidden(address: SocketAddr, own: &[SocketAddr]) -> Option<&'static str> {
    let address = plain(address);
    let ip = embedded(address.ip());
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if is_link_local || METADATA.contains(&ip) {
        return Some("a link-local address, as the metadata services of clouds have");
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some("no address of one server");
    }
    own.iter().any(|own| is_reached(*own, address)).then_some("an address of this gateway")
}

/// Returns the IPv4 address inside one of NAT64 (RFC 6052 section 2.1).
fn embedded(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        ip => ip,
    }
}

/// Returns whether connections to `address` come to a socket that listens on `own`.
fn is_reached(own: SocketAddr, address: SocketAddr) -> bool {
    own.port() == address.port()
        && match own.ip() {
            any if any.is_unspecified() => is_of_this_machine(address.ip()),
            ip => ip.to_canonical() == address.ip(),
        }
}

/// Returns whether this is an address of this machine: the kernel binds to no others.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Returns whether there is a route to an address (RFC 6724 section 6, rule 1): without IPv6, connections to IPv6
/// addresses would only fail. Nothing is sent.
pub(crate) fn has_route(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_and_our_own_are_no_targets() {
        let own = ["127.0.0.1:8080", "0.0.0.0:8443", "[::]:8444"].map(|own| own.parse().expect("an address"));
        let is_forbidden = |address: &str| forbidden(address.parse().expect("an address"), &own).is_some();
        for forbidden in [
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[fd00:ec2::254]:80",
            "127.0.0.1:8080",
            "0.0.0.0:8080",
            "[::ffff:127.0.0.1]:8080",
            "127.0.0.1:8443",
            "127.9.9.9:8443",
            "127.0.0.1:8444",
            "224.0.0.1:80",
            "255.255.255.255:80",
        ] {
            assert!(is_forbidden(forbidden), "{forbidden}");
        }
        for good in ["127.0.0.1:9000", "127.0.0.2:8080", "10.0.0.1:8080", "192.0.2.1:8443", "[fd00::1]:80"] {
            assert!(!is_forbidden(good), "{good}");
        }
    }

    #[test]
    fn there_is_a_way_to_loopback() {
        assert!(has_route("127.0.0.1:80".parse().expect("an address")));
    }
}
