//! API Gateway's events, of HTTP APIs (payload 2.0) and of REST APIs (1.0): of each the little that an endpoint judges.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::SourceAddress;
use crate::authorizer::event::{Http, Identity};
use crate::http::{Request, Response};

/// Stands for a body and for a query that cannot be read: neither is ever a percent sign alone, so the endpoints refuse it.
const UNREADABLE: &str = "%";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    request_context: RequestContext,
    headers: Option<Headers<Option<String>>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    // A REST API has these in place of the last two and of `http`.
    http_method: Option<String>,
    path: Option<String>,
    multi_value_headers: Option<Headers<Vec<String>>>,
    query_string_parameters: Option<HashMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Option<Http>,
    identity: Option<Identity>,
}

/// The kind of API that an event comes from: among the extensions of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Http,
    Rest,
}

/// What a function was invoked with is nothing of API Gateway's.
#[derive(Debug, thiserror::Error)]
#[error("this is no event of an HTTP API or a REST API of API Gateway: {0}")]
pub struct NotAnEvent(String);

/// The request in an event, with the address that API Gateway saw. Whatever a stranger sent makes a request; the error is
/// for whoever invokes the function with something else.
pub fn request(event: &str) -> Result<Request, NotAnEvent> {
    let event: Event = serde_json::from_str(event).map_err(|error| NotAnEvent(place(&error)))?;
    let headers = event.headers.unwrap_or_default().0;
    let (api, method, path, query, headers, address) = if let Some(http) = event.request_context.http {
        let query = event.raw_query_string.unwrap_or_default();
        (Api::Http, Some(http.method), event.raw_path, query, headers, http.source_ip)
    } else {
        // Of a header that was repeated `headers` has the last value alone.
        let repeated = event.multi_value_headers.unwrap_or_default().0;
        let headers = if repeated.is_empty() { headers } else { repeated };
        let address = event.request_context.identity.and_then(|identity| identity.source_ip);
        let query = names(event.query_string_parameters);
        (Api::Rest, event.http_method, event.path, query, headers, address)
    };
    let method = method.and_then(|method| method.parse().ok());

    let mut request =
        Request::new(body(event.body.unwrap_or_default(), event.is_base64_encoded == Some(true)));
    *request.method_mut() = method.ok_or_else(|| NotAnEvent("it has no method of HTTP".to_owned()))?;
    *request.uri_mut() = uri(&path.unwrap_or_default(), &query);
    *request.headers_mut() = headers;
    request.extensions_mut().insert(api);
    if let Some(address) = address.and_then(|address| address.parse().ok()) {
        request.extensions_mut().insert(SourceAddress(address));
    }
    Ok(request)
}

/// An event as the runtime hands it over: as text first, since the runtime parses slowly, to know where in an event it is.
pub(super) struct Asked(pub(super) Request);

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        request(event.get()).map(Self).map_err(D::Error::custom)
    }
}

/// Where an event stops being one. The parser's own words may repeat a credential.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Text from sam local, base64 from API Gateway and from cargo lambda.
fn body(text: String, is_base64: bool) -> Vec<u8> {
    if is_base64 { BASE64.decode(text).unwrap_or_else(|_| UNREADABLE.into()) } else { text.into_bytes() }
}

/// A query that says which parameters there are: more is not judged. What has other characters in it is none of OAuth's.
/// API Gateway has every name in both of its maps.
fn names(parameters: Option<HashMap<String, Option<String>>>) -> String {
    let is_plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let names: Vec<String> = parameters.unwrap_or_default().into_keys().filter(is_plain).collect();
    names.join("&")
}

/// A path that makes no URI leads nowhere.
fn uri(path: &str, query: &str) -> Uri {
    // A fragment would swallow what follows it.
    let is_path = path.starts_with('/') && !path.contains('#') && path.parse::<Uri>().is_ok();
    let path = if is_path { path } else { "/" };
    let query = if query.contains('#') { UNREADABLE } else { query };
    let readable = format!("{path}?{query}").parse();
    readable.or_else(|_| format!("{path}?{UNREADABLE}").parse()).unwrap_or_default()
}

/// Headers with one value each, or with several. A name or value that HTTP does not know is left out.
struct Headers<V>(HeaderMap, PhantomData<V>);

impl<V> Default for Headers<V> {
    fn default() -> Self {
        Self(HeaderMap::new(), PhantomData)
    }
}

impl<'de, V: Deserialize<'de> + IntoIterator<Item = String>> Deserialize<'de> for Headers<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de, V: Deserialize<'de> + IntoIterator<Item = String>> Visitor<'de> for Headers<V> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut headers: A) -> Result<Self, A::Error> {
        while let Some((name, values)) = headers.next_entry::<String, V>()? {
            let Ok(name) = name.parse::<HeaderName>() else { continue };
            for value in values.into_iter().filter_map(|value| HeaderValue::try_from(value).ok()) {
                // Nobody sends as many as a map does not take.
                let _ = self.0.try_append(&name, value);
            }
        }
        Ok(self)
    }
}

/// What API Gateway makes a response of. No endpoint gives a header twice.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) api: Api,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("Answer", 5)?;
        answer.serialize_field("statusCode", &self.response.status().as_u16())?;
        answer.serialize_field("headers", &Fields(self.response.headers()))?;
        answer.serialize_field("body", self.response.body())?;
        answer.serialize_field("isBase64Encoded", &false)?;
        // cargo lambda takes no answer of an HTTP API without cookies; a REST API takes nothing that it does not know.
        match self.api {
            Api::Http => answer.serialize_field("cookies", &[(); 0])?,
            Api::Rest => answer.skip_field("cookies")?,
        }
        answer.end()
    }
}

struct Fields<'answer>(&'answer HeaderMap);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.iter();
        serializer.collect_map(fields.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(headers: &str) -> String {
        format!(
            r#"{{"resource": "/oauth/token", "path": "/oauth/token", "httpMethod": "POST", "headers": {{"X-Forwarded-For":
            "198.51.100.1"}}, "multiValueHeaders": {headers}, "queryStringParameters": {{"scope": "a", "é": "b"}},
            "multiValueQueryStringParameters": {{"scope": ["a"], "é": ["b"]}}, "pathParameters": null,
            "stageVariables": null, "body": "a=b", "isBase64Encoded": false,
            "requestContext": {{"httpMethod": "POST", "path": "/prod/oauth/token", "stage": "prod",
                "identity": {{"sourceIp": "203.0.113.7"}}}}}}"#
        )
    }

    #[test]
    fn the_address_is_the_one_that_api_gateway_saw() {
        let http = include_str!("../../../../events/token-password.json")
            .replace(r#""x-forwarded-for": "203.0.113.7""#, r#""x-forwarded-for": "198.51.100.1""#);
        for event in [http, rest("null"), rest("{}")] {
            let request = request(&event).unwrap();
            assert_eq!(request.headers()["x-forwarded-for"], "198.51.100.1");
            let address = request.extensions().get::<SourceAddress>();
            assert_eq!(address, Some(&SourceAddress("203.0.113.7".parse().unwrap())), "{event}");
        }
    }

    #[test]
    fn a_rest_api_hands_on_repeated_headers_and_the_names_in_the_query() {
        let request = request(&rest(r#"{"Authorization": ["Basic YQ==", "Basic Yg=="]}"#)).unwrap();
        let values: Vec<_> = request.headers().get_all("authorization").iter().collect();
        assert_eq!(values, ["Basic YQ==", "Basic Yg=="]);
        assert_eq!(request.uri(), "/oauth/token?scope");
    }

    #[test]
    fn a_fragment_hides_no_parameter_and_no_number_of_headers_is_too_many() {
        assert_eq!(uri("/oauth/token", "#client_secret=a"), "/oauth/token?%");
        assert_eq!(uri("/oauth/token#a", "client_secret=a"), "/?client_secret=a");
        let headers: Vec<String> = (0..40_000).map(|n| format!(r#""h{n}": "a""#)).collect();
        let event = format!(
            r#"{{"headers": {{{}}}, "requestContext": {{"http": {{"method": "GET"}}}}}}"#,
            headers.join(",")
        );
        assert!(request(&event).unwrap().headers().len() > 1000);
    }

    #[test]
    fn what_is_no_event_is_told_by_its_place() {
        for event in ["", "[]", "{}", r#"{"requestContext": {}}"#, r#"{"body": 1, "requestContext": {}}"#] {
            let said = request(event).map(|_| ()).unwrap_err().to_string();
            assert!(said.starts_with("this is no event of an HTTP API or a REST API"), "{said}");
        }
    }
}
