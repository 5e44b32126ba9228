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
    pub(super) path: Result<String, UnknownPath>,
    /// The path as API Gateway sent it, for the log.
    pub(super) sent_path: String,
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

/// The reason why the path without the stage is not known. `Display` is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownPath {
    /// An encoded slash, which an HTTP API decodes, makes two segments of one.
    #[error("the path does not fit the route that API Gateway chose")]
    FitsNot,
    /// The path begins with the stage's name, and the route fits with it and without it.
    #[error(
        "the path fits the route with the stage and without it, and API Gateway does not say which is meant: \
         use the stage $default"
    )]
    FitsTwice,
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
    path_parameters: Option<HashMap<String, String>>,
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
        event.ok_or_else(|| unknown("the ARN, the method or the path is missing or malformed"))
    }
}

impl Members {
    fn http_api(self) -> Option<Event> {
        let context = self.request_context?;
        let http = context.http?;
        let sent_path = self.raw_path?;
        let arn = MethodArn::parse(self.route_arn?)?;
        let route = Route {
            template: self.route_key.as_deref().and_then(|key| Some(key.split_once(' ')?.1)),
            arn_path: &arn.path,
            parameters: &self.path_parameters.unwrap_or_default(),
        };
        let path = route.path_without_stage(&sent_path, context.stage.as_deref()).map(str::to_owned);
        Some(Event {
            api: Api::Http,
            method: http.method,
            path,
            sent_path,
            authorization: named_authorization(self.headers.unwrap_or_default()).collect(),
            source: http.source_ip.and_then(|source| source.parse().ok()),
            arn,
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
        Self { api: Api::Rest, arn, method, path: Ok(path.clone()), sent_path: path, authorization, source }
    }
}

/// The route of an HTTP API that API Gateway chose for a request.
#[derive(Debug)]
struct Route<'event> {
    /// The path of the route's key, such as `/brands/{brandKey}`. None for `$default`.
    template: Option<&'event str>,
    /// The path in the route's ARN.
    arn_path: &'event str,
    /// The values of the template's parameters.
    parameters: &'event HashMap<String, String>,
}

impl Route<'_> {
    /// Returns the path of the request without its stage. With a stage other than `$default` the
    /// path begins with the stage, but not behind every custom domain. So of the path and what
    /// follows the stage's name, the one that fits the route is meant.
    ///
    /// `$default` and `{proxy+}` fit both. Then the ARN and the value of the parameter decide.
    fn path_without_stage<'path>(
        &self,
        sent: &'path str,
        stage: Option<&str>,
    ) -> Result<&'path str, UnknownPath> {
        let stripped = stage
            .and_then(|stage| sent.strip_prefix('/')?.strip_prefix(stage))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .map(|rest| if rest.is_empty() { "/" } else { rest });
        let fitting = || [stripped, Some(sent)].into_iter().flatten().filter(|path| self.fits(path));
        match (fitting().count(), single(fitting().filter(|path| self.is_confirmed(path)))) {
            (0, _) => Err(UnknownPath::FitsNot),
            (1, _) => fitting().next().ok_or(UnknownPath::FitsNot),
            (_, confirmed) => confirmed.ok_or(UnknownPath::FitsTwice),
        }
    }

    /// Returns true if the segments of the path are those of the template. An HTTP API decodes an
    /// encoded slash in the path: one segment of the route becomes two.
    fn fits(&self, path: &str) -> bool {
        let Some(template) = self.template else { return true };
        let mut path = path.split('/');
        for segment in template.split('/') {
            match (segment, path.next()) {
                (_, None) => return false,
                (segment, Some(_)) if is_catch_all(segment) => return true,
                (segment, Some(sent)) if !segment.starts_with('{') && segment != sent => return false,
                _ => {}
            }
        }
        path.next().is_none()
    }

    /// Returns true if another part of the event names this path.
    fn is_confirmed(&self, path: &str) -> bool {
        let rest = |template: &str| {
            let at = template.split('/').position(is_catch_all)?;
            let name = template.split('/').nth(at)?.strip_prefix('{')?.strip_suffix("+}")?;
            let rest = path.splitn(at + 1, '/').nth(at)?;
            Some(self.parameters.get(name)?.trim_end_matches('/') == rest.trim_end_matches('/'))
        };
        self.arn_path == path || self.template.and_then(rest) == Some(true)
    }
}

/// Returns true for `{proxy+}`, the last segment of a route that takes the rest of the path.
fn is_catch_all(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with("+}")
}

/// Returns the item of an iterator that has exactly one.
fn single<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let item = items.next()?;
    items.next().is_none().then_some(item)
}

/// The values of the Authorization headers, with the name in any case.
fn named_authorization<V>(headers: HashMap<String, Option<V>>) -> impl Iterator<Item = V> {
    let is_named = |name: &str| name.eq_ignore_ascii_case("authorization");
    headers.into_iter().filter(move |(name, _)| is_named(name)).filter_map(|(_, value)| value)
}
