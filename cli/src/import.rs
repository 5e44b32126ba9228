//! Imports records from files. Each row is converted by itself, and its record is written whole or
//! not at all.

mod columns;
mod conversion;
mod exported;
mod importable;
mod importer;
mod mapping;
mod principals;
mod report;
mod rows;
mod spring;
mod typed_json;
mod values;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

pub(crate) use self::columns::AcceptedValues;
use self::conversion::Conversion;
pub(crate) use self::exported::convert_client;
use self::importable::Importable;
use self::importer::{Importer, RowOutcome};
pub(crate) use self::mapping::Mapping;
pub(crate) use self::principals::PrincipalRows;
use self::report::Report;
pub(crate) use self::rows::TableFile;
use self::rows::{BrokenRow, Row};
pub(crate) use self::spring::SpringClients;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::progress::Progress;

/// The number of records that are written at the same time.
const CONCURRENT_WRITES: usize = 32;

const CUT_OFF: &str = "the file does not end with a line end; it may be cut off";

/// Reads files that contain tables of records of this kind.
pub(crate) fn open<R: Importable>(paths: &[PathBuf]) -> Outcome<Vec<TableFile>> {
    paths.iter().map(|path| TableFile::open(path, R::KEY_COLUMNS)).collect()
}

/// Imports the rows of `files`, as `convert_row` converts them, and reports each one.
pub(crate) async fn import<R: Importable>(
    files: &[TableFile],
    convert_row: impl Fn(Row) -> Conversion<R> + Send,
    unmatched: impl FnOnce() -> Vec<String>,
    context: &Context,
    dry_run: bool,
    json: bool,
) -> Outcome {
    let importer = Arc::new(Importer::<R>::new(context, dry_run));
    let mut report = Report::new(R::PLURAL, dry_run, json);
    let total = files.iter().map(TableFile::len).sum::<usize>();
    let progress = Progress::steps("Importing", u64::try_from(total).ok(), json);
    let mut places: HashMap<String, (usize, u64)> = HashMap::new();
    let rows = files.iter().enumerate().flat_map(|(file, table)| table.rows().map(move |row| (file, row)));
    let conversions = rows.take_while(|_| !importer.is_stopped()).map(|(file, row)| match row {
        Err(BrokenRow { line, problem }) => (file, line, Conversion::refused(problem)),
        Ok(row) => {
            let (line, may_be_cut) = (row.line, row.may_be_cut);
            let mut conversion = convert_row(row);
            if may_be_cut {
                conversion.losses.push(CUT_OFF.into());
            }
            if let Some(new) = &conversion.record {
                // An id of the right form is no key: it has no `#`.
                let id = new.given_id.clone().filter(|_| conversion.reasons.is_empty());
                let named = [(Some(new.record.key()), "given twice"), (id, "id: given twice")];
                for (name, problem) in named.into_iter().filter_map(|(name, problem)| Some((name?, problem)))
                {
                    if let Some((file, line)) = places.get(&name) {
                        let place = format!("{}:{line}", files[*file].path().display());
                        conversion.reasons.push(format!("{problem}; the first is at {place}"));
                    } else {
                        places.insert(name, (file, line));
                    }
                }
            }
            (file, line, conversion)
        }
    });
    let outcomes = stream::iter(conversions).map(|(file, line, mut conversion)| {
        let importer = Arc::clone(&importer);
        let record = conversion.record.take().filter(|_| conversion.reasons.is_empty());
        let task = record.map(|record| tokio::spawn(importer.import(record)));
        async move {
            let outcome = match task {
                None => None,
                Some(task) => Some(task.await.unwrap_or_else(|error| RowOutcome::Failed(error.into()))),
            };
            (file, line, conversion, outcome)
        }
    });
    let mut outcomes = Box::pin(outcomes.buffered(CONCURRENT_WRITES));
    while let Some((file, line, conversion, outcome)) = outcomes.next().await {
        report.add(files[file].path(), line, conversion, outcome);
        progress.advance(1);
    }
    drop(progress);
    drop(outcomes);
    report.finish(&unmatched())
}
