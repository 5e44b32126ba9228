//! The result of a command, and the errors that commands share.

use std::error::Error;

use countersign_issuer::credentials::PasswordError;
use countersign_issuer::keys::{ChangeRefused, KeyError};
use countersign_issuer::store::{StoreError, WriteError};
use serde_json::{Value, json};

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

/// The exit code of a command that was called in a wrong way; clap's own.
const USAGE: u8 = 2;

/// The exit code of an import with a refused row or file.
const REFUSED: u8 = 4;

/// An error of a command that was called in a wrong way.
pub(crate) fn usage_error(message: impl Into<String>) -> AnyError {
    ExitError::new(USAGE, message).into()
}

/// There is no such record.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotFound(pub(crate) String);

/// The input breaks a rule.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

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

/// Adds a remedy to an error, if there is one.
pub(crate) fn with_remedy(error: impl Into<AnyError>, remedy: Option<String>) -> AnyError {
    match remedy {
        Some(remedy) => WithRemedy { source: error.into(), remedy }.into(),
        None => error.into(),
    }
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

/// An error as a program reads it. Its shape is the same for every command.
pub(crate) fn error_as_json(error: &(dyn Error + Send + Sync + 'static)) -> Value {
    let (mut inner, mut remedies) = (error, Vec::new());
    while let Some(WithRemedy { source, remedy }) = inner.downcast_ref::<WithRemedy>() {
        remedies.insert(0, remedy.as_str());
        inner = &**source;
    }
    let remedy = (!remedies.is_empty()).then(|| remedies.join("\n"));
    json!({ "error": { "code": error_code(error), "message": inner.to_string(), "remedy": remedy } })
}

/// The kind of an error, as a word that does not change with its text.
fn error_code(error: &(dyn Error + Send + Sync + 'static)) -> &'static str {
    let code = causes(error).find_map(|cause| {
        if cause.is::<NotFound>() || matches!(cause.downcast_ref(), Some(ChangeRefused::NoSuchKey)) {
            return Some("not_found");
        }
        if cause.is::<Invalid>() {
            return Some("invalid");
        }
        if let Some(PasswordError::NotAllowed | PasswordError::TooShort | PasswordError::TooLong) =
            cause.downcast_ref()
        {
            return Some("invalid");
        }
        match (cause.downcast_ref(), cause.downcast_ref()) {
            (Some(WriteError::Exists), _) => Some("exists"),
            (Some(WriteError::Changed), _) => Some("conflict"),
            (_, Some(ExitError { code: USAGE, .. })) => Some("usage"),
            (_, Some(ExitError { code: REFUSED, .. })) => Some("invalid"),
            _ => None,
        }
    });
    let is_outage = || store_error(error).is_some_and(StoreError::is_outage);
    code.unwrap_or_else(|| if is_outage() { "unavailable" } else { "failed" })
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
    fn a_program_gets_the_code_the_message_and_every_remedy() {
        let not_found = with_remedy(NotFound("there is no client x".into()), Some("Did you mean y?".into()));
        let twice = with_remedy(not_found, Some("See `list`.".into()));
        assert_eq!(
            error_as_json(&*twice),
            json!({ "error": {
                "code": "not_found", "message": "there is no client x", "remedy": "Did you mean y?\nSee `list`.",
            } })
        );
        let errors: [(AnyError, &str); 9] = [
            (Invalid("not stored".into()).into(), "invalid"),
            (ChangeRefused::NoSuchKey.into(), "not_found"),
            (WriteError::Changed.into(), "conflict"),
            (RecordError { record: "client x".into(), source: WriteError::Exists }.into(), "exists"),
            (out_of_reach().into(), "unavailable"),
            (usage_error("name a setting"), "usage"),
            (ExitError::new(4, "1 refused").into(), "invalid"),
            (PasswordError::TooShort.into(), "invalid"),
            ("nothing was changed".into(), "failed"),
        ];
        for (error, code) in errors {
            let json = error_as_json(&*error);
            assert_eq!(
                (&json["error"]["code"], &json["error"]["remedy"]),
                (&json!(code), &Value::Null),
                "{error}"
            );
        }
    }

    #[test]
    fn a_remedy_keeps_the_exit_code() {
        let error = WithRemedy { source: ExitError::new(4, "refused").into(), remedy: "try again".into() };
        assert_eq!((exit_code(&error), error.to_string().as_str()), (4, "refused\ntry again"));
        assert_eq!(exit_code(&*AnyError::from("refused")), 1);
    }
}
