//! Typed, unguessable ids: a prefix and 26 characters of Crockford base32 over 128 random bits.
//!
//! An id is never derived from data, so it says nothing about the person behind it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Crockford's alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of a 128-bit number in base32: 25 of 5 bits and a first of 3.
const LENGTH: usize = 26;

/// A text that is not an id of the wanted kind. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct BadId;

fn encode(bytes: &[u8; 16]) -> [u8; LENGTH] {
    let mut number = u128::from_be_bytes(*bytes);
    let mut text = [b'0'; LENGTH];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(number & 31) as usize];
        number >>= 5;
    }
    text
}

fn decode(text: &str) -> Result<[u8; 16], BadId> {
    if text.len() != LENGTH {
        return Err(BadId);
    }
    let mut number: u128 = 0;
    for (position, letter) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&a| a == letter).ok_or(BadId)?;
        if position == 0 && digit > 7 {
            return Err(BadId);
        }
        number = (number << 5) | digit as u128;
    }
    Ok(number.to_be_bytes())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The prefix of this kind of id, with its underscore.
            pub const PREFIX: &'static str = $prefix;

            /// An id over 128 bits, which the maker took from the operating system's generator.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 128 bits.
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                let text = encode(&self.0);
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                decode(text.strip_prefix($prefix).ok_or(BadId)?).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let pattern = concat!("^", $prefix, "[0-7][0-9a-hjkmnp-tv-z]{25}$");
                let example = concat!($prefix, "4h7k2m9p3q8r5s1t6v0w7x2y4z");
                schemars::json_schema!({
                    "type": "string", "pattern": pattern, "description": concat!("An id: ", $prefix, " and 26 characters, random, never derived from data."),
                    "examples": [example],
                })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(|_| serde::de::Error::custom(concat!("not a ", $prefix, " id")))
            }
        }
    )+};
}

ids! {
    /// The person.
    SubjectId = "sub_";
    /// One record of a subject.
    RecordId = "rec_";
    /// One consent event.
    ConsentId = "cns_";
    /// One disclosure to a partner.
    DisclosureId = "dis_";
    /// One notice, shown or to be sent.
    NoticeId = "ntc_";
    /// The name by which one partner knows one person.
    PseudonymId = "psn_";
    /// One erasure.
    ErasureId = "ers_";
    /// One restriction of a subject: Art. 18, an objection, a dispute, a legal hold.
    RestrictionId = "rst_";
    /// One request of a person.
    RequestId = "req_";
    /// One case of a disclosure that needs two people.
    CaseId = "cas_";
    /// One paper of a request or a case: evidence, a letter.
    PaperId = "pap_";
    /// One incident.
    IncidentId = "inc_";
    /// One message on its way out.
    DeliveryId = "dlv_";
    /// One rotation of keys.
    KeyJobId = "job_";
    /// Who asks: an application, a partner, an officer.
    CallerId = "clr_";
    /// One bearer token of a caller (not its secret).
    TokenId = "tok_";
    /// One decision: the id of its entry in the trail.
    DecisionId = "dec_";
    /// One tenant (controller).
    TenantId = "ten_";
    /// One proposal of a policy version.
    ProposalId = "prp_";
    /// The vault itself.
    VaultId = "vlt_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let id = SubjectId::from_bytes(bytes);
            assert_eq!(id.to_string().parse::<SubjectId>(), Ok(id));
            assert_eq!(id.to_string().len(), 4 + LENGTH);
        }
    }

    #[test]
    fn other_prefixes_lengths_letters_and_overflows_are_refused() {
        let good = SubjectId::from_bytes([7; 16]).to_string();
        assert!(good.parse::<RecordId>().is_err());
        assert!(good[..29].parse::<SubjectId>().is_err());
        assert!(format!("{good}0").parse::<SubjectId>().is_err());
        assert!("sub_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<SubjectId>().is_err());
        assert!("sub_0zzzzzzzzzzzzzzzzzzzzzzzzu".parse::<SubjectId>().is_err());
        assert!(good.to_uppercase().parse::<SubjectId>().is_err());
    }
}
