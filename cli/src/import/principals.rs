//! Users and operators out of tables: Spring's `users`, or anything with a name and a password.

use countersign_issuer::random::Random;
use countersign_issuer::records::{Principal, PrincipalKey, Username};
use countersign_verify::Timestamp;
use serde_json::Value;

use super::mapping::{Mapping, Part};
use super::rows::Row;
use super::spring::{Values, misplaced, required};
use super::{Candidate, Credential, Judgement, own};

/// What the columns do not say.
pub(crate) struct Principals {
    pub(crate) is_operator: bool,
    pub(crate) mapping: Mapping,
    pub(crate) values: Values,
    pub(crate) now: Timestamp,
    pub(crate) random: Random,
}

const COLUMNS: [&str; 8] =
    ["username", "password", "enabled", "roles", "authorities", "authority", "brands", "brand"];

impl Principals {
    /// What is to become of a row.
    pub(crate) fn judge(&self, row: &Row) -> Judgement<Principal> {
        if row.columns.contains_key("principal") {
            return own::principal(row, |key| {
                self.is_operator == matches!(key, PrincipalKey::Operator { .. })
            });
        }
        let has_no_hash = |column: &str| column != "password" && COLUMNS.contains(&column);
        if let Some(reason) = misplaced(row, "password", has_no_hash) {
            let mut judgement = Judgement::of("");
            judgement.reasons.push(reason);
            return judgement;
        }
        let name = required("username", row.columns.get("username"));
        let mut judgement = Judgement::of(name.as_deref().unwrap_or_default());
        match name.and_then(|name| self.read(name, row, &mut judgement)) {
            Ok(candidate) => judgement.candidate = Some(candidate),
            Err(reason) => judgement.reasons.push(reason),
        }
        judgement
    }

    fn read(
        &self,
        name: &str,
        row: &Row,
        judgement: &mut Judgement<Principal>,
    ) -> Result<Candidate<Principal>, String> {
        for column in row.columns.keys().filter(|column| !COLUMNS.contains(&column.as_str())) {
            if !self.mapping.looks_into(&[column]) {
                judgement.leave_out(column, "not a column that is known, and no mapping names it");
            }
        }
        let column =
            |names: &[&'static str]| names.iter().find(|name| row.columns.contains_key(**name)).copied();
        let of = |part, column| self.mapping.of_principal(part, name, row, column);
        let brands = of(Part::Brands, column(&["brands", "brand"]))?;
        let roles = of(Part::Roles, column(&["roles", "authorities", "authority"]))?;
        let username =
            Username::parse(name).map(Username::into_string).map_err(|error| format!("username: {error}"))?;
        let key = match brands.as_slice() {
            _ if self.is_operator => PrincipalKey::Operator { username },
            [brand] => PrincipalKey::User { brand: brand.clone(), username },
            _ => return Err("brand: a user belongs to one; give it with --brand or a mapping file".into()),
        };
        let value = self.values.read("password", row.columns.get("password"))?;
        let record = Principal::without_password(&key, roles, brands, self.now, &self.random);
        let mut record = record.map_err(|error| error.to_string())?;
        record.enabled = match row.columns.get("enabled") {
            None => true,
            Some(value) => truth(value).ok_or("enabled: neither true nor false")?,
        };
        judgement.reasons.extend(record.problems().iter().map(ToString::to_string));
        Ok(Candidate { record, credential: Some(Credential { value, expires: None }) })
    }
}

/// Yes or no, as databases dump it.
fn truth(value: &Value) -> Option<bool> {
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
