//! Reasons that several columns share.

pub(super) const NO_AUTHORIZATION_ENDPOINT: &str = "there is no authorization endpoint here";
pub(super) const NO_MAPPING: &str = "no mapping reads it";
