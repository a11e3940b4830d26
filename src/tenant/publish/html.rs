//! The policy as a page: plain, without script or style, for any reader and any screen reader.

use std::fmt::Write;

use serde_json::Value;

use super::{Published, bases, basis_words, recipients};
use crate::model::promises::{PROMISES, Promise};
use crate::model::purpose::Purpose;
use crate::model::rules::{AtEnd, Partner};
use crate::tenant::Tenant;
use crate::tenant::diff::kind_name;
use crate::tenant::document::Kind;

/// Text as HTML shows it.
pub(crate) fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A table with a caption and a header for every column; the first column heads its rows.
fn table(caption: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: String = columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", text(column))).collect();
    let mut html = format!("<table><caption>{}</caption><thead><tr>{head}</tr></thead><tbody>\n", text(caption));
    for row in rows {
        html.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            let cell = text(cell);
            html.push_str(&if place == 0 { format!("<th scope=\"row\">{cell}</th>") } else { format!("<td>{cell}</td>") });
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody></table>\n"
}

/// The whole page.
pub(super) fn page(published: &Published<'_>) -> String {
    let tenant = published.tenant;
    let controller = tenant.controller();
    let title = format!("Privacy policy of {}", controller.title);
    let since = match published.published_at {
        Some(at) => format!(", published on <time datetime=\"{at}\">{}</time>", at.strftime("%Y-%m-%d")),
        None => String::new(),
    };
    let replaces = match &published.replaces {
        Some(before) => format!(" It replaces <a href=\"/v1/policy-versions/{0}\">{0}</a>.", text(before)),
        None => String::new(),
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title></head>\n<body><main>\n<h1>{title}</h1>\n<p>Version {version}{since}.{replaces} This page is made from the rules \
         that decide each use of personal data: what it does not name is refused. SHA-256 of those rules: <code>{digest}</code>. The same for \
         machines: this address with <code>Accept: application/ld+json</code>.</p>\n<h2 id=\"controller\">Who answers for the data</h2>\n\
         <p>{name}, {address}. Privacy officer: {officer}.</p>\n",
        title = text(&title),
        version = text(tenant.version()),
        digest = text(&published.sha256),
        name = text(&controller.title),
        address = text(&controller.address),
        officer = text(&controller.officer),
    );
    // Writing to a String cannot fail.
    if let Some((before, diff)) = &published.diff {
        let _ = writeln!(html, "<h2 id=\"changes\">What is not as it was in {}</h2>", text(before));
        let rows: Vec<_> = diff.widens.iter().map(|one| vec![one.what.clone(), one.of.clone(), one.to.clone()]).collect();
        html.push_str(&table("More may be done with data than before", &["What", "Of", "To"], &rows));
        let row =
            |one: &crate::tenant::Changed| vec![one.id.clone(), one.kind.clone(), one.change.clone(), one.members.join(", ")];
        let rows: Vec<_> = diff.changes.iter().map(row).collect();
        html.push_str(&table("Every change", &["Entry", "Kind", "Change", "Members"], &rows));
        if diff.changes.is_empty() {
            html.push_str("<p>Nothing.</p>\n");
        }
    }
    html.push_str("<h2 id=\"purposes\">What data is used for</h2>\n");
    tenant.purposes().iter().for_each(|purpose| html.push_str(&section(tenant, purpose)));
    html.push_str("<h2 id=\"retention\">How long it is kept</h2>\n");
    html.push_str(&retention(tenant));
    html.push_str("<h2 id=\"transfers\">Where it may go</h2>\n");
    let _ = writeln!(html, "<p>Records are stored in {}.</p>", text(tenant.storage()));
    let until = |day: Option<jiff::civil::Date>| day.map_or("no end".to_owned(), |day| day.to_string());
    let rows: Vec<_> = tenant
        .all_transfers()
        .iter()
        .map(|rule| {
            vec![format!("{} to {}", rule.from, rule.to), rule.tool.clone(), rule.evidence.clone(), until(rule.valid_until)]
        })
        .collect();
    html.push_str(&table("Ways between regions; any other is refused", &["Way", "Tool", "Evidence", "Until"], &rows));
    html.push_str("<h2 id=\"recipients\">Who may be given something</h2>\n");
    let rows: Vec<_> = tenant.partners().iter().map(|partner| agreement(partner, &until(partner.until))).collect();
    let columns = ["Recipient", "What it is", "Region", "Agreement, SHA-256", "From", "Until", "Clauses", "At its end"];
    html.push_str(&table("Recipients and their agreements; anybody else gets nothing", &columns, &rows));
    html.push_str("<h2 id=\"sources\">What collects it</h2>\n<ul>\n");
    tenant.sources().iter().for_each(|source| {
        let _ = writeln!(html, "<li>{} ({})</li>", text(&source.title), text(&source.id));
    });
    html.push_str("</ul>\n<h2 id=\"children\">Children</h2>\n");
    let ages = tenant.document().entries(Kind::AgeRules);
    let rows: Vec<_> = ages.iter().map(|(place, age)| vec![place.clone(), age["age"].to_string()]).collect();
    html.push_str(&table("Below this age a guardian decides", &["Jurisdiction", "Age"], &rows));
    html.push_str("<h2 id=\"rights\">Your rights</h2>\n<ul>\n");
    for right in &published.rights {
        let _ = writeln!(html, "<li>{} (<code>{}</code>, {})</li>", text(right.title), right.operation, text(right.term));
    }
    html.push_str("</ul>\n");
    for sla in tenant.slas() {
        let areas: Vec<&str> = sla.areas.iter().map(String::as_str).collect();
        let place = if areas.is_empty() { String::new() } else { format!(" ({})", areas.join(", ")) };
        let _ = writeln!(html, "<p>{}{}: answered within {} days.</p>", text(&sla.id), text(&place), sla.days);
    }
    html.push_str("<p>A request is refused for one of these reasons and no other:</p>\n<ul>\n");
    tenant.grounds().iter().for_each(|ground| {
        let _ = writeln!(html, "<li>{} (<code>{}</code>)</li>", text(&ground.title), text(&ground.id));
    });
    html.push_str("</ul>\n");
    html.push_str("<h2 id=\"promises\">What is promised, and what keeps it</h2>\n");
    let row = |promise: &Promise| {
        let tests: Vec<&str> = promise.tests().collect();
        vec![promise.id.to_owned(), promise.says.to_owned(), promise.means().join(", "), tests.join(", ")]
    };
    let rows: Vec<_> = PROMISES.iter().map(row).collect();
    html.push_str(&table("Each promise of the policy", &["Promise", "It says", "Kept by", "Proved by the tests"], &rows));
    html.push_str("<h2 id=\"authorities\">Where to complain</h2>\n");
    let mut authorities = String::new();
    for one in tenant.authorities() {
        let areas: Vec<&str> = one.areas.iter().map(String::as_str).collect();
        let _ = writeln!(
            authorities,
            "<li><a href=\"{}\">{}</a> ({})</li>",
            text(&one.url),
            text(&one.title),
            text(&areas.join(", "))
        );
    }
    let _ = writeln!(html, "<ul>\n{authorities}</ul>\n</main></body>\n</html>");
    html
}

fn agreement(partner: &Partner, until: &str) -> Vec<String> {
    let clauses: Vec<&str> = partner.clauses.iter().map(String::as_str).collect();
    let at_end = match partner.at_end {
        Some(AtEnd::Return) => "everything is given back",
        Some(AtEnd::Delete) => "everything is deleted",
        None => "",
    };
    vec![
        partner.title.clone(),
        kind_name(partner.kind).to_owned(),
        partner.region.clone(),
        partner.agreement.clone(),
        partner.from.to_string(),
        until.to_owned(),
        clauses.join(", "),
        at_end.to_owned(),
    ]
}

fn section(tenant: &Tenant, purpose: &Purpose) -> String {
    let mut html = format!(
        "<h3 id=\"{id}\">{title} (<code>{id}</code>)</h3>\n<p>{terms}{parent}.</p>\n",
        id = text(&purpose.id),
        title = text(&purpose.title),
        terms = text(&purpose.dpv.join(", ")),
        parent = purpose.parent.as_ref().map_or(String::new(), |id| format!(", part of <code>{}</code>", text(id))),
    );
    let sentences = [
        (purpose.aggregate_only, "It uses statistics only, never records."),
        (purpose.pseudonymous, "It sees no direct identifier."),
        (purpose.needs_rule, "Each use cites a legal rule."),
        (purpose.any_group, "It may open whatever is still there."),
        (purpose.after_closure, "It goes on after an account was closed."),
    ];
    for (_, sentence) in sentences.into_iter().filter(|(holds, _)| *holds) {
        html.push_str(&format!("<p>{sentence}</p>\n"));
    }
    let rows: Vec<Vec<String>> = purpose
        .categories
        .iter()
        .map(|category| {
            let own = tenant.fields().iter().filter(|field| field.category == *category && purpose.fields.contains(field.number));
            let names: Vec<String> = own
                .map(|field| {
                    let word = if purpose.required.contains(field.number) { "required" } else { "optional" };
                    format!("{} ({word})", field.name)
                })
                .collect();
            vec![category.clone(), if names.is_empty() { "none: direct identifiers".to_owned() } else { names.join(", ") }]
        })
        .collect();
    html.push_str(&table("Data", &["Category", "Fields"], &rows));
    let mut rows = Vec::new();
    for class in &purpose.classes {
        for (place, rule) in bases(tenant, purpose, class) {
            let more = match (&rule.assessment, rule.consent.as_str()) {
                (Some(assessment), _) => format!("assessment {assessment}"),
                (None, "separate") => "a consent of its own".to_owned(),
                _ => String::new(),
            };
            rows.push(vec![place.to_owned(), class.clone(), basis_words(rule.basis).to_owned(), rule.term.clone(), more]);
        }
    }
    html.push_str(&table("What it rests on", &["Area", "People", "Basis", "Term", "With"], &rows));
    let rows: Vec<Vec<String>> = recipients(tenant, purpose)
        .map(|partner| {
            let fields = partner.fields.iter().filter_map(|number| tenant.field_numbered(number));
            let names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
            vec![partner.title.clone(), kind_name(partner.kind).to_owned(), partner.region.clone(), names.join(", ")]
        })
        .collect();
    html.push_str(&table("Recipients", &["Recipient", "Kind", "Region", "Fields"], &rows));
    if let Some(group) = purpose.group {
        html.push_str(&format!("<p>Kept as the group <code>{}</code>.</p>\n", text(tenant.group_name(group))));
    }
    html
}

/// The retention rules with all of their members.
fn retention(tenant: &Tenant) -> String {
    let rules = tenant.document().entries(Kind::RetentionRules);
    let mut columns: Vec<&str> = vec!["group"];
    for (_, rule) in &rules {
        let members = rule.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        columns.extend(members.filter(|name| !columns.contains(name)).collect::<Vec<_>>());
    }
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let rows: Vec<Vec<String>> =
        rules.iter().map(|(_, rule)| columns.iter().map(|column| cell(&rule[*column])).collect()).collect();
    table("Periods after collection", &columns, &rows)
}
