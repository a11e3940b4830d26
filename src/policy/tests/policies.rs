//! Policies out of dice: the shipped fields, purposes and groups under other bases, assessments, rules, transfers, agreements.

use std::fmt::Write;

use crate::model::ids::TenantId;
use crate::tenant::{Sources, Tenant};

/// How many.
const POLICIES: u64 = 48;

/// The shipped policy, and many others.
pub(super) fn policies() -> Vec<Tenant> {
    (0..POLICIES).map(policy).collect()
}

fn policy(seed: u64) -> Tenant {
    let shipped = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
    if seed == 0 {
        let transfers = transfers(&mut Steps(0));
        return Tenant::read(shipped.id(), &Sources { transfers: &transfers, ..Sources::SHIPPED }).unwrap();
    }
    let mut steps = Steps(seed * 7_919);
    let rules = rules(&shipped, &mut steps);
    let transfers = transfers(&mut steps);
    // The legal rules that the shipped periods cite are not among these.
    let cites = |line: &&str| !line.starts_with("rule = ");
    let retention = Sources::SHIPPED.retention.lines().filter(cites).map(|line| format!("{line}\n")).collect::<String>();
    let sources = Sources { rules: &rules, transfers: &transfers, retention: &retention, ..Sources::SHIPPED };
    Tenant::read(shipped.id(), &sources).unwrap()
}

/// A generator of its own (a linear congruence, high bits), so that worlds and policies do not run alike.
struct Steps(u64);

impl Steps {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn once_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    fn of<'t>(&mut self, things: &[&'t str]) -> &'t str {
        things[self.below(things.len() as u64) as usize]
    }
}

fn rules(shipped: &Tenant, steps: &mut Steps) -> String {
    let mut text = Sources::SHIPPED.rules.split("[[basis]]").next().unwrap().to_owned();
    let ids: Vec<&str> = shipped.purposes().iter().filter(|own| !own.aggregate_only).map(|own| own.id.as_str()).collect();
    for id in &ids {
        let has_parent = shipped.purpose(id).unwrap().parent.is_some();
        if has_parent && !steps.once_in(3) {
            continue;
        }
        for (number, areas) in [r#""EEA", "GB", "CH""#, r#""CN""#, r#""US", "REST""#, r#""DE""#].into_iter().enumerate() {
            let for_suppliers = steps.once_in(6);
            if number == 3 && !steps.once_in(4) || steps.once_in(8) {
                continue;
            }
            for classes in [None, Some("business-contact")].into_iter().take(1 + usize::from(for_suppliers)) {
                let basis = steps.of(&["consent", "consent", "contract", "account", "legal-obligation", "legitimate-interest"]);
                let basis = if number == 1 && basis == "legitimate-interest" { "account" } else { basis };
                let class = classes.map(|class| format!("classes = [\"{class}\"]\n")).unwrap_or_default();
                let more = match basis {
                    "consent" if steps.once_in(3) => "consent = \"separate\"\n".to_owned(),
                    "legitimate-interest" => format!("assessment = \"lia-{id}\"\n"),
                    _ => String::new(),
                };
                let kind = if classes.is_some() { "s" } else { "a" };
                write!(
                    text,
                    "[[basis]]\nid = \"{id}-{number}-{kind}\"\npurpose = \"{id}\"\nareas = [{areas}]\n{class}basis = \"{basis}\"\nterm = \"t\"\n{more}\n"
                )
                .unwrap();
            }
        }
    }
    for id in &ids {
        let others: Vec<String> = ids.iter().filter(|_| steps.once_in(3)).map(|other| format!("\"{other}\"")).collect();
        let from = steps.of(&["2026-06-01", "2026-06-01", "2026-11-23", "2026-11-24"]);
        let until = steps.of(&["", "", "valid_until = \"2026-11-23\"\n", "valid_until = \"2026-11-22\"\n"]);
        write!(
            text,
            "[[assessment]]\nid = \"lia-{id}\"\npurpose = \"{id}\"\ncompatible = [{}]\napproved_on = \"{from}\"\nreviewer = \"r\"\n{until}\n",
            others.join(", ")
        )
        .unwrap();
    }
    // Retention cites the shipped ones.
    let (_, legal) = Sources::SHIPPED.rules.split_once("[[rule]]").unwrap();
    text.push_str("[[rule]]");
    text.push_str(legal);
    text.push('\n');
    for (id, area) in [("r-de", "DE"), ("r-cn", "CN"), ("r-eea", "EEA")] {
        let categories = steps.of(&["", "", r#"categories = ["pd:Transaction", "pd:Name"]"#, r#"categories = ["pd:UID"]"#]);
        write!(text, "[[rule]]\nid = \"{id}\"\nstatute = \"s\"\nareas = [\"{area}\"]\n{categories}\n\n").unwrap();
    }
    text
}

fn transfers(steps: &mut Steps) -> String {
    let shipped = Sources::SHIPPED.transfers;
    let mut text = shipped.split("[[transfer]]").next().unwrap().to_owned();
    let tools = ["scc", "adequacy", "anonymise", "anonymise", "authority-approval"];
    for (number, (from, to)) in [("EU", "JP"), ("EU", "CN"), ("CN", "EU"), ("CN", "US"), ("JP", "EU"), ("EU", "US"), ("CN", "JP")]
        .into_iter()
        .chain([("EU", "JP"), ("EU", "CN"), ("CN", "US"), ("CN", "EU")])
        .enumerate()
    {
        if steps.once_in(3) {
            continue;
        }
        let tool = steps.of(&tools);
        let until = steps.of(&["", "", "", "valid_until = \"2026-11-23\"\n", "valid_until = \"2026-11-22\"\n"]);
        write!(
            text,
            "[[transfer]]\nid = \"t-{number}\"\nfrom = \"{from}\"\nto = \"{to}\"\ntool = \"{tool}\"\nevidence = \"e\"\n{until}\n"
        )
        .unwrap();
    }
    let (_, rest) = shipped.split_once("[[source]]").unwrap();
    text += "[[source]]";
    text += rest;
    let no_text = "0".repeat(64);
    write!(
        text,
        "\n[[partner]]\nid = \"court-us\"\ntitle = \"A court\"\nkind = \"authority\"\nregion = \"US\"\npurposes = []\nfields = []\nagreement = \"{no_text}\"\nfrom = \"2026-01-01\"\n"
    )
    .unwrap();
    let from = steps.of(&["2026-01-01", "2026-01-01", "2026-11-23", "2026-11-24"]);
    text = text.replacen("from = \"2026-01-01\"", &format!("from = \"{from}\""), 1);
    let until = steps.of(&["", "until = \"2026-11-23\"\n", "until = \"2026-11-22\"\n"]);
    text.replacen("kind = \"affiliate\"", &format!("{until}kind = \"affiliate\""), 1)
}
