//! The issuer identifier (RFC 8414 section 2).

use std::fmt;
use std::str::FromStr;

/// The issuer's URL: https, without user information, query, fragment or a final slash. Plain http is allowed for this
/// machine, and for a name without a dot, which is a container's. The configuration of the functions allows it with a
/// local store alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// The URL, as in `iss`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reports whether tokens travel encrypted.
    pub(crate) fn is_https(&self) -> bool {
        // `FromStr` lets only two schemes pass, in any letter case.
        self.0.as_bytes().get(4).is_some_and(|letter| letter.eq_ignore_ascii_case(&b's'))
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
        let local = uri.host().is_some_and(|host| {
            // A number without a dot is an address, and so is anything in brackets.
            let is_dotless_name = host.starts_with(|c: char| c.is_ascii_alphabetic()) && !host.contains('.');
            is_dotless_name || matches!(host, "127.0.0.1" | "[::1]" | "host.docker.internal")
        });
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if local => {}
            _ => {
                return Err(
                    "must be an https URL (http is for this machine and for names of containers)".to_owned()
                );
            }
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("must have no user name and no password: every token has it".to_owned());
        }
        if value.contains(['?', '#']) || value.ends_with('/') {
            return Err("must have no query, no fragment and no '/' at its end".to_owned());
        }
        Ok(Self(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_this_machine_and_for_names_without_a_dot() {
        for local in
            ["127.0.0.1:3000", "localhost", "[::1]:3000", "host.docker.internal", "issuer:3000", "a-b_c/d"]
        {
            assert!(
                IssuerUrl::from_str(&format!("http://{local}")).is_ok_and(|url| !url.is_https()),
                "{local}"
            );
        }
        for remote in
            ["issuer.example.com", "issuer.", "10.0.0.1", "134744072", "0x08080808", "[2001:db8::1]"]
        {
            assert!(IssuerUrl::from_str(&format!("http://{remote}")).is_err(), "{remote}");
            assert!(
                IssuerUrl::from_str(&format!("https://{remote}")).is_ok_and(|url| url.is_https()),
                "{remote}"
            );
        }
        for with_user in ["https://user:password@issuer.example.com", "http://user@localhost:3000"] {
            assert!(IssuerUrl::from_str(with_user).is_err(), "{with_user}");
        }
    }
}
