//! The secrets of a request, and the search for them in values that the log may show.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use countersign_verify::{escape_for_log, percent};

use crate::credentials::Secret;
use crate::request::credentials::PresentedCredentials;

/// The secrets that a request was sent with. A caller that confuses its parameters sends them a second time, in place
/// of a scope, a brand or an API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestSecrets<'request> {
    presented: &'request PresentedCredentials,
    password: Option<&'request Secret>,
}

impl<'request> RequestSecrets<'request> {
    pub(crate) fn new(presented: &'request PresentedCredentials, password: Option<&'request Secret>) -> Self {
        Self { presented, password }
    }

    /// Returns a value that an authenticated client asked for, safe for the log: cut after 512 characters and
    /// escaped. Withheld is a value with a generated secret, a token, or one of these secrets in it, also
    /// URL-encoded or in base64, and a URL with the password of a user.
    pub(crate) fn loggable(&self, value: &str) -> String {
        let decoded = percent::decode_form(value.as_bytes()).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded);
        if [value, &decoded].into_iter().any(|text| self.are_in(text) || has_userinfo(text)) {
            return "(withheld: it contains a secret or a token)".to_owned();
        }
        escape_for_log(value, 512)
    }

    fn are_in(&self, value: &str) -> bool {
        let standard = value.replace('-', "+").replace('_', "/");
        let mut secrets = self.presented.secrets().chain(self.password.map(Secret::expose));
        ["csgn_", "csgr_", "eyJ"].iter().any(|prefix| value.contains(prefix))
            || secrets.any(|secret| {
                value.contains(secret) || base64_of(secret).any(|encoded| standard.contains(&encoded))
            })
    }
}

/// Returns the characters that every text in base64 contains in which the secret is encoded, alone or behind a client
/// id: three texts, for the three positions in a group of three bytes.
fn base64_of(secret: &str) -> impl Iterator<Item = String> {
    (0..3_usize).map(move |before| {
        let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
        // Of six bits each. The outer characters hold bits of the neighbours too.
        let whole = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        STANDARD_NO_PAD.encode(&bytes).get(whole).unwrap_or_default().to_owned()
    })
}

/// Reports whether a URL in the value has a user before its host (RFC 3986 section 3.2.1).
fn has_userinfo(value: &str) -> bool {
    value.split("//").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', '\\']).next().unwrap_or_default();
        authority.contains('@')
    })
}
