//! The configuration of the authorizer.

use countersign_issuer::config::{Config, ConfigErrors, Variables};

/// The configuration of the authorizer.
#[derive(Debug, Clone)]
pub struct AuthorizerConfig {
    /// The issuer whose tokens and clients the API accepts.
    pub issuer: Config,
    /// The API's name: the `aud` that tokens must have. `COUNTERSIGN_AUDIENCE`.
    pub audience: String,
    /// Set if API Gateway caches responses: a response then holds everything that the caller may
    /// do. `COUNTERSIGN_AUTHORIZER_CACHING`, `on` or `off`; off unless set.
    pub caching: bool,
}

impl AuthorizerConfig {
    /// Reads the configuration through `lookup`, which returns a variable's value.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Variables::read(&lookup, |variables| {
            let issuer = Config::read(variables);
            let audience = variables.required("COUNTERSIGN_AUDIENCE", |value| Ok(value.to_owned()));
            let caching = variables.optional("COUNTERSIGN_AUTHORIZER_CACHING", |value| match value {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err("must be on or off".to_owned()),
            });
            Some(Self { issuer: issuer?, audience: audience?, caching: caching.unwrap_or(false) })
        })
    }
}
