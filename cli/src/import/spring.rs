//! Clients out of Spring's two tables: `oauth_client_details` of spring-security-oauth, and `oauth2_registered_client`
//! of Spring Authorization Server. Every column is used, or named as lost or dropped.

mod settings;

use countersign_issuer::credentials::SpringValue;
use countersign_issuer::records::Lifetimes;
use countersign_issuer::records::{AccessTokenType, Client, GrantType, RecordField, RecordProblem};
use countersign_verify::Timestamp;
use serde_json::Value;

use super::mapping::{Mapping, Part, Words, list, parsed};
use super::rows::Row;
use super::{Candidate, Credential, Judgement};
use settings::Settings;

/// What the columns do not say.
pub(crate) struct SpringClients {
    pub(crate) mapping: Mapping,
    pub(crate) limits: Lifetimes,
    pub(crate) typ: AccessTokenType,
    pub(crate) values: Values,
    pub(crate) now: Timestamp,
}

/// Which values of a secret's or password's column are taken, beside hashes that are strong enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    pub(crate) hash_plain: bool,
    pub(crate) allow_legacy: bool,
}

impl Values {
    /// The value of the column, if it may be imported; it is never repeated in what is said of it.
    pub(crate) fn read(self, column: &str, value: Option<&Value>) -> Result<SpringValue, String> {
        let value = required(column, value)?;
        match SpringValue::parse(value).map_err(|refused| format!("{column} {refused}"))? {
            SpringValue::Plain(_) if !self.hash_plain => {
                Err(format!("{column} is plain text; --hash-plain keeps it as argon2id"))
            }
            SpringValue::Legacy(hash) if !self.allow_legacy => Err(format!(
                "{column} {{{}}}: a fast digest, which whoever sees the table guesses back; --allow-legacy keeps argon2id of it",
                hash.id()
            )),
            value => match value.check() {
                Ok(()) => Ok(value),
                Err(refused) => Err(format!("{column}: {refused}")),
            },
        }
    }
}

/// What stands in a column that is text and must not be empty.
pub(crate) fn required<'a>(column: &str, value: Option<&'a Value>) -> Result<&'a str, String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::String(_)) => Err(format!("{column}: there is none")),
        Some(_) => Err(format!("{column}: not a text")),
    }
}

/// What is said of a row with a hash in one of the columns that have none: its columns are mixed up, and nothing else of
/// it is to be believed, or repeated.
pub(crate) fn misplaced(row: &Row, place: &str, is_another: impl Fn(&str) -> bool) -> Option<String> {
    let is_hash = |value: &Value| {
        let is_marked = |text: &str| text.split(',').any(|item| SpringValue::is_marked(item.trim()));
        match value {
            Value::String(text) => is_marked(text),
            Value::Array(items) => items.iter().filter_map(Value::as_str).any(is_marked),
            _ => false,
        }
    };
    let (column, _) = row.columns.iter().find(|(column, value)| is_another(column) && is_hash(value))?;
    Some(format!("{column}: a hash as of {place} stands there; are the columns mixed up?"))
}

/// Either table, by the names of its columns.
struct Table {
    scopes: &'static str,
    grants: &'static str,
    others: &'static [&'static str],
    /// What is of no use here, and why.
    dropped: &'static [(&'static str, &'static str)],
}

const NO_AUTHORIZATION_ENDPOINT: &str = "there is no authorization endpoint here";

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
    others: &[
        "client_secret_expires_at",
        "client_name",
        "client_authentication_methods",
        settings::CLIENT,
        settings::TOKEN,
    ],
    dropped: &[
        ("id", "clients are known by client_id"),
        ("client_id_issued_at", "a record has the times of its own making"),
        ("redirect_uris", NO_AUTHORIZATION_ENDPOINT),
        ("post_logout_redirect_uris", NO_AUTHORIZATION_ENDPOINT),
    ],
};

const ADDITIONAL: &str = "additional_information";
/// What both tables have.
const COMMON: [&str; 2] = ["client_id", "client_secret"];

impl Table {
    fn has(&self, column: &str) -> bool {
        column == self.scopes
            || column == self.grants
            || self.others.contains(&column)
            || self.dropped.iter().any(|(name, _)| *name == column)
    }

    fn of(row: &Row) -> Result<&'static Self, String> {
        let first_of = |table: &Self| row.columns.keys().find(|column| table.has(column));
        match (first_of(&CLIENT_DETAILS), first_of(&REGISTERED_CLIENT)) {
            (Some(_), None) => Ok(&CLIENT_DETAILS),
            (None, Some(_)) => Ok(&REGISTERED_CLIENT),
            (Some(one), Some(other)) => Err(format!(
                "columns of two tables: {one} is oauth_client_details', {other} oauth2_registered_client's"
            )),
            (None, None) => {
                Err("columns of neither oauth_client_details nor oauth2_registered_client; a CSV needs its heading"
                    .into())
            }
        }
    }
}

impl SpringClients {
    /// What is to become of a row.
    pub(crate) fn judge(&self, row: &Row) -> Judgement<Client> {
        let has_no_hash = |column: &str| {
            column == "client_id" || CLIENT_DETAILS.has(column) || REGISTERED_CLIENT.has(column)
        };
        if let Some(reason) = misplaced(row, "client_secret", has_no_hash) {
            let mut judgement = Judgement::of("");
            judgement.reasons.push(reason);
            return judgement;
        }
        let client_id = required("client_id", row.columns.get("client_id"));
        let mut judgement = Judgement::of(client_id.as_deref().unwrap_or_default());
        match (client_id, Table::of(row)) {
            (Ok(client_id), Ok(table)) => self.read(table, row, client_id, &mut judgement),
            (client_id, table) => judgement.reasons.extend(client_id.err().into_iter().chain(table.err())),
        }
        judgement
    }

    fn read(&self, table: &Table, row: &Row, client_id: &str, judgement: &mut Judgement<Client>) {
        self.drop_columns(table, row, judgement);
        let is_registered = table.grants == REGISTERED_CLIENT.grants;
        let settings =
            if is_registered { Settings::read_registered(row) } else { Settings::read_details(row) };
        let mut told = Vec::new();
        let mut take = |list: Result<Vec<String>, String>| {
            list.unwrap_or_else(|reason| {
                told.push(reason);
                Vec::new()
            })
        };
        let column = |name: &str| list(name, row.columns.get(name)).map(Option::unwrap_or_default);
        let of = |part, column| self.mapping.of_client(part, client_id, row, column);
        let grant_types = self.grants(table, row, judgement);
        let has_refresh = grant_types.contains(&GrantType::RefreshToken);
        if is_registered {
            check_methods(&take(column("client_authentication_methods")), judgement);
        }
        match &settings {
            Ok(settings) => settings.tell(has_refresh, self.limits, judgement),
            Err(reason) => judgement.reasons.push(reason.clone()),
        }
        let settings = settings.unwrap_or_default();
        let name = match self.mapping.pointed(Part::Name, row) {
            Ok(Some(Value::String(name))) => Some(name),
            Ok(None) => row.columns.get("client_name").and_then(Value::as_str).map(str::to_owned),
            Ok(Some(_)) => {
                judgement.reasons.push("name: not a text".into());
                None
            }
            Err(reason) => {
                judgement.reasons.push(reason);
                None
            }
        };
        let record = Client {
            client_id: client_id.to_owned(),
            name: name.unwrap_or_else(|| client_id.to_owned()),
            secrets: Vec::new(),
            grant_types,
            scopes: self.mapping.translate(Words::Scopes, take(column(table.scopes))),
            // Asked for no scope, spring-security-oauth gave all of them and Spring Authorization Server none.
            default_scopes: is_registered.then(Vec::new),
            roles: take(of(Part::Roles, Some("authorities"))),
            brands: take(of(Part::Brands, None)),
            operators: take(of(Part::Operators, None)),
            require_operator: false,
            audiences: take(of(Part::Audiences, Some("resource_ids"))),
            access_ttl: settings.access_ttl(self.limits),
            refresh_ttl: settings.refresh_ttl(self.limits),
            typ: self.typ,
            enabled: true,
            created: self.now,
            updated: self.now,
            version: 1,
            imported: None,
        };
        judgement.reasons.append(&mut told);
        judgement.reasons.extend(record.problems(self.limits).iter().map(with_remedy));
        if record.scopes.iter().any(|scope| scope == "openid") {
            judgement.losses.push("scope openid: there are no ID tokens here".into());
        }
        if settings.secret_expires.is_some_and(|expires| expires <= self.now) {
            judgement
                .losses
                .push("client_secret_expires_at: the secret has expired, and is refused here too".into());
        }
        match self.values.read("client_secret", row.columns.get("client_secret")) {
            Err(reason) => judgement.reasons.push(reason),
            Ok(value) => {
                let credential = Some(Credential { value, expires: settings.secret_expires });
                judgement.candidate = Some(Candidate { record, credential });
            }
        }
    }

    fn drop_columns(&self, table: &Table, row: &Row, judgement: &mut Judgement<Client>) {
        for (column, value) in &row.columns {
            let name = column.as_str();
            if let Some((_, reason)) = table.dropped.iter().find(|(dropped, _)| *dropped == name) {
                judgement.leave_out(name, reason);
            } else if name == ADDITIONAL {
                match parsed(value) {
                    Value::Object(members) => {
                        let unused = members
                            .keys()
                            .filter(|member| !self.mapping.looks_into(&[ADDITIONAL, member.as_str()]));
                        for member in unused {
                            judgement.leave_out(&format!("{ADDITIONAL}/{member}"), NO_MAPPING);
                        }
                    }
                    _ => judgement.losses.push(format!("{ADDITIONAL}: not a JSON object")),
                }
            } else if !table.has(name) && !COMMON.contains(&name) && !self.mapping.looks_into(&[name]) {
                judgement.leave_out(name, "not a column of Spring's, and no mapping names it");
            }
        }
        settings::drop_settings(&self.mapping, row, judgement);
    }

    fn grants(&self, table: &Table, row: &Row, judgement: &mut Judgement<Client>) -> Vec<GrantType> {
        let said = match list(table.grants, row.columns.get(table.grants)) {
            Ok(Some(said)) => said,
            // What spring-security-oauth takes an empty column for.
            Ok(None) => vec!["authorization_code".into(), "refresh_token".into()],
            Err(reason) => {
                judgement.reasons.push(reason);
                Vec::new()
            }
        };
        let mut grants = Vec::new();
        for grant in self.mapping.translate(Words::Grants, said) {
            match grant.parse::<GrantType>() {
                Ok(grant) => grants.push(grant),
                Err(_) => judgement.losses.push(match grant.as_str() {
                    "authorization_code" | "implicit" | "urn:ietf:params:oauth:grant-type:device_code" => {
                        format!("grant {grant}: {NO_AUTHORIZATION_ENDPOINT}")
                    }
                    _ => format!(
                        "grant {grant}: not served here; [grants] in a mapping file may give it another name"
                    ),
                }),
            }
        }
        let gives_refresh_tokens =
            grants.contains(&GrantType::Password) || grants.contains(&GrantType::OperatorPassword);
        if !gives_refresh_tokens && grants.contains(&GrantType::RefreshToken) {
            grants.retain(|grant| *grant != GrantType::RefreshToken);
            judgement
                .leave_out("grant refresh_token", "only password and operator_password give refresh tokens");
        }
        grants
    }
}

const NO_MAPPING: &str = "no mapping names it";

fn check_methods(methods: &[String], judgement: &mut Judgement<Client>) {
    let is_served = |method: &String| {
        matches!(method.as_str(), "client_secret_basic" | "client_secret_post" | "basic" | "post")
    };
    let (served, others): (Vec<_>, Vec<_>) = methods.iter().cloned().partition(is_served);
    if others.is_empty() {
        return;
    }
    let lost = format!("client_authentication_methods {}: not served here", others.join(", "));
    if served.is_empty() {
        judgement.reasons.push(format!("{lost}; a client has a secret, in HTTP Basic or in the body"));
    } else {
        judgement.losses.push(lost);
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
            format!("{problem}; [{part}] in a mapping file may give it another name")
        }
        _ => problem.to_string(),
    }
}
