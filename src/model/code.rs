//! Every way in which the vault says no: one code, one sentence. The statuses stand in `server::problem`.

macro_rules! codes {
    ($($name:ident = $text:literal, $sentence:literal;)+) => {
        /// One problem code. Its text form ends `urn:oubliette:problem:<code>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $sentence] $name,)+
        }

        impl Code {
            /// All of them, in the order of the documents.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The code as it stands in problem documents and in the trail.
            pub const fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)+ }
            }

            /// The one sentence that explains it. It never holds a value.
            pub const fn sentence(self) -> &'static str {
                match self { $(Code::$name => $sentence,)+ }
            }
        }
    };
}

codes! {
    MalformedBody = "malformed-body",
        "The body is not valid JSON in UTF-8, or repeats a key.";
    MalformedRequest = "malformed-request",
        "A path, query or header value of the request is not in the expected form.";
    PurposeRequired = "purpose-required",
        "This operation needs the header Vault-Purpose.";
    BadCursor = "bad-cursor",
        "The cursor is not one that this vault gave for this list.";
    Unauthenticated = "unauthenticated",
        "Valid credentials are needed.";
    StepUpRequired = "step-up-required",
        "Clear text of this needs stronger authentication.";
    TrainingRequired = "training-required",
        "The person behind these credentials needs a current privacy training.";
    ControllerUnknown = "controller-unknown",
        "These credentials belong to no controller that this vault knows.";
    RoleForbidden = "role-forbidden",
        "No role of the caller allows this operation.";
    PurposeNotPublished = "purpose-not-published",
        "The purpose is not part of the published policy.";
    PurposeNotGranted = "purpose-not-granted",
        "The purpose is not in the grant of these credentials.";
    CategoryNotPermitted = "category-not-permitted",
        "A field's category does not belong to the purpose.";
    SubjectClassMismatch = "subject-class-mismatch",
        "The purpose does not cover subjects of this class.";
    AggregateOnly = "aggregate-only",
        "The purpose uses non-identifiable statistics only, never records.";
    PurposeIncompatible = "purpose-incompatible",
        "What was collected for other purposes is not used for this one.";
    NoLawfulBasis = "no-lawful-basis",
        "Nothing in the published policy lets this purpose use data of this person.";
    ConsentMissing = "consent-missing",
        "The person has not consented to this purpose.";
    ConsentWithdrawn = "consent-withdrawn",
        "The person has taken the consent to this purpose back.";
    ConsentExpired = "consent-expired",
        "The consent to this purpose has ended.";
    SeparateConsentRequired = "separate-consent-required",
        "This needs a consent of its own, apart from any other.";
    ReconsentRequired = "reconsent-required",
        "The purpose has widened since the person consented.";
    ObjectionActive = "objection-active",
        "The person objects to this purpose.";
    ContractInactive = "contract-inactive",
        "No contract is in force that this purpose can rest on.";
    Restricted = "restricted",
        "The processing of this person's data is restricted.";
    Held = "held",
        "This is held for a case and used for nothing else.";
    MinorProtection = "minor-protection",
        "A child's data is not used for this.";
    TransferNotPermitted = "transfer-not-permitted",
        "No rule in force lets the data pass to this region.";
    ForeignAuthorityApprovalRequired = "foreign-authority-approval-required",
        "Data stored in this region goes to a foreign authority only with an approval.";
    RecipientUnknown = "recipient-unknown",
        "The recipient is not in the register of partners.";
    OutsideEntrustment = "outside-entrustment",
        "The agreement with the recipient does not cover this.";
    OutsideCase = "outside-case",
        "The case does not cover this.";
    IdentityToAdPartner = "identity-to-ad-partner",
        "Advertising and analytics partners get nothing that identifies a person.";
    NotAvailable = "not-available",
        "This is not available to the partner.";
    OriginScope = "origin-scope",
        "Only the system that this came in through may read it.";
    CombinationIdentifies = "combination-identifies",
        "Too few people share this combination.";
    SecondPersonRequired = "second-person-required",
        "Another person than the one who opened it must approve.";
    VerificationRequired = "verification-required",
        "Who is asking must be known more surely before this is worked on.";
    WrongCode = "wrong-code",
        "The code is not the one that was sent.";
    SeparationOfDuties = "separation-of-duties",
        "These roles may not be held together.";
    NotFound = "not-found",
        "There is nothing here for this caller.";
    MethodNotAllowed = "method-not-allowed",
        "This address does not answer that method.";
    RequestTimeout = "request-timeout",
        "The request did not arrive in time.";
    AliasTaken = "alias-taken",
        "Another subject is already found by one of these aliases.";
    IdempotencyInFlight = "idempotency-in-flight",
        "A request with this Idempotency-Key is still being worked on.";
    NoticeRequired = "notice-required",
        "The person has to be shown the policy before anything is collected.";
    GuardianConsentRequired = "guardian-consent-required",
        "A child of this age needs the consent of a guardian.";
    LiaMissing = "lia-missing",
        "A legitimate interest needs an approved assessment.";
    PolicyConflict = "policy-conflict",
        "The draft contradicts itself or what is published.";
    StateConflict = "state-conflict",
        "The object is not in a state that allows this.";
    AliasAmbiguous = "alias-ambiguous",
        "More than one subject is found by this alias.";
    Erased = "erased",
        "The subject was erased.";
    AccountClosed = "account-closed",
        "The subject's account is closed.";
    RetentionExpired = "retention-expired",
        "The retention period of what was asked for has ended.";
    KeyDestroyed = "key-destroyed",
        "The key for this purpose no longer exists.";
    ResultGone = "result-gone",
        "The result was taken, has ended, or holds something that was destroyed since.";
    Stale = "stale",
        "The object has changed since the version named in If-Match.";
    TooLarge = "too-large",
        "The request is larger than the vault accepts.";
    HeadersTooLarge = "headers-too-large",
        "The request's headers are larger than the vault accepts.";
    UnsupportedMediaType = "unsupported-media-type",
        "The Content-Type is not one that this operation takes.";
    InvalidBody = "invalid-body",
        "The body does not have the shape that this operation needs.";
    FieldNotInCatalogue = "field-not-in-catalogue",
        "A field is not in the catalogue.";
    FieldValueInvalid = "field-value-invalid",
        "A field's value does not fit its type in the catalogue.";
    NotIndexable = "not-indexable",
        "Subjects cannot be looked up by this.";
    IdempotencyMismatch = "idempotency-mismatch",
        "The Idempotency-Key was used with another body.";
    FieldRequired = "field-required",
        "A purpose cannot be served without a field that is missing.";
    ProvenanceRequired = "provenance-required",
        "What a third party gave needs its name and a basis.";
    MixedDataIsPersonal = "mixed-data-is-personal",
        "Statistics hold no personal data, not even beside other data.";
    PromotionalNotice = "promotional-notice",
        "A service notice does not advertise.";
    EvidenceRequired = "evidence-required",
        "A verified field is corrected with evidence only.";
    RuleRequired = "rule-required",
        "This purpose needs a cited rule.";
    SecretShownOnce = "secret-shown-once",
        "The first answer held a secret that is shown once and not kept.";
    IfMatchRequired = "if-match-required",
        "This operation needs the header If-Match.";
    RateLimited = "rate-limited",
        "Too many requests.";
    ReadBudgetSpent = "read-budget-spent",
        "These credentials have read as many people as they may in this time.";
    Internal = "internal",
        "The vault could not do this; the operator's log says more.";
    Sealed = "sealed",
        "The vault is sealed.";
    WrongPassphrase = "wrong-passphrase",
        "The passphrase does not open the root key.";
    ShareRefused = "share-refused",
        "This share does not help to open the root key.";
    OtherCustody = "other-custody",
        "The root key is held in another way than this.";
    CustodyUnavailable = "custody-unavailable",
        "What holds the root key or a place of the keyring cannot be reached, or has no key for it.";
    AuditUnavailable = "audit-unavailable",
        "The trail cannot be written, so nothing is released.";
    StoreUnavailable = "store-unavailable",
        "The store cannot be written or read.";
    Overloaded = "overloaded",
        "The vault has too much to do at the moment.";
    DiskFull = "disk-full",
        "The disk is too full to keep anything more.";
}
