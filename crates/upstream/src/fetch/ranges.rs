//! Where an address is: on the open internet, in a network of one's own, or where nobody fetches from.
//!
//! IPv6 is judged by what is allowed: of all addresses only global unicast (2000::/3) is public, less the
//! blocks that carry IPv4 addresses or are set aside. So mapped, compatible, NAT64, 6to4 and Teredo forms of
//! a private IPv4 address are no way around.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Public unicast.
    Public,
    /// One's own networks and this machine: for hosts that an operator has listed as private.
    Private,
    /// Link-local (where clouds serve machines' secrets), multicast, reserved, translated: never.
    Never,
}

/// Blocks of IPv4 that are one's own.
const PRIVATE_V4: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// Blocks of IPv4 that nobody fetches from; single addresses are clouds' own services.
const NEVER_V4: [(Ipv4Addr, u8); 12] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const fn v6(start: u128) -> Ipv6Addr {
    Ipv6Addr::from_bits(start)
}

/// Global unicast.
const GLOBAL_V6: (Ipv6Addr, u8) = (v6(0x2000 << 112), 3);

/// Of it: protocol assignments with Teredo and ORCHID, documentation twice, 6to4.
const NEVER_V6: [(Ipv6Addr, u8); 4] = [
    (v6(0x2001 << 112), 23),
    (v6(0x2001_0db8 << 96), 32),
    (v6(0x2002 << 112), 16),
    (v6(0x3fff << 112), 20),
];

/// Unique local addresses, less the block in which a cloud serves machines' secrets.
const LOCAL_V6: (Ipv6Addr, u8) = (v6(0xfc00 << 112), 7);
const SECRETS_V6: (Ipv6Addr, u8) = (v6(0xfd00_0ec2 << 96), 32);

/// Where an address is.
pub(super) fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => {
            let within = |(block, bits): &(Ipv4Addr, u8)| {
                (address.to_bits() ^ block.to_bits()).leading_zeros() >= u32::from(*bits)
            };
            if NEVER_V4.iter().any(within) {
                return Place::Never;
            }
            if PRIVATE_V4.iter().any(within) { Place::Private } else { Place::Public }
        }
        IpAddr::V6(address) => {
            let within = |(block, bits): &(Ipv6Addr, u8)| {
                (address.to_bits() ^ block.to_bits()).leading_zeros() >= u32::from(*bits)
            };
            if within(&GLOBAL_V6) && !NEVER_V6.iter().any(within) {
                return Place::Public;
            }
            let own = within(&LOCAL_V6) && !within(&SECRETS_V6);
            if own || address == Ipv6Addr::LOCALHOST { Place::Private } else { Place::Never }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Place {
        place(text.parse().unwrap())
    }

    #[test]
    fn the_usual_suspects() {
        for never in [
            "0.0.0.0",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "198.18.0.1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:7f00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "2001:db8::1",
            "100::1",
            "3fff::1",
        ] {
            assert_eq!(of(never), Place::Never, "{never}");
        }
        for private in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "127.0.0.1",
            "127.9.9.9",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fd12::1",
        ] {
            assert_eq!(of(private), Place::Private, "{private}");
        }
        for public in
            ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1111"]
        {
            assert_eq!(of(public), Place::Public, "{public}");
        }
    }

    proptest! {
        /// What the standard library knows to be special is never public here.
        #[test]
        fn nothing_special_is_public(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let special = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_broadcast() || address.is_documentation() || address.is_multicast()
                || address.is_unspecified();
            prop_assert!(!special || place(address.into()) != Place::Public);
            prop_assert!(!address.is_link_local() || place(address.into()) == Place::Never);
        }

        /// No way to write an IPv4 address inside an IPv6 one leads to it.
        #[test]
        fn no_ipv4_address_hides_in_an_ipv6_one(bits in any::<u32>(), low in any::<u64>()) {
            let four = u128::from(bits);
            for six in [
                four,
                0xffff_u128 << 32 | four,
                0xffff_u128 << 48 | four,
                0x0064_ff9b_u128 << 96 | four,
                0x0064_ff9b_0001_u128 << 80 | four,
                0x2002_u128 << 112 | four << 80 | u128::from(low),
                0x2001_0000_u128 << 96 | four << 64 | u128::from(low),
            ] {
                let address = Ipv6Addr::from_bits(six);
                prop_assert!(place(address.into()) == Place::Never || address == Ipv6Addr::LOCALHOST);
            }
        }

        /// Only global unicast can be public, whatever the rest of the address.
        #[test]
        fn only_global_unicast_is_public(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            let public = place(address.into()) == Place::Public;
            prop_assert!(!public || bits >> 125 == 1);
            prop_assert!(!public || !address.is_unique_local() && !address.is_multicast());
        }

        /// The edges of each block are judged like its middle.
        #[test]
        fn blocks_are_whole(index in 0..NEVER_V4.len(), inside in any::<u32>()) {
            let (block, bits) = NEVER_V4[index];
            let mask = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            let address = Ipv4Addr::from_bits(block.to_bits() | (inside & mask));
            prop_assert_eq!(place(address.into()), Place::Never);
        }
    }
}
