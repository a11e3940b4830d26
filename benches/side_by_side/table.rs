//! `table`: ceilings and vault side by side, printed as README and docs/PERFORMANCE.md show it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::client::{Target, request};
use crate::load::{self, Bounds, Work};
use crate::process::Server;
use crate::rounds::{Arm, Figures, Op, run as rounds};
use crate::vault::Vault;
use crate::{Failure, TableArgs, ceiling, growth, people};

/// Places of the arms in a run.
const BARE: usize = 0;
const APPEND: usize = 1;
const VAULT: usize = 2;
const WRITTEN: usize = 3;

/// A row of the ratios: whose rate, over whose, and what is aimed at (at 16 and 64 connections).
type Ratio = (&'static str, (usize, Op), (usize, Op), &'static str);

const RATIOS: [Ratio; 6] = [
    ("read, trail durable ÷ write ceiling", (VAULT, Op::Read), (APPEND, Op::Write), "≥ 0.7"),
    ("read, trail written ÷ bare ceiling", (WRITTEN, Op::Read), (BARE, Op::Read), "≥ 0.6"),
    ("durable write ÷ write ceiling", (VAULT, Op::Write), (APPEND, Op::Write), "≥ 0.6"),
    ("look-up, trail durable ÷ write ceiling", (VAULT, Op::Lookup), (APPEND, Op::Write), "–"),
    ("look-up, trail written ÷ bare ceiling", (WRITTEN, Op::Lookup), (BARE, Op::Lookup), "–"),
    ("write ceiling ÷ bare ceiling (the disk)", (APPEND, Op::Write), (BARE, Op::Write), "–"),
];

/// Measures and prints.
pub(crate) async fn run(args: TableArgs) -> Result<(), Failure> {
    let scratch = args.place.scratch()?;
    let mut arms = vec![
        ceiling_arm("bare axum + rustls (bare ceiling)", &scratch.path().join("bare"), false)?,
        ceiling_arm("the same + group-committed append (write ceiling)", &scratch.path().join("append"), true)?,
    ];
    if !args.ceilings_only {
        for (name, reads) in [("vault, trail durable", "durable"), ("vault, trail.reads = written", "written")] {
            eprintln!("loading {} people: {name}", args.subjects);
            let vault = Vault::start(&args.place.binary(), &scratch.path().join(reads), reads).await?;
            arms.push(vault_arm(name, vault, &args).await?);
        }
    }
    let bounds = Bounds { time: args.slice(), requests: args.requests };
    let figures = rounds(&mut arms, &args.connections, args.rounds(), bounds).await?;
    print(&figures, &arms, &args, scratch.path());
    Ok(())
}

fn ceiling_arm(name: &'static str, dir: &Path, append: bool) -> Result<Arm, Failure> {
    std::fs::create_dir_all(dir)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["ceiling", "--dir"]).arg(dir).stdout(Stdio::piped());
    let mut server = Server::start(if append { command.arg("--append") } else { &mut command })?;
    let target = Target::new(server.first_line()?.parse()?, &dir.join("ca.pem"))?;
    let same = |method, path, body: &str| Work::Requests(Arc::new(vec![request(method, path, "", "", body)]));
    let body = "x".repeat(ceiling::BODY);
    let work = vec![
        (Op::Write, same("POST", "/write", &body)),
        (Op::Read, same("GET", "/read", "")),
        (Op::Lookup, same("POST", "/read", r#"{"type":"email","value":"person0000001@example.org"}"#)),
        (Op::Erase, same("POST", "/write", "{}")),
    ];
    Ok(Arm { name, server, target, work })
}

async fn vault_arm(name: &'static str, vault: Vault, args: &TableArgs) -> Result<Arm, Failure> {
    // Those who are read get no further record, so that an answer stays a kibibyte; those who are erased are read by nobody.
    let victims: usize = args.connections.iter().map(|&open| load::victims(open)).sum::<usize>() * args.rounds();
    let half = args.subjects / 2;
    let ids = people::load(&vault, 0, args.subjects + victims).await?;
    let work = vec![
        (Op::Write, vault.writes(&ids[half..args.subjects])?),
        (Op::Read, vault.reads(&ids[..half])?),
        (Op::Lookup, vault.lookups(half)?),
        (Op::Erase, vault.erasures(ids[args.subjects..].to_vec())?),
    ];
    Ok(Arm { name, server: vault.server, target: vault.target, work })
}

fn print(figures: &Figures, arms: &[Arm], args: &TableArgs, dir: &Path) {
    let open = &args.connections;
    let joined = |cell: &dyn Fn(usize) -> String| open.iter().map(|&n| cell(n)).collect::<Vec<_>>().join(" / ");
    println!("{}", growth::machine(dir));
    println!(
        "{} rounds of {:.1} s, {} people, records of {} bytes, TLS 1.3 keep-alive.",
        args.rounds(),
        args.slice().as_secs_f64(),
        args.subjects,
        people::PLAINTEXT
    );
    println!("\n| ratio, median (least–greatest) | {} | target |", joined(&|n| format!("{n} conn")).replace(" / ", " | "));
    println!("|---|{}---|", "---|".repeat(open.len()));
    for (name, (arm, op), to, target) in RATIOS {
        if figures.has(arm, op, open[0]) {
            let cells = open.iter().map(|&n| figures.ratio((arm, op), to, n).to_string()).collect::<Vec<_>>().join(" | ");
            println!("| {name} | {cells} | {target} |");
        }
    }
    each(figures, arms, open[0], &format!("server CPU µs for one, at {} connections", joined(&|n| n.to_string())), |arm, op| {
        joined(&|n| format!("{:.0}", figures.cpu(arm, op, n)))
    });
    each(figures, arms, open[0], &format!("a second, at {} connections", joined(&|n| n.to_string())), |arm, op| {
        joined(&|n| format!("{:.0}", figures.rate(arm, op, n).median))
    });
    each(figures, arms, open[0], &format!("p50 · p99 in ms, at {} connections", joined(&|n| n.to_string())), |arm, op| {
        joined(&|n| {
            let (p50, p99) = figures.latency(arm, op, n);
            format!("{p50:.2} · {p99:.2}")
        })
    });
}

/// A table with a row for each arm and a column for each operation.
fn each(figures: &Figures, arms: &[Arm], open: usize, title: &str, cell: impl Fn(usize, Op) -> String) {
    println!("\n| {title} | {} |", Op::ALL.map(Op::name).join(" | "));
    println!("|---|---|---|---|---|");
    for (arm, what) in arms.iter().enumerate() {
        let cells = Op::ALL.map(|op| if figures.has(arm, op, open) { cell(arm, op) } else { "–".to_owned() });
        println!("| {} | {} |", what.name, cells.join(" | "));
    }
}
