//! Ids and bearer tokens in their text form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::model::ids::{CallerId, DecisionId, ErasureId, RecordId, SubjectId, TenantId, TokenId, VaultId};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    /// What is read as an id is exactly the text that it is written as.
    macro_rules! one_form {
        ($($id:ty)+) => { $(if let Ok(id) = text.parse::<$id>() { assert_eq!(id.to_string(), text); })+ };
    }
    one_form!(SubjectId RecordId ErasureId CallerId TokenId DecisionId TenantId VaultId);
});
