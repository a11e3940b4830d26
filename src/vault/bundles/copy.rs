//! The copy of a bundle for people: one page, plain, without script or style. Everything that comes from data or configuration is
//! escaped.

use serde_json::Value;

use crate::tenant::publish::escaped;

/// Its beginning.
pub(super) fn begin(title: &str, sentences: &[String]) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title></head>\n<body><main>\n<h1>{title}</h1>\n",
        title = escaped(title)
    );
    sentences.iter().for_each(|sentence| html.push_str(&format!("<p>{}</p>\n", escaped(sentence))));
    html
}

/// Its end.
pub(super) const END: &str = "</main></body>\n</html>\n";

/// A heading.
pub(super) fn heading(text: &str) -> String {
    format!("<h2>{}</h2>\n", escaped(text))
}

/// The beginning of a table, which rows follow and [`TABLE_END`].
pub(super) fn table(caption: &str, columns: &[&str]) -> String {
    let head: String = columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", escaped(column))).collect();
    format!("<table><caption>{}</caption><thead><tr>{head}</tr></thead><tbody>\n", escaped(caption))
}

/// The end of a table.
pub(super) const TABLE_END: &str = "</tbody></table>\n";

/// A row; its first cell heads it.
pub(super) fn row(cells: &[String]) -> String {
    let mut html = String::from("<tr>");
    for (place, cell) in cells.iter().enumerate() {
        let cell = escaped(cell);
        html.push_str(&if place == 0 { format!("<th scope=\"row\">{cell}</th>") } else { format!("<td>{cell}</td>") });
    }
    html + "</tr>\n"
}

/// A list of objects as a whole table: a column for each of these members. Nothing where the list is empty.
pub(super) fn list(caption: &str, columns: &[(&str, &str)], items: &[Value]) -> String {
    if items.is_empty() {
        return format!("<p>{}: none.</p>\n", escaped(caption));
    }
    let names: Vec<&str> = columns.iter().map(|(_, title)| *title).collect();
    let mut html = table(caption, &names);
    items.iter().for_each(|item| html.push_str(&row(&cells(columns, item))));
    html + TABLE_END
}

/// The members of an object as the cells of a row.
pub(super) fn cells(columns: &[(&str, &str)], item: &Value) -> Vec<String> {
    columns.iter().map(|(member, _)| words(item.pointer(&format!("/{member}")).unwrap_or(&Value::Null))).collect()
}

/// A value in words: a text as it is, a list with commas, anything else as JSON.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_of_a_value_is_markup() {
        let nasty = "<script>alert('1')</script>&\"";
        let html = [
            begin(nasty, &[nasty.into()]),
            heading(nasty),
            list(nasty, &[("a", nasty)], &[json!({"a": nasty})]),
            list(nasty, &[("a", "b")], &[]),
            row(&[nasty.into(), nasty.into()]),
        ]
        .concat();
        assert!(!html.contains("<script") && !html.contains("alert('"));
        assert_eq!(html.matches("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;").count(), 10);
    }

    #[test]
    fn values_are_shown_in_words() {
        for (value, shown) in [
            (json!(null), ""),
            (json!("Ada"), "Ada"),
            (json!(["a", {"b": 1}]), "a, {\"b\":1}"),
            (json!(true), "yes"),
            (json!(7), "7"),
        ] {
            assert_eq!(words(&value), shown);
        }
    }
}
