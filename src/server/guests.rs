//! How many connections one address has, so that nobody fills the house alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Connections by address.
#[derive(Clone, Default)]
pub(super) struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection, counted as long as it lasts.
pub(super) struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    /// Counts a connection from `address`; none when it has `most` already. 0 is no limit.
    pub(super) fn admit(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let address = household(address);
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_insert(0);
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The address that counts: for IPv6 the first 64 bits, which is what one customer is given at the least (RFC 6177).
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        short => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_so_many_and_another_is_let_in_all_the_same() {
        let (guests, address) = (Guests::default(), |text: &str| text.parse::<IpAddr>().unwrap());
        let first = guests.admit(address("192.0.2.1"), 2).unwrap();
        let _second = guests.admit(address("::ffff:192.0.2.1"), 2).unwrap();
        assert!(guests.admit(address("192.0.2.1"), 2).is_none());
        assert!(guests.admit(address("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(guests.admit(address("192.0.2.1"), 2).is_some());
        let _one = guests.admit(address("2001:db8:0:1::1"), 1).unwrap();
        assert!(guests.admit(address("2001:db8:0:1:ffff::2"), 1).is_none(), "the same /64");
        assert!(guests.admit(address("2001:db8:0:2::1"), 1).is_some());
        assert!((0..9).all(|_| guests.admit(address("192.0.2.1"), 0).is_some()), "0 is no limit");
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let guests = Guests::default();
        drop(guests.admit("192.0.2.1".parse().unwrap(), 1));
        assert!(guests.0.lock().is_empty());
    }
}
