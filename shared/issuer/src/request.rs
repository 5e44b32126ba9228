//! From bytes to types: the form, the credentials and the errors of a request.

pub(crate) mod error;
pub(crate) mod form;
