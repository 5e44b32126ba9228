//! The result of a command, and the errors that commands share.

use std::error::Error;

use countersign_issuer::keys::{ChangeRefused, KeyError};
use countersign_issuer::store::{StoreError, WriteError};

/// An error for the person who runs the program, shown as it is.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, AnyError>;

/// An error with a special exit code; every other error exits with 1.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ExitError {
    /// The exit code.
    pub(crate) code: u8,
    /// The message for the person.
    pub(crate) message: String,
    /// The failure behind it, if there is one.
    #[source]
    pub(crate) source: Option<AnyError>,
}

impl ExitError {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None }
    }
}

/// An error with the record that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{record}: {source}")]
pub(crate) struct RecordError {
    pub(crate) record: String,
    pub(crate) source: WriteError,
}

/// An error with a remedy on the lines after it.
#[derive(Debug, thiserror::Error)]
#[error("{source}\n{remedy}")]
pub(crate) struct WithRemedy {
    pub(crate) source: AnyError,
    pub(crate) remedy: String,
}

/// Adds the remedy for a write whose outcome is unknown, because the store did not answer.
pub(crate) fn with_remedy_if_unanswered(error: AnyError, remedy: String) -> AnyError {
    let is_unanswered = store_error(&*error).is_some_and(StoreError::is_outage);
    if is_unanswered { WithRemedy { source: error, remedy }.into() } else { error }
}

/// The exit code for `error`: that of an [`ExitError`] among its causes, else 1.
pub(crate) fn exit_code(error: &(dyn Error + Send + Sync + 'static)) -> u8 {
    causes(error).find_map(|cause| cause.downcast_ref::<ExitError>()).map_or(1, |exit| exit.code)
}

/// The store's error behind `error`.
pub(crate) fn store_error<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a StoreError> {
    // A transparent error passes on the source of its inner error, not the inner error itself.
    let store_error_in = |cause: &'a (dyn Error + 'static)| {
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return Some(error);
        }
        if let Some(WriteError::Store(error)) = cause.downcast_ref::<WriteError>() {
            return Some(error);
        }
        let key_error = match cause.downcast_ref::<ChangeRefused>() {
            Some(ChangeRefused::Key(error)) => Some(error),
            _ => cause.downcast_ref::<KeyError>(),
        };
        match key_error {
            Some(KeyError::Store(error)) => Some(error),
            _ => None,
        }
    };
    causes(error).find_map(store_error_in)
}

/// `error` and its causes, the outermost first.
fn causes<'a>(
    error: &'a (dyn Error + Send + Sync + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let error: &(dyn Error + 'static) = error;
    std::iter::successors(Some(error), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out_of_reach() -> StoreError {
        StoreError::Unavailable { operation: "get item", detail: "timeout".into() }
    }

    #[test]
    fn the_store_error_is_found_behind_every_error_of_a_command() {
        let errors: [AnyError; 5] = [
            out_of_reach().into(),
            RecordError { record: "client x".into(), source: WriteError::Store(out_of_reach()) }.into(),
            KeyError::from(out_of_reach()).into(),
            ChangeRefused::Key(out_of_reach().into()).into(),
            ExitError { code: 1, message: "stopped".into(), source: Some(out_of_reach().into()) }.into(),
        ];
        for error in errors {
            let found = store_error(&*error);
            assert!(matches!(found, Some(StoreError::Unavailable { .. })), "{error:?}");
        }
        assert!(store_error(&*AnyError::from("DynamoDB is out of reach")).is_none());
    }

    #[test]
    fn a_remedy_keeps_the_exit_code() {
        let error = WithRemedy { source: ExitError::new(4, "refused").into(), remedy: "try again".into() };
        assert_eq!((exit_code(&error), error.to_string().as_str()), (4, "refused\ntry again"));
        assert_eq!(exit_code(&*AnyError::from("refused")), 1);
    }
}
