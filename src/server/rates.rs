//! How often: a wide limit for every caller, and a tight one for failed credentials from one address.
//!
//! The address is the connection's own; `Forwarded` headers are for anybody to write and are not read.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::config::LimitsSection;
use crate::model::code::Code;
use crate::model::ids::CallerId;
use crate::vault::call::Refused;

/// The limits with what was used of them.
pub(super) struct Rates {
    callers: Option<DefaultKeyedRateLimiter<CallerId>>,
    failures: Option<DefaultKeyedRateLimiter<Network>>,
    clock: DefaultClock,
}

/// An IPv4 address, or the 64 bits of an IPv6 address that one subscriber has.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Network {
    Four([u8; 4]),
    Six([u8; 8]),
}

impl Rates {
    /// Limits as configured; 0 in a second is none.
    pub(super) fn new(limits: &LimitsSection) -> Self {
        let callers = NonZeroU32::new(limits.caller_per_second).map(Quota::per_second);
        let failures = NonZeroU32::new(limits.failures_per_second).map(|each| {
            let burst = NonZeroU32::new(limits.failures_burst).unwrap_or(each);
            Quota::per_second(each).allow_burst(burst)
        });
        Self {
            callers: callers.map(DefaultKeyedRateLimiter::keyed),
            failures: failures.map(DefaultKeyedRateLimiter::keyed),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request of this caller.
    pub(super) fn caller(&self, caller: CallerId) -> Result<(), Refused> {
        match &self.callers {
            Some(limit) => limit.check_key(&caller).map_err(|until| self.limited(&until)),
            None => Ok(()),
        }
    }

    /// Counts a failed try from this address.
    pub(super) fn failure(&self, peer: IpAddr) -> Result<(), Refused> {
        match &self.failures {
            Some(limit) => limit.check_key(&Network::of(peer)).map_err(|until| self.limited(&until)),
            None => Ok(()),
        }
    }

    /// Forgets all who have not used up anything for a while.
    pub(super) fn prune(&self) {
        if let Some(limit) = &self.callers {
            limit.retain_recent();
            limit.shrink_to_fit();
        }
        if let Some(limit) = &self.failures {
            limit.retain_recent();
            limit.shrink_to_fit();
        }
    }

    fn limited(&self, until: &governor::NotUntil<<DefaultClock as Clock>::Instant>) -> Refused {
        let wait = until.wait_time_from(self.clock.now());
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(u32::from(wait.subsec_nanos() > 0));
        Refused { retry_after: Some(seconds.max(1)), ..Code::RateLimited.into() }
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(four) => Self::Four(four.octets()),
            IpAddr::V6(six) => {
                let [a, b, c, d, e, f, g, h, ..] = six.octets();
                Self::Six([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(caller_per_second: u32, failures_per_second: u32, failures_burst: u32) -> Rates {
        Rates::new(&LimitsSection { caller_per_second, failures_per_second, failures_burst, ..LimitsSection::default() })
    }

    #[test]
    fn the_third_failure_of_two_has_to_wait_and_others_do_not() {
        let rates = rates(1, 1, 2);
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(rates.failure(peer).is_ok() && rates.failure(peer).is_ok());
        let refused = rates.failure("::ffff:192.0.2.1".parse().unwrap()).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        assert!(rates.failure("192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn one_ipv6_subscriber_is_one_peer() {
        let rates = rates(1, 1, 1);
        assert!(rates.failure("2001:db8::1".parse().unwrap()).is_ok());
        assert!(rates.failure("2001:db8::2".parse().unwrap()).is_err());
        assert!(rates.failure("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn callers_are_counted_each_and_zero_is_no_limit() {
        let (one, other) = (CallerId::from_bytes([1; 16]), CallerId::from_bytes([2; 16]));
        let limited = rates(1, 0, 0);
        assert!(limited.caller(one).is_ok() && limited.caller(one).is_err() && limited.caller(other).is_ok());
        let free = rates(0, 0, 0);
        assert!((0..100).all(|_| free.caller(one).is_ok()));
        limited.prune();
    }
}
