//! Users and operators from tables: Spring's `users`, or any table with a name and a password.

use countersign_issuer::random::Random;
use countersign_issuer::records::{Principal, PrincipalKey, Username};
use countersign_verify::Timestamp;
use serde_json::Value;

use super::columns::{AcceptedValues, losses, misplaced_hash, required};
use super::conversion::{Conversion, Credential, NewRecord};
use super::exported;
use super::mapping::{Field, Mapping};
use super::rows::Row;
use crate::records::PrincipalKind;

/// Converts rows of users or operators, with what the columns do not contain.
pub(crate) struct PrincipalRows {
    pub(crate) kind: PrincipalKind,
    pub(crate) mapping: Mapping,
    pub(crate) accepted: AcceptedValues,
    pub(crate) now: Timestamp,
    pub(crate) random: Random,
}

const COLUMNS: [&str; 8] =
    ["username", "password", "enabled", "roles", "authorities", "authority", "brands", "brand"];

impl PrincipalRows {
    pub(crate) fn convert_row(&self, row: &Row) -> Conversion<Principal> {
        if row.columns.contains_key("principal") {
            return exported::convert_principal(row, |key| self.kind.matches(key));
        }
        let has_no_hash = |column: &str| column != "password" && COLUMNS.contains(&column);
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
        for column in row.columns.keys().filter(|column| !COLUMNS.contains(&column.as_str())) {
            if !self.mapping.reads(&[column]) {
                conversion.drop_value(column, "an unknown column, and no mapping reads it");
            }
        }
        let column =
            |names: &[&'static str]| names.iter().find(|name| row.columns.contains_key(**name)).copied();
        let list = |field, column| self.mapping.principal_list(field, name, row, column);
        let brands = list(Field::Brands, column(&["brands", "brand"]))?;
        let roles = list(Field::Roles, column(&["roles", "authorities", "authority"]))?;
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
        record.enabled = match row.columns.get("enabled") {
            None => true,
            Some(value) => parse_bool(value).ok_or("enabled: neither true nor false")?,
        };
        conversion.reasons.extend(record.problems().iter().map(ToString::to_string));
        Ok(NewRecord { record, credential: Some(Credential { value, expires: None }), given_id: None })
    }
}

/// Parses a boolean as databases dump it.
fn parse_bool(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(truth) => return Some(*truth),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_ascii_lowercase(),
        _ => return None,
    };
    match text.as_str() {
        "true" | "t" | "1" | "yes" | "y" | "\u{1}" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "\0" => Some(false),
        _ => None,
    }
}
