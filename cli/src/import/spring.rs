//! Clients from Spring's two tables: `oauth_client_details` of spring-security-oauth, and
//! `oauth2_registered_client` of Spring Authorization Server. Every column is used, or reported as
//! lost or dropped.

mod reasons;
mod settings;

use countersign_issuer::records::{AccessTokenType, Client, GrantType, RecordField, RecordProblem};
use countersign_issuer::tokens::ClientRules;
use countersign_verify::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use self::reasons::{NO_AUTHORIZATION_ENDPOINT, NO_MAPPING};
use self::settings::Settings;
use super::columns::{AcceptedValues, key, losses, misplaced_hash};
use super::conversion::{Conversion, Credential, NewRecord};
use super::mapping::{Field, Mapping};
use super::rows::Row;
use super::values::{list, parse_json};
use crate::records::large_token_warning;

/// Converts rows of clients, with what the columns do not contain.
pub(crate) struct SpringClients {
    pub(crate) mapping: Mapping,
    pub(crate) rules: ClientRules,
    pub(crate) typ: AccessTokenType,
    pub(crate) accepted: AcceptedValues,
    /// The zone of times without an offset.
    pub(crate) zone: Option<TimeZone>,
    pub(crate) now: Timestamp,
}

/// One of the two tables, with the names of its columns.
struct Table {
    scopes: &'static str,
    grants: &'static str,
    others: &'static [&'static str],
    /// The columns that have no use here, each with the reason.
    dropped: &'static [(&'static str, &'static str)],
}

const CLIENT_DETAILS: Table = Table {
    scopes: "scope",
    grants: "authorized_grant_types",
    others: &["resource_ids", "authorities", "access_token_validity", "refresh_token_validity", ADDITIONAL],
    dropped: &[
        ("web_server_redirect_uri", NO_AUTHORIZATION_ENDPOINT),
        ("autoapprove", NO_AUTHORIZATION_ENDPOINT),
    ],
};

const REGISTERED_CLIENT: Table = Table {
    scopes: "scopes",
    grants: "authorization_grant_types",
    others: &["client_secret_expires_at", "client_name", METHODS, settings::CLIENT, settings::TOKEN],
    dropped: &[
        ("id", "clients are identified by client_id"),
        ("client_id_issued_at", "a record has its own time of creation"),
        ("redirect_uris", NO_AUTHORIZATION_ENDPOINT),
        ("post_logout_redirect_uris", NO_AUTHORIZATION_ENDPOINT),
    ],
};

const ADDITIONAL: &str = "additional_information";
const METHODS: &str = "client_authentication_methods";
/// The method of a public client, and in other columns a spelling of NULL.
const PUBLIC: &str = "none";
/// The columns that both tables have.
const COMMON: [&str; 2] = ["client_id", "client_secret"];

impl Table {
    fn has(&self, column: &str) -> bool {
        column == self.scopes
            || column == self.grants
            || self.others.contains(&column)
            || self.dropped.iter().any(|(name, _)| *name == column)
    }

    /// The column that is missing if it is the one that has another name in the row.
    fn wanted(&self, row: &Row, name: &str) -> Option<&'static str> {
        let wanted = match name {
            "scope" | "scopes" => self.scopes,
            "grant_types" | "granttypes" | "grants" => self.grants,
            _ => return None,
        };
        (!row.columns.contains_key(wanted) && !row.nulls.iter().any(|null| null == wanted)).then_some(wanted)
    }

    /// Tells the tables apart by the column of the grant types: it has another name in each. The
    /// other columns count only in a row without it, because people add columns to a table.
    fn from_columns(row: &Row) -> Result<&'static Self, String> {
        let has_grants = |table: &Self| row.columns.contains_key(table.grants);
        match (has_grants(&CLIENT_DETAILS), has_grants(&REGISTERED_CLIENT)) {
            (true, false) => return Ok(&CLIENT_DETAILS),
            (false, true) => return Ok(&REGISTERED_CLIENT),
            (true, true) | (false, false) => {}
        }
        let first_of = |table: &Self| row.columns.keys().find(|column| table.has(column));
        match (first_of(&CLIENT_DETAILS), first_of(&REGISTERED_CLIENT)) {
            (Some(_), None) => Ok(&CLIENT_DETAILS),
            (None, Some(_)) => Ok(&REGISTERED_CLIENT),
            (Some(one), Some(other)) => Err(format!(
                "columns of two tables: {one} of oauth_client_details, {other} of oauth2_registered_client"
            )),
            (None, None) => {
                Err("columns of neither oauth_client_details nor oauth2_registered_client".into())
            }
        }
    }
}

impl SpringClients {
    pub(crate) fn convert_row(&self, mut row: Row) -> Conversion<Client> {
        let is_none =
            |method: &Value| method.as_str().is_some_and(|text| text.trim().eq_ignore_ascii_case(PUBLIC));
        let is_public = row.columns.get(METHODS).is_some_and(is_none);
        row.drop_nulls();
        if is_public {
            row.columns.insert(METHODS.into(), PUBLIC.into());
        }
        let row = &row;
        let has_no_hash = |column: &str| {
            column == "client_id" || CLIENT_DETAILS.has(column) || REGISTERED_CLIENT.has(column)
        };
        if let Some(reason) = misplaced_hash(row, "client_secret", has_no_hash) {
            return Conversion::refused(reason);
        }
        let client_id = key("client_id", row.columns.get("client_id"));
        let mut conversion = Conversion::new(client_id.as_deref().unwrap_or_default());
        match (client_id, Table::from_columns(row)) {
            (Ok(client_id), Ok(table)) => self.read(table, row, &client_id, &mut conversion),
            (client_id, table) => conversion.reasons.extend(client_id.err().into_iter().chain(table.err())),
        }
        conversion
    }

    fn read(&self, table: &Table, row: &Row, client_id: &str, conversion: &mut Conversion<Client>) {
        self.drop_columns(table, row, conversion);
        let is_registered = table.grants == REGISTERED_CLIENT.grants;
        let settings = if is_registered {
            Settings::read_registered(row, self.zone.as_ref())
        } else {
            Settings::read_details(row)
        };
        let mut list_reasons = Vec::new();
        let mut take = |list: Result<Vec<String>, String>| {
            list.unwrap_or_else(|reason| {
                list_reasons.push(reason);
                Vec::new()
            })
        };
        let mapped = |field, column| self.mapping.client_list(field, client_id, row, column);
        let grant_types = self.grants(table, row, conversion);
        let has_refresh = grant_types.contains(&GrantType::RefreshToken);
        if is_registered {
            let methods = list(METHODS, row.columns.get(METHODS), |name| name == PUBLIC);
            let methods = methods.map(Option::unwrap_or_default);
            check_methods(&take(methods), conversion);
        }
        match &settings {
            Ok(settings) => settings.report_losses(has_refresh, self.rules.limits(), conversion),
            Err(reason) => conversion.reasons.push(reason.clone()),
        }
        let settings = settings.unwrap_or_default();
        let name = match self.mapping.pointed(Field::Name, row) {
            Ok(Some(Value::String(name))) => Some(name),
            Ok(None) if is_registered => {
                let text = |column: &str| row.columns.get(column).and_then(Value::as_str);
                // Spring's default for the name is the row's id, a UUID.
                let is_id =
                    |name: &str| is_uuid(name) || text("id").is_some_and(|id| id.eq_ignore_ascii_case(name));
                text("client_name").filter(|name| !is_id(name)).map(str::to_owned)
            }
            Ok(None) => None,
            Ok(Some(_)) => {
                conversion.reasons.push("name: not text".into());
                None
            }
            Err(reason) => {
                conversion.reasons.push(reason);
                None
            }
        };
        let own_column = |name: &'static str| Some(name).filter(|name| table.has(name));
        let record = Client {
            name: name
                .map(|name| in_one_line(&name))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| client_id.to_owned()),
            grant_types,
            scopes: take(mapped(Field::Scopes, Some(table.scopes))),
            // For a request without a scope, spring-security-oauth gave all scopes and Spring
            // Authorization Server none.
            default_scopes: is_registered.then(Vec::new),
            roles: take(mapped(Field::Roles, own_column("authorities"))),
            brands: take(mapped(Field::Brands, None)),
            operators: take(mapped(Field::Operators, None)),
            audiences: take(mapped(Field::Audiences, own_column("resource_ids"))),
            access_ttl: settings.access_ttl(self.rules.limits()),
            refresh_ttl: settings.refresh_ttl(self.rules.limits()),
            typ: self.typ,
            ..Client::new(client_id, self.now)
        };
        conversion.reasons.append(&mut list_reasons);
        conversion.reasons.extend(self.rules.problems(&record).iter().map(with_remedy));
        conversion.losses.extend(self.rules.large_token(&record).map(large_token_warning));
        // A list without a name, such as `[]` or `,`, is empty in Spring too.
        let has_scopes = list(table.scopes, row.columns.get(table.scopes), |_| true)
            .is_ok_and(|scopes| scopes.is_some_and(|scopes| !scopes.is_empty()));
        if !is_registered && record.scopes.is_empty() && !has_scopes {
            conversion.losses.push(format!(
                "scope: without any, spring-security-oauth let the client request every scope; here it gets none. Give it \
                 scopes in the mapping file: [client.{client_id}] scopes = [\"…\"]"
            ));
        }
        if record.scopes.iter().any(|scope| scope == "openid") {
            conversion.losses.push("scope openid: there are no ID tokens here".into());
        }
        if settings.secret_expires.is_some_and(|expires| expires <= self.now) {
            conversion
                .losses
                .push("client_secret_expires_at: the secret has expired; it is refused here too".into());
        }
        match self.accepted.read("client_secret", row.columns.get("client_secret")) {
            Err(reason) => conversion.reasons.push(reason),
            Ok(value) => {
                conversion.losses.extend(losses("client_secret", &value));
                let credential = Some(Credential { value, expires: settings.secret_expires });
                conversion.record = Some(NewRecord { record, credential, given_id: None });
            }
        }
    }

    fn drop_columns(&self, table: &Table, row: &Row, conversion: &mut Conversion<Client>) {
        for (column, value) in &row.columns {
            let name = column.as_str();
            if let Some((_, reason)) = table.dropped.iter().find(|(dropped, _)| *dropped == name) {
                conversion.drop_value(name, reason);
            } else if name == ADDITIONAL && table.has(name) {
                match parse_json(value) {
                    Value::Object(members) => {
                        let unused = members
                            .keys()
                            .filter(|member| !self.mapping.reads(&[ADDITIONAL, member.as_str()]));
                        for member in unused {
                            conversion.drop_value(&format!("{ADDITIONAL}/{member}"), NO_MAPPING);
                        }
                    }
                    _ => conversion.losses.push(format!("{ADDITIONAL}: not a JSON object")),
                }
            } else if let Some(wanted) = table.wanted(row, name).filter(|_| !self.mapping.reads(&[name])) {
                conversion.reasons.push(format!(
                    "{name}: in this table it is {wanted}; name it so in the query: {name} AS {wanted}"
                ));
            } else if !table.has(name) && !COMMON.contains(&name) && !self.mapping.reads(&[name]) {
                conversion.drop_value(name, "not a column of Spring, and no mapping reads it");
            }
        }
        if table.has(settings::TOKEN) {
            settings::drop_settings(&self.mapping, row, conversion);
        }
    }

    fn grants(&self, table: &Table, row: &Row, conversion: &mut Conversion<Client>) -> Vec<GrantType> {
        // The meaning of an empty column in spring-security-oauth.
        let default = ["authorization_code", "refresh_token"];
        let names = self.mapping.grants(table.grants, row, &default).unwrap_or_else(|reason| {
            conversion.reasons.push(reason);
            Vec::new()
        });
        let mut grants = Vec::new();
        for grant in names {
            match grant.parse::<GrantType>() {
                Ok(grant) => grants.push(grant),
                Err(_) => conversion.losses.push(match grant.as_str() {
                    "authorization_code" | "implicit" | "urn:ietf:params:oauth:grant-type:device_code" => {
                        format!("grant {grant}: {NO_AUTHORIZATION_ENDPOINT}")
                    }
                    _ => format!("grant {grant}: not served here; a mapping file can rename it in [grants]"),
                }),
            }
        }
        let gives_refresh_tokens =
            grants.contains(&GrantType::Password) || grants.contains(&GrantType::OperatorPassword);
        if !gives_refresh_tokens && grants.contains(&GrantType::RefreshToken) {
            grants.retain(|grant| *grant != GrantType::RefreshToken);
            conversion
                .drop_value("grant refresh_token", "only password and operator_password give refresh tokens");
        }
        grants
    }
}

/// Returns true for the text form of a UUID (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('-').all(is_hex) && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// Replaces line ends, tabs and other white space by one space each.
fn in_one_line(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn check_methods(methods: &[String], conversion: &mut Conversion<Client>) {
    let is_served = |method: &String| {
        matches!(method.as_str(), "client_secret_basic" | "client_secret_post" | "basic" | "post")
    };
    let (served, others): (Vec<_>, Vec<_>) = methods.iter().cloned().partition(is_served);
    if others.is_empty() {
        return;
    }
    let lost = format!("client_authentication_methods {}: not served here", others.join(", "));
    if served.is_empty() {
        conversion.reasons.push(format!("{lost}; a client has a secret, in HTTP Basic or in the body"));
    } else {
        conversion.losses.push(lost);
    }
}

/// A record's problem, with the remedy in an import.
fn with_remedy(problem: &RecordProblem) -> String {
    match problem {
        RecordProblem::NoGrant => "grant: none of its grants is served here".into(),
        RecordProblem::PasswordGrantWithoutBrand => {
            format!("{problem}; give it with --brand or a mapping file")
        }
        RecordProblem::NoAudience => format!("{problem}; give it with --audience or a mapping file"),
        RecordProblem::InvalidItem { field, .. } | RecordProblem::RepeatedItem { field, .. } => {
            let part = match field {
                RecordField::Role => "roles",
                RecordField::Scope => "scopes",
                _ => return problem.to_string(),
            };
            format!("{problem}; a mapping file can rename it in [{part}]")
        }
        _ => problem.to_string(),
    }
}
