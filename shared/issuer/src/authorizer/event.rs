//! What API Gateway asks an authorizer, in its three shapes, read into one.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::AuthorizerError;

/// A request to be judged.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) api: Api,
    /// The method's or the route's ARN, of this very request.
    pub(super) arn: MethodArn,
    pub(super) method: String,
    /// Without the stage. A REST API leaves it as it came over the wire; an HTTP API decodes it, which is why its route
    /// must fit.
    pub(super) path: String,
    /// The values of the Authorization headers; an HTTP API joins several with a comma.
    pub(super) authorization: Vec<String>,
    /// Where the request came from, as API Gateway saw it; a `TOKEN` event does not say.
    pub(super) address: Option<IpAddr>,
}

/// The kind of API, which decides what an answer looks like.
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
    /// Up to and with the stage.
    pub(super) stage: String,
    method: String,
    /// With its first slash.
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

/// The members that are read; every other one is passed over, and none is there in all three shapes.
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
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) source_ip: Option<String>,
}

impl Event {
    pub(super) fn read(event: serde_json::Value) -> Result<Self, AuthorizerError> {
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
        // With a stage other than `$default` the path starts with it, but not behind every domain of one's own.
        let prefix = context.stage.map(|stage| format!("/{stage}"));
        let stripped = prefix.and_then(|prefix| raw_path.strip_prefix(&prefix));
        let stripped = stripped.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let readings = [stripped.map(|rest| if rest.is_empty() { "/" } else { rest }), Some(&raw_path)];
        let path = readings.into_iter().flatten().find(|path| fits(&route, path))?.to_owned();
        Some(Event {
            api: Api::Http,
            arn: MethodArn::parse(self.route_arn?)?,
            method: http.method,
            path,
            authorization: named_authorization(self.headers.unwrap_or_default()).collect(),
            address: http.source_ip.and_then(|address| address.parse().ok()),
        })
    }

    /// Method and path are those of the ARN, which knows neither stages nor the base paths of domains.
    fn rest_request(self) -> Option<Event> {
        let authorization = match self.multi_value_headers {
            Some(headers) => named_authorization(headers).flatten().collect(),
            None => named_authorization(self.headers.unwrap_or_default()).collect(),
        };
        let identity = self.request_context.and_then(|context| context.identity);
        let address = identity.and_then(|identity| identity.source_ip?.parse().ok());
        Some(Event::of_arn(MethodArn::parse(self.method_arn?)?, authorization, address))
    }

    /// A `TOKEN` event says no more than the token and the ARN.
    fn rest_token(self) -> Option<Event> {
        let authorization = self.authorization_token.into_iter().collect();
        Some(Event::of_arn(MethodArn::parse(self.method_arn?)?, authorization, None))
    }
}

impl Event {
    fn of_arn(arn: MethodArn, authorization: Vec<String>, address: Option<IpAddr>) -> Self {
        let (method, path) = (arn.method.clone(), arn.path.clone());
        Self { api: Api::Rest, arn, method, path, authorization, address }
    }
}

/// Whether a path has the segments of the route that API Gateway chose for it (`GET /brands/{brandKey}`): an encoded
/// slash, which an HTTP API decodes before it shows the path, is one segment there and two here. `$default` and
/// `{proxy+}` fit every path.
fn fits(route: &str, path: &str) -> bool {
    match route.split_once(' ') {
        Some((_, template)) if !template.contains("+}") => {
            template.split('/').count() == path.split('/').count()
        }
        _ => true,
    }
}

/// The values of headers of that name, in whatever case it was sent.
fn named_authorization<V>(headers: HashMap<String, Option<V>>) -> impl Iterator<Item = V> {
    let is_named = |name: &str| name.eq_ignore_ascii_case("authorization");
    headers.into_iter().filter(move |(name, _)| is_named(name)).filter_map(|(_, value)| value)
}
