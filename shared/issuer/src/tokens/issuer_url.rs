//! The issuer identifier (RFC 8414 section 2).

use std::fmt;
use std::str::FromStr;

/// The issuer's URL: https, without query, fragment or a final slash. Plain http is allowed for this machine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// The URL, as in `iss`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reports whether a text names this issuer. Letter case and slashes at the end make no
    /// difference: a careless verifier may ignore them too.
    pub(crate) fn is_same(&self, text: &str) -> bool {
        text.trim_end_matches('/').eq_ignore_ascii_case(&self.0)
    }

    /// A URL of this length that stands for one that is not known.
    pub(crate) fn placeholder(length: usize) -> Self {
        Self(format!("{:i<length$}", "https://"))
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IssuerUrl {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let uri: http::Uri = value.parse().map_err(|_| "must be a URL".to_owned())?;
        let local = matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]" | "host.docker.internal"));
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if local => {}
            _ => return Err("must be an https URL (http is for 127.0.0.1 and localhost)".to_owned()),
        }
        if value.contains(['?', '#']) || value.ends_with('/') {
            return Err("must have no query, no fragment and no '/' at its end".to_owned());
        }
        Ok(Self(value.to_owned()))
    }
}
