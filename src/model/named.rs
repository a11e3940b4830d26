//! Structs by the names of their members alone. serde also takes an array of a struct's values in their order, which would
//! be a second way of saying the same.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// For a member that is a struct.
pub(super) fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Named::deserialize(d).map(|named| named.0)
}

/// For a member that is a struct or null.
pub(super) fn option<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Named<T>>::deserialize(d)?.map(|named| named.0))
}

/// For a member that is an array of structs.
pub(super) fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Named<T>>::deserialize(d)?.into_iter().map(|named| named.0).collect())
}

struct Named<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::wire::{BatchRecord, CreateSubject, ExplainDecision};

    #[test]
    fn a_struct_is_an_object_and_never_an_array_of_its_values() {
        let subject = |aliases: &str| format!(r#"{{"class":"consumer","jurisdiction":"DE","aliases":[{aliases}]}}"#);
        assert!(serde_json::from_str::<CreateSubject>(&subject(r#"{"type":"email","value":"a"}"#)).is_ok());
        assert!(serde_json::from_str::<CreateSubject>(&subject(r#"["email","a"]"#)).is_err());
        let record = |record: &str| format!(r#"{{"subject":"sub_00000000000000000000000000","record":{record}}}"#);
        let raw = serde_json::from_str::<BatchRecord>(&record(r#"{"kind":"k","fields":{"name":1.10}}"#)).unwrap();
        assert_eq!(raw.record.fields.0["name"].get(), "1.10");
        assert!(serde_json::from_str::<BatchRecord>(&record(r#"["k",[],null,null,{}]"#)).is_err());
        let decision = r#"{"action":["getSubject"],"resource":{"type":"vault","id":"vault"}}"#;
        assert!(serde_json::from_str::<ExplainDecision>(decision).is_err());
    }
}
