//! Users and operators from tables: Spring's `users`, or any table with a name and a password.

use std::collections::HashMap;

use countersign_issuer::random::Random;
use countersign_issuer::records::{Principal, PrincipalKey, Username};
use countersign_verify::Timestamp;

use super::columns::{AcceptedValues, losses, misplaced_hash, required};
use super::conversion::{Conversion, Credential, NewRecord};
use super::exported;
use super::mapping::{Field, Mapping};
use super::rows::{Row, TableFile};
use super::values::parse_bool;
use crate::outcome::{ExitError, Outcome};
use crate::records::PrincipalKind;

/// Converts rows of users or operators, with what the columns do not contain.
pub(crate) struct PrincipalRows {
    pub(crate) kind: PrincipalKind,
    pub(crate) mapping: Mapping,
    pub(crate) accepted: AcceptedValues,
    pub(crate) now: Timestamp,
    pub(crate) random: Random,
}

const ROLES: [&str; 4] = ["roles", "authorities", "authority", "role"];
const BRANDS: [&str; 2] = ["brands", "brand"];

/// The columns that say that a user may not log in, each with the value that says so. Without any,
/// the user may.
const FLAGS: [(&str, bool); 12] = [
    ("enabled", false),
    ("active", false),
    ("is_enabled", false),
    ("is_active", false),
    ("disabled", true),
    ("account_non_locked", false),
    ("locked", true),
    ("account_locked", true),
    ("account_non_expired", false),
    ("account_expired", true),
    ("credentials_non_expired", false),
    ("credentials_expired", true),
];

/// Returns true for the columns that an import reads.
fn is_read(column: &str) -> bool {
    column == "username"
        || column == "password"
        || ROLES.contains(&column)
        || BRANDS.contains(&column)
        || is_flag(column)
}

fn is_flag(column: &str) -> bool {
    FLAGS.iter().any(|(flag, _)| *flag == column)
}

impl PrincipalRows {
    /// Refuses a file from which users would lose roles: one without a column of roles, and one with
    /// a row for each role.
    pub(crate) fn check(&self, file: &TableFile) -> Outcome {
        const QUERY: &str = "docs/migrate-from-spring.md has the query that joins Spring's tables.";
        let mut rows: HashMap<String, (u64, Row)> = HashMap::new();
        let refused = |problem: String| {
            Err(ExitError::new(4, format!("{}: {problem}\n{QUERY}", file.path().display())).into())
        };
        let has_roles = file.has_column(&ROLES) || file.has_column(&["principal"]);
        if self.needs_roles() && !has_roles {
            return refused(
                "it has no column of roles or authorities, and Spring lets no user in without an authority\n\
                 Add the column, give roles with --role, or accept users without roles in a mapping file: [default] roles = []"
                    .into(),
            );
        }
        let is_same = |one: &Row, other: &Row| {
            let columns = |row: &Row| {
                let mut columns = row.columns.clone();
                columns.retain(|name, _| !ROLES.contains(&name.as_str()));
                columns
            };
            columns(one) == columns(other) && one.columns != other.columns
        };
        for row in file.rows().flatten() {
            let Some(name) = row.columns.get("username").and_then(|name| name.as_str()) else { continue };
            match rows.get(name) {
                Some((line, first)) if is_same(first, &row) => {
                    return refused(format!(
                        "it has a row for each authority: lines {line} and {} are about the same user\n\
                         Join them to one row, in SQL with string_agg(authority, ',') or group_concat(authority).",
                        row.line
                    ));
                }
                Some(_) => {}
                None => {
                    rows.insert(name.to_owned(), (row.line, row));
                }
            }
        }
        Ok(())
    }

    /// Returns true if a user without roles is unexpected. Spring has users, and no operators.
    fn needs_roles(&self) -> bool {
        self.kind == PrincipalKind::User && !self.mapping.gives_roles()
    }

    pub(crate) fn convert_row(&self, mut row: Row) -> Conversion<Principal> {
        if row.columns.contains_key("principal") {
            return exported::convert_principal(&row, |key| self.kind.matches(key));
        }
        row.drop_nulls();
        let row = &row;
        let has_no_hash = |column: &str| column != "password" && is_read(column);
        if let Some(reason) = misplaced_hash(row, "password", has_no_hash) {
            return Conversion::refused(reason);
        }
        let name = required("username", row.columns.get("username"));
        let mut conversion = Conversion::new(name.as_deref().unwrap_or_default());
        match name.and_then(|name| self.read(name, row, &mut conversion)) {
            Ok(record) => conversion.record = Some(record),
            Err(reason) => conversion.reasons.push(reason),
        }
        conversion
    }

    fn read(
        &self,
        name: &str,
        row: &Row,
        conversion: &mut Conversion<Principal>,
    ) -> Result<NewRecord<Principal>, String> {
        for column in row.columns.keys().filter(|column| !is_read(column)) {
            if !self.mapping.reads(&[column]) {
                conversion.drop_value(column, "an unknown column, and no mapping reads it");
            }
        }
        let column =
            |names: &[&'static str]| names.iter().find(|name| row.columns.contains_key(**name)).copied();
        let list = |field, column| self.mapping.principal_list(field, name, row, column);
        let brands = list(Field::Brands, column(&BRANDS))?;
        let roles = list(Field::Roles, column(&ROLES))?;
        let username =
            Username::parse(name).map(Username::into_string).map_err(|error| format!("username: {error}"))?;
        let key = match brands.as_slice() {
            _ if self.kind == PrincipalKind::Operator => PrincipalKey::Operator { username },
            [brand] => PrincipalKey::User { brand: brand.clone(), username },
            _ => return Err("brand: a user needs exactly one; give it with --brand or a mapping file".into()),
        };
        let value = self.accepted.read("password", row.columns.get("password"))?;
        conversion.losses.extend(losses("password", &value));
        let record = Principal::without_password(&key, roles, brands, self.now, &self.random);
        let mut record = record.map_err(|error| error.to_string())?;
        for (flag, locks_out) in FLAGS {
            let Some(value) = row.columns.get(flag) else { continue };
            if parse_bool(value).ok_or_else(|| format!("{flag}: neither true nor false"))? == locks_out {
                record.enabled = false;
                if flag != "enabled" {
                    conversion.losses.push(format!("{flag} is {locks_out}: imported, but disabled"));
                }
            }
        }
        if self.needs_roles() && record.roles.is_empty() {
            conversion.losses.push(
                "roles: none; Spring lets no user in without an authority, but here the user can log in"
                    .into(),
            );
        }
        conversion.reasons.extend(record.problems().iter().map(ToString::to_string));
        Ok(NewRecord { record, credential: Some(Credential { value, expires: None }), given_id: None })
    }
}
