//! What is said about one address beyond the table of routes, which has its verb, place, query and operation.

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::code::Code;
use crate::server::problem::{ANSWERED, DONE, LED_ELSEWHERE, MADE};

/// Where a schema comes from: a type.
pub(super) type FromType = fn(&mut SchemaGenerator) -> Schema;

/// A header of the request that some operations read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// `Vault-Purpose`, where the operation can do without.
    Purpose,
    /// `Idempotency-Key`.
    Idempotency,
    /// `If-Match`, needed.
    IfMatch,
    /// `If-Match`, for who wants it.
    IfMatchToo,
    /// `Vault-Contract` and `Vault-Rule`.
    Grounds,
    /// `Vault-Case`.
    Case,
    /// `Vault-Clear`.
    Clear,
    /// `Sec-GPC`.
    Gpc,
}

/// Who may call without a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Open {
    /// Nobody.
    #[default]
    Never,
    /// The holder of a claim code.
    ToClaims,
    /// Everybody.
    ToAll,
}

/// The body of a request.
pub(super) struct Takes {
    pub(super) media: &'static [&'static str],
    pub(super) schema: FromType,
    /// Whether it may be left out.
    pub(super) optional: bool,
    /// Whether it is an array of these, or a line for each.
    pub(super) many: bool,
    pub(super) examples: Vec<(&'static str, Value)>,
    /// Reads a body as the operation does.
    #[cfg(test)]
    pub(super) parse: fn(&[u8]) -> Result<(), crate::vault::call::Refused>,
}

/// An answer of success.
pub(super) struct Gives {
    pub(super) status: StatusCode,
    pub(super) says: &'static str,
    pub(super) media: Vec<(&'static str, Option<FromType>)>,
    pub(super) example: Option<Value>,
    pub(super) headers: Vec<&'static str>,
    /// What of the answer stands in the path of other operations: their parameter, and the pointer into this answer.
    pub(super) names: Option<(&'static str, &'static str)>,
}

/// One address.
pub(super) struct Described {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Its own id: that of the operation, unless another address has that.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) says: &'static str,
    pub(super) headers: Vec<Header>,
    pub(super) open: Open,
    pub(super) takes: Option<Takes>,
    pub(super) gives: Vec<Gives>,
    pub(super) codes: Vec<Code>,
}

pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An address, with its id and a few words on what it does.
pub(super) fn at(method: &'static str, path: &'static str, id: &'static str, title: &'static str) -> Described {
    let (headers, gives, codes) = (Vec::new(), Vec::new(), Vec::new());
    Described { method, path, id, title, says: "", headers, open: Open::Never, takes: None, gives, codes }
}

impl Described {
    /// More about it, in Markdown.
    pub(super) fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    /// It takes this body.
    pub(super) fn takes<T: JsonSchema + DeserializeOwned>(mut self, example: Value) -> Self {
        let examples = vec![("usual", example)];
        let media: &[&str] =
            if self.method == "PATCH" { &["application/merge-patch+json", "application/json"] } else { &["application/json"] };
        self.takes = Some(Takes {
            media,
            schema: schema_of::<T>,
            optional: false,
            many: false,
            examples,
            #[cfg(test)]
            parse: |bytes: &[u8]| crate::server::body::parse::<T>(bytes).map(|_| ()),
        });
        self
    }

    /// It takes such a body too.
    pub(super) fn or(mut self, name: &'static str, example: Value) -> Self {
        if let Some(takes) = &mut self.takes {
            takes.examples.push((name, example));
        }
        self
    }

    /// The body may be left out.
    pub(super) fn or_nothing(mut self) -> Self {
        if let Some(takes) = &mut self.takes {
            takes.optional = true;
        }
        self
    }

    /// It takes many such bodies.
    pub(super) fn takes_many<T: JsonSchema + DeserializeOwned>(self, example: Value) -> Self {
        let mut one = self.takes::<T>(example);
        if let Some(takes) = &mut one.takes {
            takes.many = true;
            takes.media = &["application/json", "application/x-ndjson"];
        }
        one
    }

    fn gives(mut self, status: StatusCode, says: &'static str, schema: Option<FromType>, example: Option<Value>) -> Self {
        let media = schema.map(|schema| ("application/json", Some(schema))).into_iter().collect();
        self.gives.push(Gives { status, says, media, example, headers: Vec::new(), names: None });
        self
    }

    /// It makes something.
    pub(super) fn made<T: JsonSchema>(self, says: &'static str, example: Value) -> Self {
        self.gives(MADE, says, Some(schema_of::<T>), Some(example))
    }

    /// It answers something.
    pub(super) fn answers<T: JsonSchema>(self, says: &'static str, example: Value) -> Self {
        self.gives(ANSWERED, says, Some(schema_of::<T>), Some(example))
    }

    /// It can lead to something else.
    pub(super) fn leads<T: JsonSchema>(self, says: &'static str, example: Value) -> Self {
        self.gives(LED_ELSEWHERE, says, Some(schema_of::<T>), Some(example)).with("Location")
    }

    /// It has nothing to say.
    pub(super) fn done(self, says: &'static str) -> Self {
        self.gives(DONE, says, None, None)
    }

    /// Something of this media type.
    pub(super) fn page(self, says: &'static str, media: &'static str) -> Self {
        self.gives(ANSWERED, says, None, None).also(media)
    }

    /// The last answer comes in this media type too.
    pub(super) fn also(mut self, media: &'static str) -> Self {
        if let Some(last) = self.gives.last_mut() {
            last.media.push((media, None));
        }
        self
    }

    /// The last answer has this header too.
    pub(super) fn with(mut self, header: &'static str) -> Self {
        if let Some(last) = self.gives.last_mut() {
            last.headers.push(header);
        }
        self
    }

    /// What is at `pointer` of the last answer stands as `parameter` in the path of other operations.
    pub(super) fn names(mut self, parameter: &'static str, pointer: &'static str) -> Self {
        if let Some(last) = self.gives.last_mut() {
            last.names = Some((parameter, pointer));
        }
        self
    }

    /// It reads these headers.
    pub(super) fn reads(mut self, headers: &[Header]) -> Self {
        self.headers.extend_from_slice(headers);
        self
    }

    /// It stands open.
    pub(super) fn open(self, open: Open) -> Self {
        Self { open, ..self }
    }

    /// It can be refused with these, beside what the edge, its body and the guards bring.
    pub(super) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend_from_slice(codes);
        self
    }
}
