//! Credentials from outside: access tokens of an issuer, and client certificates.

mod certificates;
mod tokens;
