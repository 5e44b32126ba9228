//! The result of converting a row of a file into a record.

use countersign_issuer::credentials::SpringValue;
use countersign_verify::Timestamp;

/// A row as a record, or the reasons why it is none.
#[derive(Debug)]
pub(crate) struct Conversion<R> {
    /// The client's id or the principal's name; empty if the row has none.
    pub(super) id: String,
    pub(super) record: Option<NewRecord<R>>,
    /// Every reason why the row is refused.
    pub(super) reasons: Vec<String>,
    /// Every difference from how the record worked before.
    pub(super) losses: Vec<String>,
    /// Values that have no use here, each with the reason.
    pub(super) dropped: Vec<(String, &'static str)>,
}

/// A record to store, with a credential that still has to be hashed or compared.
#[derive(Debug)]
pub(crate) struct NewRecord<R> {
    pub(super) record: R,
    pub(super) credential: Option<Credential>,
    /// The `sub` that the file gives the record. No other record may have it.
    pub(super) given_id: Option<String>,
}

/// A secret or a password as the file has it.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(super) value: SpringValue,
    pub(super) expires: Option<Timestamp>,
}

impl<R> Conversion<R> {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), record: None, reasons: Vec::new(), losses: Vec::new(), dropped: Vec::new() }
    }

    /// A row that is refused for one reason and has no usable id.
    pub(super) fn refused(reason: String) -> Self {
        let mut conversion = Self::new("");
        conversion.reasons.push(reason);
        conversion
    }

    pub(super) fn drop_value(&mut self, what: &str, reason: &'static str) {
        self.dropped.push((what.to_owned(), reason));
    }
}
