//! A vault to try: made-up people, their records, and officers with tokens.

mod home;
mod load;
mod mapping;
mod officers;
mod people;
mod person;
mod places;
mod source;

pub use home::{Home, Stage};
pub use load::{Loaded, load};
pub use officers::{ROLES, Tokens, appoint};
pub use people::people;
pub use person::{Consents, Device, IdDocument, Order, Person};
pub use source::{PeopleFrom, SEED};
