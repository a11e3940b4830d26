//! How types that are not ours are described in `/openapi.json`: named in `#[schemars(with = "…")]` of a member.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A moment: RFC 3339, answered in UTC.
pub struct Time;

/// A day: `YYYY-MM-DD`.
pub struct Day;

macro_rules! texts {
    ($($name:ident = $format:literal, $example:literal;)+) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "format": $format, "examples": [$example]})
            }
        }
    )+};
}

texts! {
    Time = "date-time", "2026-11-23T10:00:00Z";
    Day = "date", "2026-11-23";
}
