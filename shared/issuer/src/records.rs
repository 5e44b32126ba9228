//! The records that an administrator writes: clients, users and operators, and the rules for them.

pub(crate) mod brand;
mod claim_name;
pub(crate) mod client;
mod lifetimes;
pub(crate) mod principal;
pub(crate) mod scope;
pub(crate) mod validation;

pub use brand::{ANY_BRAND, BrandKey, InvalidBrandKey};
pub use claim_name::{ClaimName, InvalidClaimName};
pub use client::{
    AccessTokenType, Client, ClientId, DEFAULT_ACCESS_TTL, DEFAULT_REFRESH_TTL, GrantType, InvalidClientId,
    MAX_SECRETS,
};
pub use lifetimes::Lifetimes;
pub use principal::{InvalidUsername, Principal, PrincipalKey, Username};
pub use validation::{LargestToken, RecordField, RecordProblem};
