//! `/docs`: the document as a page, without scripts and without anything that is not on this server.

use std::fmt::Write;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::document;
use super::operations;

/// How the page looks.
pub(in crate::server) const STYLE: &str = include_str!("style.css");

/// The page. It is made once, when it is first asked for.
pub(in crate::server) fn html() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| make(document()));
    &PAGE
}

fn make(document: &Value) -> String {
    let mut page = String::with_capacity(1 << 20);
    let info = &document["info"];
    let title = escaped(text(&info["title"]));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}: the API</title><link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\n<body>\n\
         <a class=\"skip\" href=\"#operations\">To the operations</a>\n<nav aria-label=\"Contents\"><h2>{title} {}</h2>\n",
        escaped(text(&info["version"]))
    );
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        let _ = writeln!(page, "<details open><summary><a href=\"#tag-{0}\">{0}</a></summary><ul>", escaped(name));
        for (_, _, operation) in of_tag(document, name) {
            let id = escaped(text(&operation["operationId"]));
            let _ = writeln!(page, "<li><a href=\"#{id}\">{id}</a></li>");
        }
        page += "</ul></details>\n";
    }
    page += "<p><a href=\"#schemas\">Schemas</a> · <a href=\"/problems\">Problems</a> · <a href=\"/openapi.json\">openapi.json</a></p>\n";
    page += "</nav>\n<main>\n";
    let _ = writeln!(
        page,
        "<h1>{title}: the API</h1>\n<p>{}</p>\n{}",
        prose(text(&info["summary"])),
        paragraphs(text(&info["description"]))
    );
    page += "<h2 id=\"credentials\">Credentials</h2><dl>";
    for (name, scheme) in members(&document["components"]["securitySchemes"]) {
        let _ = writeln!(page, "<dt><code>{}</code></dt><dd>{}</dd>", escaped(name), prose(text(&scheme["description"])));
    }
    page += "</dl>\n<div id=\"operations\">\n";
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        let said = prose(text(&tag["description"]));
        let _ = writeln!(page, "<section><h2 id=\"tag-{0}\">{0}</h2><p>{said}</p>", escaped(name));
        for (method, path, operation) in of_tag(document, name) {
            one(&mut page, document, method, path, operation);
        }
        page += "</section>\n";
    }
    page += "</div>\n<section><h2 id=\"schemas\">Schemas</h2>\n";
    for (name, schema) in members(&document["components"]["schemas"]) {
        let _ = writeln!(page, "<article id=\"schema-{0}\"><h3><code>{0}</code></h3>", escaped(name));
        described(&mut page, schema, 0);
        page += "</article>\n";
    }
    page += "</section>\n</main>\n</body></html>\n";
    page
}

/// The operations of a tag, in the order of the table of routes.
fn of_tag<'a>(document: &'a Value, tag: &'a str) -> impl Iterator<Item = (&'static str, &'static str, &'a Value)> {
    let all = operations::all().into_iter().chain(operations::pages());
    let found = all.map(|one| (one.method, one.path, &document["paths"][one.path][one.method.to_ascii_lowercase()]));
    found.filter(move |(_, _, operation)| operation["tags"][0] == tag)
}

fn one(page: &mut String, document: &Value, method: &str, path: &str, operation: &Value) {
    let id = escaped(text(&operation["operationId"]));
    let _ = write!(
        page,
        "<article id=\"{id}\"><h3>{}</h3>\n<p class=\"address\"><b>{method}</b> <code>{}</code> <a href=\"#{id}\">{id}</a></p>\n{}",
        escaped(text(&operation["summary"])),
        escaped(path),
        paragraphs(text(&operation["description"])),
    );
    let roles: Vec<String> = members(&operation["x-roles"])
        .map(|(role, word)| match text(word) {
            "allowed" => format!("<code>{role}</code>"),
            word => format!("<code>{role}</code> ({word})"),
        })
        .collect();
    if !roles.is_empty() {
        let _ = writeln!(page, "<p>Roles: {}.</p>", roles.join(", "));
    }
    let credentials: Vec<&str> =
        list(&operation["security"]).map(|way| members(way).next().map_or("none", |(name, _)| name)).collect();
    if !credentials.is_empty() {
        let _ = writeln!(
            page,
            "<p>Credentials: <a href=\"#credentials\">{}</a>.</p>",
            credentials.join("</a> or <a href=\"#credentials\">")
        );
    }
    parameters(page, document, operation);
    if let Some(content) = operation.pointer("/requestBody/content") {
        page.push_str("<h4>Body</h4>");
        contents(page, content);
    }
    page.push_str("<h4>Answers</h4><dl>");
    for (status, answer) in members(&operation["responses"]) {
        let said = text(&answer["description"]);
        if answer.get("$ref").is_some() {
            let codes: Vec<String> = said
                .split(", ")
                .map(|code| code.trim_matches('`'))
                .map(|code| format!("<a href=\"/problems/{code}\">{code}</a>"))
                .collect();
            let _ = writeln!(page, "<dt>{status}</dt><dd>{}</dd>", codes.join(", "));
            continue;
        }
        let headers: Vec<String> =
            members(&answer["headers"]).map(|(name, _)| format!("<code>{}</code>", escaped(name))).collect();
        let _ = writeln!(page, "<dt>{status}</dt><dd><p>{} <small>{}</small></p>", prose(said), headers.join(" "));
        contents(page, &answer["content"]);
        page.push_str("</dd>");
    }
    page.push_str("</dl></article>\n");
}

fn parameters(page: &mut String, document: &Value, operation: &Value) {
    let mut lines = String::new();
    for parameter in list(&operation["parameters"]) {
        let at = parameter.get("$ref").and_then(Value::as_str).and_then(|at| document.pointer(at.trim_start_matches('#')));
        let parameter = at.unwrap_or(parameter);
        let needed = if parameter["required"] == true { "needed" } else { "" };
        let _ = writeln!(
            lines,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{needed}</td><td>{}</td></tr>",
            escaped(text(&parameter["name"])),
            text(&parameter["in"]),
            kind(&parameter["schema"]),
            prose(text(&parameter["description"])),
        );
    }
    if !lines.is_empty() {
        let head = "<th>name</th><th>in</th><th>type</th><th></th><th>what</th>";
        let _ = writeln!(
            page,
            "<h4>Parameters</h4><div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
        );
    }
}

fn contents(page: &mut String, content: &Value) {
    for (media, item) in members(content) {
        let _ = writeln!(page, "<p><code>{}</code>: {}</p>", escaped(media), kind(&item["schema"]));
        let examples = members(&item["examples"]).map(|(name, example)| (name.as_str(), &example["value"]));
        let single = item.get("example").map(|example| ("", example));
        for (name, example) in examples.chain(single) {
            let pretty = match example {
                Value::String(text) => text.clone(),
                other => serde_json::to_string_pretty(other).unwrap_or_default(),
            };
            let name = if name.is_empty() || name == "usual" {
                String::new()
            } else {
                format!(": {}", escaped(&name.replace('-', " ")))
            };
            let _ = writeln!(
                page,
                "<details><summary>Example{name}</summary><pre tabindex=\"0\">{}</pre></details>",
                escaped(&pretty)
            );
        }
    }
}

/// A schema: what is said about it, and its members.
fn described(page: &mut String, schema: &Value, depth: usize) {
    page.push_str(&paragraphs(text(&schema["description"])));
    let choices = list(&schema["oneOf"]).chain(list(&schema["anyOf"]));
    let needed: Vec<&str> = list(&schema["required"]).filter_map(Value::as_str).collect();
    let mut lines = String::new();
    for (name, member) in members(&schema["properties"]) {
        let mark = if needed.contains(&name.as_str()) { "always" } else { "" };
        let _ = writeln!(
            lines,
            "<tr><td><code>{}</code></td><td>{}</td><td>{mark}</td><td>{}</td></tr>",
            escaped(name),
            kind(member),
            prose(text(&member["description"])),
        );
    }
    if lines.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", kind(schema));
    } else {
        let head = "<th>member</th><th>type</th><th></th><th>what</th>";
        let _ = writeln!(page, "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>");
    }
    if depth == 0 {
        for choice in choices.filter(|choice| choice.get("properties").is_some()) {
            page.push_str("<p>or</p>");
            described(page, choice, 1);
        }
    }
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(at) = schema.get("$ref").and_then(Value::as_str) {
        let name = escaped(at.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(word) = schema.get("const") {
        return format!("<code>{}</code>", escaped(&word.to_string()));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words.iter().map(|word| format!("<code>{}</code>", escaped(text(word)))).collect();
        return words.join(" ");
    }
    let choices: Vec<String> = list(&schema["anyOf"]).chain(list(&schema["oneOf"])).map(kind).collect();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => vec![text(one)],
    };
    let named: Vec<String> = types
        .iter()
        .map(|name| match *name {
            "" => "anything".to_owned(),
            "array" => format!("list of {}", kind(&schema["items"])),
            name => schema["format"].as_str().map_or_else(|| name.to_owned(), |format| format!("{name} ({format})")),
        })
        .collect();
    named.join(" or ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// Text as paragraphs and lists.
fn paragraphs(text: &str) -> String {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| match block.starts_with("- ") {
            true => {
                let items = block.split("\n- ").map(|item| format!("<li>{}</li>", prose(item.trim_start_matches("- "))));
                format!("<ul>{}</ul>\n", items.collect::<String>())
            }
            false => format!("<p>{}</p>\n", prose(block)),
        })
        .collect()
}

/// Text in which backticks make code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(place, part)| if place % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) }).collect()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_document_says_is_never_markup() {
        let hostile = "<script>alert('1')</script> & \"x\" `<b>`";
        let safe = paragraphs(hostile);
        assert_eq!(safe, "<p>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot; <code>&lt;b&gt;</code></p>\n");
        assert_eq!(kind(&serde_json::json!({"$ref": "#/x/<a>"})), "<a href=\"#schema-&lt;a&gt;\">&lt;a&gt;</a>");
    }

    #[test]
    fn every_operation_and_every_schema_is_on_the_page_and_no_link_leads_nowhere() {
        let (page, document) = (html(), document());
        for (path, item) in members(&document["paths"]) {
            for (_, operation) in members(item) {
                let id = text(&operation["operationId"]);
                assert!(page.contains(&format!("<article id=\"{id}\">")), "{path}");
            }
        }
        for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
        }
    }

    #[test]
    fn the_page_runs_nothing_and_fetches_nothing_from_elsewhere() {
        let page = html();
        assert!(!page.contains("<script") && !page.contains("style=\"") && !page.contains("onclick"));
        for address in page.split("href=\"").skip(1).chain(page.split("src=\"").skip(1)).filter_map(|rest| rest.split('"').next())
        {
            assert!(address.starts_with('/') || address.starts_with('#'), "{address}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
