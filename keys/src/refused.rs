//! What does not compile.
//!
//! Secrets and proofs cannot be copied, printed or made from nothing. The first of each pair shows that the check itself works.
//!
//! ```
//! fn cloned<T: Clone>() {}
//! cloned::<keys::Group>();
//! ```
//! ```compile_fail
//! fn cloned<T: Clone>() {}
//! cloned::<keys::secret::Secret32>();
//! ```
//! ```compile_fail
//! fn cloned<T: Clone>() {}
//! cloned::<keys::secret::Plaintext>();
//! ```
//! ```compile_fail
//! fn cloned<T: Clone>() {}
//! cloned::<keys::RecordKey>();
//! ```
//! ```compile_fail
//! fn cloned<T: Clone>() {}
//! cloned::<keys::SubjectKeys>();
//! ```
//! ```compile_fail
//! fn cloned<T: Clone>() {}
//! cloned::<keys::Permit>();
//! ```
//! ```compile_fail
//! fn cloned<T: Clone>() {}
//! cloned::<keys::Gate>();
//! ```
//!
//! ```
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::Group>();
//! ```
//! ```compile_fail
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::secret::Secret32>();
//! ```
//! ```compile_fail
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::secret::Plaintext>();
//! ```
//! ```compile_fail
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::RecordKey>();
//! ```
//! ```compile_fail
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::SubjectKeys>();
//! ```
//! ```compile_fail
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::Permit>();
//! ```
//! ```compile_fail
//! fn printed<T: std::fmt::Debug>() {}
//! printed::<keys::Gate>();
//! ```
//!
//! ```
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::KeysError>();
//! ```
//! ```compile_fail
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::secret::Secret32>();
//! ```
//! ```compile_fail
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::secret::Plaintext>();
//! ```
//! ```compile_fail
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::RecordKey>();
//! ```
//! ```compile_fail
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::SubjectKeys>();
//! ```
//! ```compile_fail
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::Permit>();
//! ```
//! ```compile_fail
//! fn shown<T: std::fmt::Display>() {}
//! shown::<keys::Gate>();
//! ```
//!
//! ```
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::GroupSet>();
//! ```
//! ```compile_fail
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::secret::Secret32>();
//! ```
//! ```compile_fail
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::secret::Plaintext>();
//! ```
//! ```compile_fail
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::RecordKey>();
//! ```
//! ```compile_fail
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::SubjectKeys>();
//! ```
//! ```compile_fail
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::Permit>();
//! ```
//! ```compile_fail
//! fn made_from_nothing<T: Default>() {}
//! made_from_nothing::<keys::Gate>();
//! ```
//!
//! ```
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<Vec<u8>>();
//! ```
//! ```compile_fail
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<keys::secret::Secret32>();
//! ```
//! ```compile_fail
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<keys::secret::Plaintext>();
//! ```
//! ```compile_fail
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<keys::RecordKey>();
//! ```
//! ```compile_fail
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<keys::SubjectKeys>();
//! ```
//! ```compile_fail
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<keys::Permit>();
//! ```
//! ```compile_fail
//! fn taken_as_bytes<T: AsRef<[u8]>>() {}
//! taken_as_bytes::<keys::Gate>();
//! ```
//!
//! ```
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<Vec<u8>>();
//! ```
//! ```compile_fail
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<keys::secret::Secret32>();
//! ```
//! ```compile_fail
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<keys::secret::Plaintext>();
//! ```
//! ```compile_fail
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<keys::RecordKey>();
//! ```
//! ```compile_fail
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<keys::SubjectKeys>();
//! ```
//! ```compile_fail
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<keys::Permit>();
//! ```
//! ```compile_fail
//! fn kept<T: Into<Vec<u8>>>() {}
//! kept::<keys::Gate>();
//! ```
