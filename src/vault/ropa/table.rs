//! The records of processing as a table (RFC 4180): a line for each purpose, then one for each processor.

use crate::tenant::register::{Register, kind};

/// The columns, with the letters of Art. 30(1) and (2).
const COLUMNS: [&str; 14] = [
    "record",
    "controller (a)",
    "contact (a)",
    "purpose (b)",
    "title (b)",
    "terms (b)",
    "lawful basis",
    "people (c)",
    "data (c)",
    "recipients (d)",
    "transfers (e)",
    "time limits (f)",
    "measures (g)",
    "policy version",
];

/// The table.
pub(super) fn of(register: &Register) -> Result<Vec<u8>, csv::Error> {
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    table.write_record(COLUMNS)?;
    let own = &register.controller;
    let (contact, measures) = (format!("{}; {}", own.address, own.officer), register.measures.join("; "));
    let way = |line: &crate::tenant::register::TransferLine| {
        format!("{} to {} by {} ({})", line.from, line.to, line.tool, line.evidence)
    };
    for one in &register.activities {
        let bases = each(&one.bases, |line| format!("{} {}: {}", line.area, line.class, line.term));
        let data = each(&one.categories, |line| format!("{} ({})", line.category, line.fields.join(" ")));
        let recipients = each(&one.recipients, |line| format!("{} [{}, {}]", line.title, kind(line.kind), line.region));
        let limits = each(&one.retention, |line| {
            let what = [line.areas.join(" "), line.categories.join(" ")].join(" ");
            let what = if what.trim().is_empty() { String::new() } else { format!(" ({})", what.trim()) };
            format!("{}{what}: {}", line.group, line.period.as_deref().unwrap_or("while it is used"))
        });
        let cells = [
            "30(1)",
            &own.title,
            &contact,
            &one.purpose,
            &one.title,
            &one.dpv.join("; "),
            &bases,
            &one.subjects.join("; "),
            &data,
            &recipients,
            &each(&one.transfers, way),
            &limits,
            &measures,
            &register.policy_version,
        ];
        table.write_record(cells.map(safe))?;
    }
    for one in &register.on_behalf {
        let cells = [
            "30(2)",
            &one.controller,
            &one.officer,
            &one.processor,
            &one.title,
            &one.processing.join("; "),
            "",
            "",
            &one.fields.join("; "),
            "",
            &each(&one.transfers, way),
            "",
            &measures,
            &register.policy_version,
        ];
        table.write_record(cells.map(safe))?;
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

fn each<T>(lines: &[T], text: impl Fn(&T) -> String) -> String {
    lines.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// A cell that no spreadsheet takes for a formula: one that begins like one gets an apostrophe in front (OWASP, "CSV Injection").
fn safe(cell: &str) -> String {
    let begins_like_one = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    if begins_like_one { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;
    use crate::tenant::{Sources, Tenant};

    fn lines(table: &[u8]) -> Vec<csv::StringRecord> {
        csv::Reader::from_reader(table).records().map(Result::unwrap).collect()
    }

    #[test]
    fn the_table_has_a_line_for_each_purpose_and_processor_and_a_cell_for_each_column() {
        let register = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap().register();
        let table = of(&register).unwrap();
        let lines = lines(&table);
        assert_eq!(lines.len(), register.activities.len() + register.on_behalf.len());
        assert!(lines.iter().all(|line| line.len() == COLUMNS.len()));
        let delivery = lines.iter().find(|line| &line[3] == "b-delivery").unwrap();
        assert!(
            delivery[9].contains("A parcel service [processor, EU]") && delivery[11].contains("contract: P10Y"),
            "{delivery:?}"
        );
    }

    #[test]
    fn what_an_author_wrote_is_no_formula_and_breaks_no_cell() {
        let purposes = Sources::SHIPPED.purposes.replace("Delivering goods", "=cmd|' /C calc'!A0, \\\"x\\\"\\r\\n@SUM(1)");
        let sources = Sources { purposes: &purposes, ..Sources::SHIPPED };
        let tenant = Tenant::read(TenantId::from_bytes([1; 16]), &sources).unwrap();
        let lines = lines(&of(&tenant.register()).unwrap());
        let delivery = lines.iter().find(|line| &line[3] == "b-delivery").unwrap();
        assert_eq!(&delivery[4], "'=cmd|' /C calc'!A0, \"x\"\r\n@SUM(1)");
        for cell in lines.iter().flatten() {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
        }
    }
}
