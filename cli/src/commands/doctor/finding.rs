//! The result of one check.

use clap::builder::styling::Style;

use crate::output::{BAD, DUBIOUS, GOOD};

/// The result of one check, with a remedy unless all is well.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    /// It works now but will fail later, or it could not be checked.
    Warning,
    Broken,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }

    pub(super) fn style(self) -> Style {
        match self {
            Self::Ok => GOOD,
            Self::Warning => DUBIOUS,
            Self::Broken => BAD,
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), remedy: None }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn broken(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Broken, found: found.into(), remedy: Some(remedy.into()) }
    }
}
