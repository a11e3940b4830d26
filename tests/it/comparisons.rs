//! What is compared with `==` and could be a secret, or follow from one: nothing that is not named here with a reason. Everything
//! else goes through `keys::digest::same`, whose time depends on lengths only. docs/THREATS.md has the review.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that make an operand suspicious when one of them is a part of its name.
const SUSPICIOUS: &[&str] = &[
    "bearer",
    "certificate",
    "claim",
    "commitment",
    "credential",
    "credentials",
    "digest",
    "digests",
    "expose",
    "fingerprint",
    "hash",
    "hashes",
    "hmac",
    "mac",
    "macs",
    "okm",
    "passphrase",
    "password",
    "pin",
    "root",
    "secret",
    "secrets",
    "share",
    "shares",
    "sha256",
    "signature",
    "signatures",
    "sum",
    "tag",
    "tags",
    "thumbprint",
    "token",
    "tokens",
    "verifier",
    "verifiers",
];

/// File, the comparison, and why its time tells nobody anything.
#[rustfmt::skip]
const ALLOWED: &[(&str, &str, &str)] = &[
    ("keys/src/hierarchy.rs", "entry.tag == tag", "keyed tags of one bucket; who asks gives the alias and never sees or chooses a tag"),
    ("keys/src/password.rs", "hash.algorithm == argon2::ARGON2ID_IDENT", "the name of an algorithm"),
    ("keys/src/root/pkcs11.rs", "settings.module == token.settings.module", "a path of the configuration"),
    ("keys/src/root/pkcs11.rs", "about.label().trim_end() == token.settings.token", "the label of a token"),
    ("keys/src/root/shares.rs", "share.0[1..17] != self.vault", "the id of a vault"),
    ("keys/src/root/shares.rs", "share.0[17..33] != deal.deal", "the id of a deal"),
    ("keys/src/transition.rs", "*victim == Some((entry.tag, entry.subject))", "keyed tags of one bucket, both read from it"),
    ("src/audit/certificate.rs", "*erasure != certificate.erasure", "the id of an erasure"),
    ("src/audit/note.rs", "signature[..4] == id", "the id of a public key (C2SP)"),
    ("src/audit/open.rs", "root == checkpoint.root", "the trail is public to whom it is shown"),
    ("src/audit/scan.rs", "*hashes == *tile.hashes", "the trail is public to whom it is shown"),
    ("src/audit/scan.rs", "checkpoint.root == frontier.root()", "the trail is public to whom it is shown"),
    ("src/audit/scan.rs", "there.ok() != Some(root)", "the trail is public to whom it is shown"),
    ("src/audit/verify.rs", "checkpoint.root == frontier.root()", "the trail is public to whom it is shown"),
    ("src/audit/verify.rs", "*there != *tile.hashes", "the trail is public to whom it is shown"),
    ("src/auth/mod.rs", "row.rights.certificate.as_deref() == Some(certificate)", "the thumbprint of a public certificate, named by an officer"),
    ("src/auth/mod.rs", "name != *digest", "two digests of one token, both the registry's own"),
    ("src/auth/mod.rs", "caller.token == *token", "the id of a token"),
    ("src/auth/rows.rs", "self.certificate != wanted.certificate", "the thumbprint of a public certificate, named by an officer"),
    ("src/server/openapi/page.rs", "operation[\"tags\"][0] == tag", "a heading of the published description"),
    ("src/vault/bundles/data.rs", "entry.tag == Some(rendering.person.tag)", "tags that the trail shows"),
    ("src/vault/custody.rs", "other.deal() == share.deal()", "the id of a deal"),
    ("src/vault/custody.rs", "other.number() == share.number()", "the number of a share"),
    ("src/vault/erasure/mod.rs", "mine == Some(row.tag)", "tags that the trail shows"),
    ("src/vault/incidents/scope.rs", "*own.bytes() == token", "the id of a token"),
    ("src/vault/policies.rs", "before.sha256 == known.sha256", "drafts of a policy, which its officers read"),
    ("src/vault/restore.rs", "::keys::root::vault(&keys.root)? != vault", "the id of a vault"),
    ("src/vault/rotations/tenant.rs", "old_tokens == 0", "a count"),
    ("src/vault/trail.rs", "entry.tag == Some(tag)", "tags that the trail shows"),
];

/// The sources that are built into the program: no tests, and not the adversary, who is there to be slow and to fail.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["tests", "attacker"].contains(&name) {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The two sides of each `==` and `!=` of a line: the expressions beside it, as far as the line shows them.
fn comparisons(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for operator in ["==", "!="] {
        for (at, _) in line.match_indices(operator) {
            let left: String = line[..at].chars().rev().collect();
            let left: String = expression(&left, ")]", "([").chars().rev().collect();
            found.push(format!("{} {operator} {}", left.trim(), expression(&line[at + 2..], "([", ")]").trim()));
        }
    }
    found
}

/// What comes before the next end of an expression, brackets included that open in it.
fn expression<'a>(text: &'a str, opens: &str, closes: &str) -> &'a str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        if opens.contains(letter) {
            depth += 1;
        } else if closes.contains(letter) && depth > 0 {
            depth -= 1;
        } else if closes.contains(letter) || depth == 0 && "{};,&|=".contains(letter) && at > 1 && !text[..at].trim().is_empty() {
            return &text[..at];
        }
    }
    text
}

fn is_suspicious(comparison: &str) -> bool {
    // Sizes and whether there is anything at all are no secrets.
    if comparison
        .split(" == ")
        .flat_map(|side| side.split(" != "))
        .any(|side| [".len()", ".is_some()", ".count()"].iter().any(|end| side.ends_with(end)))
    {
        return false;
    }
    let words = comparison.split(|letter: char| !letter.is_ascii_alphanumeric());
    // Constants and variants begin with a capital: they name a kind of thing and are none.
    words.into_iter().any(|word| SUSPICIOUS.contains(&word))
}

/// Every suspicious comparison of the program: file, line, and what is compared.
fn suspicious() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("keys/src"), &mut files);
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let file = path.strip_prefix(root).unwrap().to_str().unwrap();
        for line in program.lines().filter(|line| !line.trim_start().starts_with("//")) {
            found.extend(
                comparisons(line).into_iter().filter(|one| is_suspicious(one)).map(|_| (file.to_owned(), line.trim().to_owned())),
            );
        }
    }
    found
}

#[test]
fn whatever_could_be_a_secret_is_compared_in_constant_time_or_named_here() {
    let found = suspicious();
    let allows = |file: &str, line: &str| ALLOWED.iter().any(|(known, part, _)| *known == file && line.contains(part));
    let unnamed: Vec<_> = found.iter().filter(|(file, line)| !allows(file, line)).collect();
    assert!(unnamed.is_empty(), "compare with keys::digest::same, or say here why not: {unnamed:#?}");
    let is_there = |file: &str, part: &str| found.iter().any(|(known, line)| known == file && line.contains(part));
    let stale: Vec<_> = ALLOWED.iter().filter(|(file, part, _)| !is_there(file, part)).collect();
    assert!(stale.is_empty(), "nothing is compared so any more: {stale:#?}");
}

#[test]
fn a_comparison_of_digests_tags_or_tokens_is_seen() {
    for bad in [
        "if digest(&text) != row.sha256 {",
        "let holds = claim_sha256 == Some(known);",
        "if a && self.tag == other.tag { x }",
        "match () { _ if token.text() == given => {}",
        "first.expose_secret() == again.expose_secret()",
        "okm[32..] != *commitment",
        "(mac(&key, parts) == theirs).then_some(())",
    ] {
        assert!(comparisons(bad).iter().any(|one| is_suspicious(one)), "{bad}");
    }
    for fine in ["tags.len() == 3", "if self.count == 0 || digest.is_some() {", "row.version != version && same(&tag, &other)"] {
        assert!(!comparisons(fine).iter().any(|one| is_suspicious(one)), "{fine}");
    }
}

/// The one helper, and that it is what it says.
#[test]
fn the_one_helper_compares_without_branching_on_bytes() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("keys/src/digest.rs")).unwrap();
    let body = text.split("pub fn same(a: &[u8], b: &[u8]) -> bool {").nth(1).unwrap().split('}').next().unwrap();
    assert_eq!(body.trim(), "a.ct_eq(b).into()");
    // No type that holds a secret can be compared at all.
    for file in ["keys/src/secret.rs", "keys/src/password.rs", "keys/src/sign.rs", "keys/src/aead.rs", "keys/src/root/shares.rs"]
    {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(!text.contains("PartialEq"), "{file}");
    }
}
