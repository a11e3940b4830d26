//! From types to `components/schemas`: what is asked for as serde reads it, what is answered as serde writes it.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::described::FromType;

/// Where the document keeps schemas.
const PLACE: &str = "/components/schemas";

/// The schemas of both directions, in the making.
pub(super) struct Schemas {
    asked: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            let settings = SchemaSettings::draft2020_12();
            settings.with(|settings| {
                settings.definitions_path = PLACE.into();
                settings.meta_schema = None;
            })
        };
        let (asked, answered) = (settings().for_deserialize(), settings().for_serialize());
        Self { asked: asked.into_generator(), answered: answered.into_generator() }
    }

    /// The schema of what a request brings.
    pub(super) fn asked(&mut self, of: FromType) -> Value {
        let mut schema = of(&mut self.asked).to_value();
        tidy(&mut schema, false);
        schema
    }

    /// Lets `make` refer to schemas of what is asked for.
    pub(super) fn with_asked<T>(&mut self, make: impl FnOnce(&mut SchemaGenerator) -> T) -> T {
        make(&mut self.asked)
    }

    /// The schema of what is answered. Its references are put right by [`Self::components`].
    pub(super) fn answered(&mut self, of: FromType) -> Value {
        let mut schema = of(&mut self.answered).to_value();
        tidy(&mut schema, true);
        schema
    }

    /// Everything that was referred to, and the names of those answered schemas that are not what is asked for by the same name.
    pub(super) fn components(mut self) -> (Map<String, Value>, BTreeMap<String, String>) {
        let take = |generator: &mut SchemaGenerator, answers: bool| {
            let mut all = generator.take_definitions(true);
            all.values_mut().for_each(|schema| tidy(schema, answers));
            all
        };
        let (mut all, answered) = (take(&mut self.asked, false), take(&mut self.answered, true));
        let mut renamed: BTreeMap<String, String> = BTreeMap::new();
        // A schema differs also when one that it refers to does.
        loop {
            let before = renamed.len();
            for (name, schema) in &answered {
                let mut put_right = schema.clone();
                rename(&mut put_right, &renamed);
                if all.get(name).is_some_and(|asked| *asked != put_right) {
                    renamed.entry(name.clone()).or_insert_with(|| format!("{name}Answered"));
                }
            }
            if renamed.len() == before {
                break;
            }
        }
        for (name, mut schema) in answered {
            rename(&mut schema, &renamed);
            let name = renamed.get(&name).cloned().unwrap_or(name);
            all.insert(name, schema);
        }
        (all, renamed)
    }
}

/// A reference to a schema of that name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#{PLACE}/{name}")})
}

/// Gives references to answered schemas their names.
pub(super) fn rename(schema: &mut Value, renamed: &BTreeMap<String, String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(at)) = members.get_mut("$ref")
                && let Some(new) = at.rsplit('/').next().and_then(|name| renamed.get(name))
            {
                *at = format!("#{PLACE}/{new}");
            }
            members.values_mut().for_each(|member| rename(member, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

/// Words of one list become an `enum`; what is left out of an answer when it is not there is never null in it.
fn tidy(schema: &mut Value, answers: bool) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(|member| tidy(member, answers));
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            words(members);
            if answers {
                never_null(members);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, answers)),
        _ => {}
    }
}

fn words(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let mut all: Vec<(Value, Option<String>)> = Vec::new();
    for choice in choices {
        let said = choice.get("description").and_then(Value::as_str).map(str::to_owned);
        match (choice.get("const"), choice.get("enum").and_then(Value::as_array)) {
            (Some(word), None) if word.is_string() => all.push((word.clone(), said)),
            (None, Some(several)) if several.iter().all(Value::is_string) => {
                all.extend(several.iter().map(|word| (word.clone(), None)))
            }
            _ => return,
        }
    }
    let lines =
        all.iter().filter_map(|(word, said)| Some(format!("- `{}`: {}", word.as_str()?, said.as_ref()?.replace('\n', " "))));
    let lines: Vec<String> = lines.collect();
    let words: Vec<Value> = all.iter().map(|(word, _)| word.clone()).collect();
    schema.remove("oneOf");
    schema.insert("type".into(), "string".into());
    schema.insert("enum".into(), words.into());
    if !lines.is_empty() {
        let said = schema.get("description").and_then(Value::as_str).map_or_else(String::new, |said| format!("{said}\n\n"));
        schema.insert("description".into(), format!("{said}{}", lines.join("\n")).into());
    }
}

fn never_null(schema: &mut Map<String, Value>) {
    let required: Vec<String> = strings(schema.get("required"));
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
        let Value::Object(property) = property else { continue };
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                property.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
            choices.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
            if let [only] = choices.as_slice() {
                let only = only.clone();
                property.remove("anyOf");
                if let Value::Object(only) = only {
                    property.extend(only);
                }
            }
        }
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let all = list.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|one| one.as_str().map(str::to_owned)).collect()
}
