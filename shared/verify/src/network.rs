//! The network that counts as one address where guesses are limited.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the network of an address: of IPv6 the /56, since one household commonly holds all of
/// it; of IPv4 the address.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 72 << 72)),
        canonical @ IpAddr::V4(_) => canonical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_prefix_of_56_bits_and_a_mapped_address_count_as_one_network() {
        let of = |address: &str| network_of(address.parse().unwrap()).to_string();
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
        assert_eq!(of("2001:db8:1:2ff::1"), "2001:db8:1:200::");
        assert_ne!(of("2001:db8:1:100::1"), of("2001:db8:1:2::1"));
    }
}
