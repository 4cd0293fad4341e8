//! Prefixes of client addresses: `10.0.0.0/8`, `fd00::/8`, or one address.

use std::net::IpAddr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    bits: u128,
    mask: u128,
    is_v4: bool,
}

impl Prefix {
    /// Reads an address, or one with the length of the prefix in bits.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no address prefix; expected 10.0.0.0/8, fd00::/8 or one address")
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => width,
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().ok().filter(|length| *length <= width).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let mask = match width - length {
            0 => u128::MAX,
            behind => u128::MAX.checked_shl(behind).unwrap_or_default(),
        };
        let (bits, is_v4) = bits(address);
        let kept = bits & mask;
        match kept == bits {
            true => Ok(Self { bits, mask, is_v4 }),
            false => Err(format!(
                "{text:?} has bits beyond its prefix; did you mean {}/{length}?",
                address_of(kept, is_v4)
            )),
        }
    }

    /// Whether `address` begins so. An IPv4 address in IPv6 form is the IPv4 address.
    pub(super) fn has(self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address.to_canonical());
        is_v4 == self.is_v4 && bits & self.mask == self.bits
    }
}

/// The address's bits, the last one lowest, and whether they are those of IPv4.
fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

fn address_of(bits: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if is_v4 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_their_addresses_and_no_others() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "a00::", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "fe80::1", true),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.7", "192.168.1.6", false),
            ("192.168.1.6/31", "192.168.1.7", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::1", "::1", true),
        ];
        for (prefix, address, expected) in cases {
            let is_in = Prefix::parse(prefix).unwrap().has(address.parse().unwrap());
            assert_eq!(is_in, expected, "{prefix} {address}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for refused in [
            "",
            "10",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "host",
            "10.0.0.0/8/8",
            " 10.0.0.0",
        ] {
            assert!(Prefix::parse(refused).is_err(), "{refused}");
        }
        let said = Prefix::parse("10.1.2.3/8").unwrap_err();
        assert!(said.contains("did you mean 10.0.0.0/8"), "{said}");
        assert!(Prefix::parse("fd12::1/8").unwrap_err().contains("did you mean fd00::/8"));
    }
}
