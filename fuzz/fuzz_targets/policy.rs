//! A policy in its canonical text, and its parts as TOML: what is read is a tenant or is refused, and is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::model::ids::TenantId;
use oubliette::tenant::document::Document;
use oubliette::tenant::{Sources, Tenant};

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let id = TenantId::from_bytes([1; 16]);
    let shipped = Sources::SHIPPED;
    let sources = match kind % 11 {
        0 => {
            let Some(document) = Document::of_text(text) else { return };
            let written = document.text();
            assert_eq!(Document::of_text(&written).expect("what was written can be read").text(), written);
            let _ = Tenant::of(id, document);
            return;
        }
        1 => Sources { tenant: text, ..shipped },
        2 => Sources { fields: text, ..shipped },
        3 => Sources { purposes: text, ..shipped },
        4 => Sources { retention: text, ..shipped },
        5 => Sources { rules: text, ..shipped },
        6 => Sources { transfers: text, ..shipped },
        7 => Sources { contacts: text, ..shipped },
        8 => Sources { requests: text, ..shipped },
        9 => Sources { notices: text, ..shipped },
        _ => Sources { incidents: text, ..shipped },
    };
    if let Ok(tenant) = Tenant::read(id, &sources) {
        let written = tenant.document().text();
        assert_eq!(Document::of_text(&written).expect("what was written can be read").text(), written);
    }
});
