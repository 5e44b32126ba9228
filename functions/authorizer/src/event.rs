//! API Gateway's events for an authorizer: three forms, parsed into one type.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::AuthorizerError;

/// The request to authorize.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) api: Api,
    /// The ARN of the method or route, for this request.
    pub(super) arn: MethodArn,
    pub(super) method: String,
    /// The path without the stage. A REST API leaves it as the client sent it. An HTTP API decodes
    /// it, so it must fit the route.
    pub(super) path: String,
    /// The values of the Authorization headers; an HTTP API joins several with a comma.
    pub(super) authorization: Vec<String>,
    /// The source address that API Gateway saw. A `TOKEN` event has none.
    pub(super) source: Option<IpAddr>,
}

/// The kind of API. It decides the form of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// An HTTP API, payload format 2.0.
    Http,
    /// A REST API, `TOKEN` or `REQUEST`.
    Rest,
}

/// `arn:aws:execute-api:{region}:{account}:{api}/{stage}/{method}/{path}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MethodArn {
    pub(super) whole: String,
    /// The part that ends with the stage.
    pub(super) stage: String,
    method: String,
    /// The path, with its first slash.
    path: String,
}

impl MethodArn {
    fn parse(whole: String) -> Option<Self> {
        let mut parts = whole.splitn(4, '/');
        let (api, stage, method) = (parts.next()?, parts.next()?, parts.next()?);
        let path = format!("/{}", parts.next().unwrap_or_default());
        let is_arn = api.starts_with("arn:") && api.contains(":execute-api:");
        let (stage, method) = (format!("{api}/{stage}"), method.to_owned());
        is_arn.then_some(Self { whole, stage, method, path })
    }
}

/// The members that the authorizer reads. No member occurs in all three forms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    version: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    route_arn: Option<String>,
    method_arn: Option<String>,
    authorization_token: Option<String>,
    route_key: Option<String>,
    raw_path: Option<String>,
    headers: Option<HashMap<String, Option<String>>>,
    multi_value_headers: Option<HashMap<String, Option<Vec<String>>>>,
    request_context: Option<RequestContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    stage: Option<String>,
    http: Option<Http>,
    identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
}

impl Event {
    pub(super) fn parse(event: serde_json::Value) -> Result<Self, AuthorizerError> {
        let unknown = |why: &str| AuthorizerError::NotAnAuthorizerEvent(why.to_owned());
        let members: Members = serde_json::from_value(event).map_err(|error| unknown(&error.to_string()))?;
        let event = match (members.version.as_deref(), members.kind.as_deref()) {
            (Some("2.0"), _) => members.http_api(),
            (None, Some("REQUEST")) => members.rest_request(),
            (None, Some("TOKEN")) => members.rest_token(),
            (Some("1.0"), _) => {
                return Err(unknown("payload format 1.0: set AuthorizerPayloadFormatVersion to 2.0"));
            }
            _ => return Err(unknown("it has neither version 2.0 nor type REQUEST or TOKEN")),
        };
        event.ok_or_else(|| {
            unknown(
                "the ARN, the method or the path is missing or malformed, or the path does not fit the route",
            )
        })
    }
}

impl Members {
    fn http_api(self) -> Option<Event> {
        let context = self.request_context?;
        let http = context.http?;
        let raw_path = self.raw_path?;
        let route = self.route_key.unwrap_or_default();
        // With a stage other than `$default` the path starts with the stage, but not behind every
        // custom domain.
        let prefix = context.stage.map(|stage| format!("/{stage}"));
        let stripped = prefix.and_then(|prefix| raw_path.strip_prefix(&prefix));
        let stripped = stripped.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let interpretations =
            [stripped.map(|rest| if rest.is_empty() { "/" } else { rest }), Some(&raw_path)];
        let path = interpretations.into_iter().flatten().find(|path| fits(&route, path))?.to_owned();
        Some(Event {
            api: Api::Http,
            arn: MethodArn::parse(self.route_arn?)?,
            method: http.method,
            path,
            authorization: named_authorization(self.headers.unwrap_or_default()).collect(),
            source: http.source_ip.and_then(|source| source.parse().ok()),
        })
    }

    /// Method and path come from the ARN: its path has neither the stage nor the base path of a
    /// custom domain.
    fn rest_request(self) -> Option<Event> {
        let authorization = match self.multi_value_headers {
            Some(headers) => named_authorization(headers).flatten().collect(),
            None => named_authorization(self.headers.unwrap_or_default()).collect(),
        };
        let identity = self.request_context.and_then(|context| context.identity);
        let source = identity.and_then(|identity| identity.source_ip?.parse().ok());
        Some(Event::from_arn(MethodArn::parse(self.method_arn?)?, authorization, source))
    }

    /// A `TOKEN` event has the token and the ARN, and nothing else.
    fn rest_token(self) -> Option<Event> {
        let authorization = self.authorization_token.into_iter().collect();
        Some(Event::from_arn(MethodArn::parse(self.method_arn?)?, authorization, None))
    }
}

impl Event {
    fn from_arn(arn: MethodArn, authorization: Vec<String>, source: Option<IpAddr>) -> Self {
        let (method, path) = (arn.method.clone(), arn.path.clone());
        Self { api: Api::Rest, arn, method, path, authorization, source }
    }
}

/// Compares the number of segments of a path and of the route that API Gateway chose for it, such
/// as `GET /brands/{brandKey}`. An HTTP API decodes an encoded slash in the path: one segment of
/// the route becomes two. `$default` and `{proxy+}` fit every path.
fn fits(route: &str, path: &str) -> bool {
    match route.split_once(' ') {
        Some((_, template)) if !template.contains("+}") => {
            template.split('/').count() == path.split('/').count()
        }
        _ => true,
    }
}

/// The values of the Authorization headers, with the name in any case.
fn named_authorization<V>(headers: HashMap<String, Option<V>>) -> impl Iterator<Item = V> {
    let is_named = |name: &str| name.eq_ignore_ascii_case("authorization");
    headers.into_iter().filter(move |(name, _)| is_named(name)).filter_map(|(_, value)| value)
}
