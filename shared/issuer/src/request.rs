//! From bytes to types: the form, the credentials, the token request, and the errors of a request.

pub(crate) mod credentials;
pub(crate) mod error;
pub(crate) mod form;
mod secrets;
pub(crate) mod token_request;

/// The longest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Among the extensions of a request whose body was not read, because it is longer than
/// [`MAX_BODY_BYTES`].
#[derive(Debug, Clone, Copy)]
pub struct BodyTooLarge;
