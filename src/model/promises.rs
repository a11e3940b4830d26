//! What the policy promises, what in the program keeps each promise, and the tests that prove it.
//!
//! The names of the tests stand in `promises.txt`, which the tests themselves compare with what they were built from: a promise
//! without a test that ran is a failed build (`tests/it/executable.rs`).

use super::caller::Operation;
use super::code::Code;

/// Something of the program that keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A guard of the decision.
    Guard(&'static str),
    /// An operation.
    Does(Operation),
    /// What is answered where the promise would be broken.
    Refuses(Code),
    /// A part that works by itself, in a few words.
    Part(&'static str),
}

/// One promise.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// `p01` to `p61`.
    pub id: &'static str,
    /// What is promised.
    pub says: &'static str,
    /// What keeps it.
    pub by: &'static [By],
}

use By::{Does, Guard, Part, Refuses};
use Operation as O;

const fn promise(id: &'static str, says: &'static str, by: &'static [By]) -> Promise {
    Promise { id, says, by }
}

/// All of them, in the order of the policy.
#[rustfmt::skip]
pub const PROMISES: &[Promise] = &[
    promise("p01", "The company that deals with you answers for your data, and no other company of the group sees it.",
        &[Guard("G0"), Refuses(Code::ControllerUnknown), Does(O::ReadConfig)]),
    promise("p02", "You are shown the policy before anything about you is collected.", &[Refuses(Code::NoticeRequired), Does(O::SendNotice)]),
    promise("p03", "The policy says what is collected, for what, for whom and how it is protected: it is made from the rules that decide.",
        &[Does(O::GetPolicyVersion), Does(O::PublishPolicy)]),
    promise("p04", "What the policy does not name is not done.", &[Guard("G3"), Refuses(Code::PurposeNotPublished)]),
    promise("p05", "Linked sites of others get nothing from here.", &[Refuses(Code::RecipientUnknown), Does(O::Disclose)]),
    promise("p06", "What identifies you in combination is personal data too.", &[Guard("G13"), Refuses(Code::CombinationIdentifies), Does(O::DraftConfig)]),
    promise("p07", "Where data about you comes from is kept with it, and you are told what others gave.",
        &[Refuses(Code::ProvenanceRequired), Does(O::WriteRecord), Does(O::GetRequestResult)]),
    promise("p08", "Only the kinds of data that the policy lists are kept.", &[Refuses(Code::FieldNotInCatalogue), Does(O::WriteRecord)]),
    promise("p09", "Your password is kept as something that can be checked and never read.", &[Part("Argon2id verifiers"), Does(O::VerifySecret)]),
    promise("p10", "Images and identity papers are masked unless somebody shows once more who they are.", &[Guard("G13"), Refuses(Code::StepUpRequired), Does(O::StepUp)]),
    promise("p11", "Nobody is found by what they wrote in a message.", &[Refuses(Code::NotIndexable), Does(O::LookupSubject)]),
    promise("p12", "What you do not give closes only what needs it.", &[Refuses(Code::FieldRequired), Does(O::WriteRecord)]),
    promise("p13", "For your account: identity, contact and credentials.", &[Guard("G5"), Refuses(Code::CategoryNotPermitted)]),
    promise("p14", "For what you ordered: what the order needs, while its contract is in force.", &[Guard("G7"), Refuses(Code::ContractInactive)]),
    promise("p15", "Marketing only with your consent, which you can take back at any time.", &[Guard("G7"), Refuses(Code::ConsentWithdrawn), Does(O::SetPreference)]),
    promise("p16", "Notices about the service and its security reach you, and advertise nothing.", &[Refuses(Code::PromotionalNotice), Does(O::SendNotice)]),
    promise("p17", "Personalised advertising can be turned off, also by your browser's signal, and is never for children.",
        &[Guard("G7"), Guard("G9"), Refuses(Code::ObjectionActive), Does(O::SetPreference)]),
    promise("p18", "Supplier management is about business contacts only.", &[Guard("G5"), Refuses(Code::SubjectClassMismatch)]),
    promise("p19", "Improvement sees no names.", &[Guard("G13"), Does(O::QueryRecords)]),
    promise("p20", "Efficiency is measured with statistics, never with records.", &[Guard("G3"), Refuses(Code::AggregateOnly), Does(O::ReadStats)]),
    promise("p21", "An error report is sent when you choose to send it.", &[Guard("G7"), Refuses(Code::ConsentMissing)]),
    promise("p22", "What you upload is read by you and the application that you gave it to.", &[Guard("G5"), Refuses(Code::OriginScope)]),
    promise("p23", "Security and fraud prevention go on where a restriction says so.", &[Guard("G8"), Does(O::RestrictSubject)]),
    promise("p24", "What the law demands cites the law.", &[Guard("G7"), Refuses(Code::RuleRequired), Refuses(Code::NoLawfulBasis)]),
    promise("p25", "Statistics are kept apart, under a key of their own, and show no small cells.", &[Part("statistics key"), Does(O::RecordStats), Does(O::ReadStats)]),
    promise("p26", "Mixed data counts as personal data.", &[Refuses(Code::MixedDataIsPersonal), Does(O::RecordStats)]),
    promise("p27", "There is a legal basis for every use.", &[Guard("G7"), Refuses(Code::NoLawfulBasis), Does(O::ExplainDecision)]),
    promise("p28", "Every consent is kept with a receipt that you can check.", &[Does(O::RecordConsent), Does(O::GetConsentReceipt)]),
    promise("p29", "A legitimate interest was assessed, and you can object.", &[Guard("G7"), Refuses(Code::LiaMissing), Refuses(Code::ObjectionActive)]),
    promise("p30", "A cookie is read by the site that set it, and a session ends within a day.", &[Guard("G5"), Refuses(Code::OriginScope), Part("sweeper")]),
    promise("p31", "You can delete your cookies and device identifiers at once.", &[Does(O::OpenErasure), Does(O::SetPreference)]),
    promise("p32", "Advertising partners know you by a name of their own that no two of them can join.", &[Guard("G11"), Refuses(Code::IdentityToAdPartner)]),
    promise("p33", "Partners that serve you get what they need, and a ledger says what, before a byte leaves.", &[Guard("G11"), Does(O::Disclose), Does(O::ListDisclosures)]),
    promise("p34", "Companies of the group need a purpose and a transfer rule like anybody else.", &[Guard("G10"), Refuses(Code::TransferNotPermitted)]),
    promise("p35", "A partner sees what its agreement says, for as long as it says so.", &[Guard("G11"), Refuses(Code::OutsideEntrustment), Does(O::IssueToken)]),
    promise("p36", "Another use by a partner needs a consent of its own.", &[Guard("G11"), Refuses(Code::OutsideEntrustment)]),
    promise("p37", "Nothing that identifies you goes to advertising and analytics unless you said so expressly.", &[Guard("G11"), Refuses(Code::IdentityToAdPartner)]),
    promise("p38", "Authorities get data on legal process alone, decided by two people.", &[Does(O::OpenCase), Does(O::ApproveCase), Refuses(Code::SecondPersonRequired)]),
    promise("p39", "A reasonable need is named, decided by two people, ends, and is counted.", &[Does(O::OpenCase), Does(O::ApproveCase), Does(O::GetRopa)]),
    promise("p40", "Data is kept accurate, and whoever got it hears of a correction.", &[Does(O::RectifyRecord), Refuses(Code::Stale), Part("calls to partners")]),
    promise("p41", "You can have a copy of everything about you.", &[Does(O::OpenRequest), Does(O::GetRequestResult)]),
    promise("p42", "You can have it corrected.", &[Does(O::RectifyRecord), Refuses(Code::EvidenceRequired)]),
    promise("p43", "You can restrict or refuse its use.", &[Guard("G8"), Does(O::RestrictSubject), Does(O::LiftRestriction)]),
    promise("p44", "You can have it deleted, so that nobody can read it again.", &[Guard("G15"), Does(O::OpenErasure), Does(O::ApproveErasure), Does(O::GetErasure)]),
    promise("p45", "A request is made on-line, and it is made sure that it is yours.", &[Does(O::OpenRequest), Does(O::AdvanceRequest)]),
    promise("p46", "A request is refused only for a reason of a closed list, by two people, with the way to appeal.", &[Does(O::AdvanceRequest)]),
    promise("p47", "A consent can be taken back at any time, as easily as it was given.", &[Guard("G7"), Does(O::RecordConsent), Refuses(Code::KeyDestroyed)]),
    promise("p48", "You are told which authority you can complain to.", &[Does(O::OpenRequest), Does(O::GetPolicyVersion)]),
    promise("p49", "Data is encrypted, on its way and where it lies.", &[Part("TLS 1.3"), Part("AES-256-GCM for each field"), Guard("G15")]),
    promise("p50", "Only who is authorised has access.", &[Guard("G0"), Guard("G1"), Does(O::ExplainDecision)]),
    promise("p51", "Data is protected against attack, change and loss, and a backup brings nobody back.", &[Guard("G14"), Part("Merkle tree over the trail"), Part("key epochs")]),
    promise("p52", "Whoever reads was trained, and not too long ago.", &[Guard("G0"), Refuses(Code::TrainingRequired)]),
    promise("p53", "You and the regulator are told in time of what went wrong.", &[Does(O::PutIncident), Does(O::GetIncident)]),
    promise("p54", "Data is kept as long as its purposes need.", &[Guard("G12"), Refuses(Code::RetentionExpired), Part("sweeper")]),
    promise("p55", "It is kept longer only where the law, a contract, a dispute or your own word wants it.", &[Guard("G8"), Refuses(Code::Held), Does(O::RestrictSubject)]),
    promise("p56", "With the account goes what no law keeps.", &[Guard("G2"), Refuses(Code::AccountClosed), Does(O::OpenRequest)]),
    promise("p57", "No child has an account without a guardian's consent.", &[Refuses(Code::GuardianConsentRequired), Does(O::CreateSubject)]),
    promise("p58", "A child's data is used as law and guardian allow, or to protect the child.", &[Guard("G9"), Refuses(Code::MinorProtection), Does(O::OpenCase)]),
    promise("p59", "A child who is found out without that consent is erased.", &[Part("sweeper"), Does(O::RectifyRecord)]),
    promise("p60", "Data crosses a border by a rule in force and no other way.", &[Guard("G10"), Refuses(Code::TransferNotPermitted), Refuses(Code::ForeignAuthorityApprovalRequired)]),
    promise("p61", "A material change is announced and asked again where it must be; you are answered in time.",
        &[Guard("G7"), Refuses(Code::ReconsentRequired), Does(O::PublishPolicy), Does(O::OpenRequest)]),
];

/// The names of the tests, one a line, in their order.
pub const TESTS: &str = include_str!("promises.txt");

impl Promise {
    /// The tests that prove it.
    pub fn tests(&self) -> impl Iterator<Item = &'static str> {
        let start = format!("promise_{}_", self.id);
        TESTS.lines().filter(move |name| name.starts_with(&start))
    }

    /// What keeps it, in words.
    pub fn means(&self) -> Vec<String> {
        self.by.iter().map(By::to_string).collect()
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Guard(guard) => write!(out, "guard {guard}"),
            Self::Does(operation) => out.write_str(operation.text()),
            Self::Refuses(code) => write!(out, "refusal {}", code.text()),
            Self::Part(part) => out.write_str(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sixty_one_promises_each_with_what_keeps_it() {
        let ids: Vec<String> = PROMISES.iter().map(|promise| promise.id.to_owned()).collect();
        assert_eq!(ids, (1..=61).map(|number| format!("p{number:02}")).collect::<Vec<_>>());
        assert!(PROMISES.iter().all(|promise| !promise.by.is_empty() && promise.says.ends_with('.')));
    }

    #[test]
    fn every_promise_names_a_test() {
        for promise in PROMISES {
            assert!(promise.tests().next().is_some(), "{} has no test", promise.id);
        }
    }
}
