//! Users and operators from tables: Spring's `users`, or any table with a name and a password.

use std::collections::HashMap;

use countersign_issuer::random::Random;
use countersign_issuer::records::{Principal, PrincipalKey, Username};
use countersign_verify::Timestamp;
use serde_json::{Map, Value};

use super::columns::{AcceptedValues, key, losses, misplaced_hash};
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

/// The columns that say that a user may not log in, by their letters, each with the value that says
/// so. Without any, the user may.
const FLAGS: [(&str, bool); 12] = [
    ("enabled", false),
    ("active", false),
    ("disabled", true),
    ("nonlocked", false),
    ("accountnonlocked", false),
    ("locked", true),
    ("accountlocked", true),
    ("accountnonexpired", false),
    ("accountexpired", true),
    ("expired", true),
    ("credentialsnonexpired", false),
    ("credentialsexpired", true),
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
    locking_value(column).is_some()
}

/// The value of a flag that locks a user out. Its column may be spelled in every way:
/// `account_locked`, `accountLocked`, `is_locked`.
fn locking_value(column: &str) -> Option<bool> {
    let letters = column.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let name = letters.strip_prefix("is").unwrap_or(&letters);
    FLAGS.iter().find(|(flag, _)| *flag == name).map(|(_, value)| *value)
}

fn differ_in_roles_alone(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let without_roles = |columns: &Map<String, Value>| {
        let mut columns = columns.clone();
        columns.retain(|name, _| !ROLES.contains(&name.as_str()));
        columns
    };
    one != other && without_roles(one) == without_roles(other)
}

impl PrincipalRows {
    /// Refuses files from which users would lose roles: one without a column of roles, and those with
    /// a row for each role.
    pub(crate) fn check(&self, files: &[TableFile]) -> Outcome {
        const QUERY: &str = "docs/migrate-from-spring.md has the query that joins Spring's tables.";
        let refused = |file: &TableFile, problem: String| {
            Err(ExitError::new(4, format!("{}: {problem}\n{QUERY}", file.path().display())).into())
        };
        let mut users: HashMap<String, (&TableFile, u64, Map<String, Value>)> = HashMap::new();
        for file in files {
            let has_roles = file.has_column(&ROLES) || file.has_column(&["principal"]);
            if self.needs_roles() && !has_roles {
                return refused(
                    file,
                    "it has no column of roles or authorities, and Spring lets no user in without an authority\n\
                     Add the column, give roles with --role, or accept users without roles in a mapping file: [default] roles = \
                     []"
                        .into(),
                );
            }
            for mut row in file.rows().flatten() {
                row.drop_nulls();
                let Ok(name) = key("username", row.columns.get("username")) else { continue };
                let name = Username::parse(&name).map_or(name, Username::into_string);
                let mut columns = row.columns;
                columns.retain(|column, _| column != "username" && is_read(column));
                match users.get(&name) {
                    Some((first_file, line, first)) if differ_in_roles_alone(first, &columns) => {
                        let lines = if first_file.path() == file.path() {
                            format!("lines {line} and {}", row.line)
                        } else {
                            format!("line {line} of {} and line {}", first_file.path().display(), row.line)
                        };
                        return refused(
                            file,
                            format!(
                                "it has a row for each authority: {lines} are about the same user\n\
                                 Join them to one row, in SQL with string_agg(authority, ',') or group_concat(authority)."
                            ),
                        );
                    }
                    Some(_) => {}
                    None => {
                        users.insert(name, (file, row.line, columns));
                    }
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
        let name = key("username", row.columns.get("username"));
        let mut conversion = Conversion::new(name.as_deref().unwrap_or_default());
        match name.and_then(|name| self.read(&name, row, &mut conversion)) {
            Ok(record) => conversion.record = Some(record),
            Err(reason) => conversion.reasons.push(reason),
        }
        conversion
    }

    /// The column of a list that tables name in several ways. Two of them may mean different things.
    fn only_column(
        &self,
        field: Field,
        names: &[&'static str],
        row: &Row,
    ) -> Result<Option<&'static str>, String> {
        let mut columns = names.iter().copied().filter(|name| row.columns.contains_key(*name));
        let Some(first) = columns.next() else { return Ok(None) };
        match columns.find(|other| row.columns[*other] != row.columns[first]) {
            None => Ok(Some(first)),
            Some(_) if self.mapping.has_place(field) => Ok(None),
            Some(other) => Err(format!(
                "{first}, {other}: two columns with different values; leave one out, join them, or name one in the mapping \
                 file: [from] {} = \"/{other}\"",
                names[0]
            )),
        }
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
        let list = |field, columns| {
            self.mapping.principal_list(field, name, row, self.only_column(field, columns, row)?)
        };
        let brands = list(Field::Brands, &BRANDS)?;
        let roles = list(Field::Roles, &ROLES)?;
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
        for (flag, value) in &row.columns {
            let Some(locks_out) = locking_value(flag) else { continue };
            if parse_bool(value).ok_or_else(|| format!("{flag}: neither true nor false"))? == locks_out {
                record.enabled = false;
                if flag != "enabled" {
                    conversion.losses.push(format!("{flag} is {locks_out}: imported, but disabled"));
                }
            }
        }
        for flag in row.nulls.iter().filter(|column| locking_value(column) == Some(false)) {
            record.enabled = false;
            conversion
                .losses
                .push(format!("{flag} is NULL, which JDBC reads as false: imported, but disabled"));
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
