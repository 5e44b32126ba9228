//! The authorizer's response to API Gateway.

use countersign_verify::Claims;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::Api;
use crate::iam_policy::PolicyDocument;

/// An IAM policy for the caller, in the form that both kinds of API read. An HTTP API's simple
/// response (`isAuthorized`) is never used: API Gateway would apply a cached one to every route.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizerResponse {
    /// The caller's `sub`.
    principal_id: String,
    /// The routes that the caller may invoke.
    policy_document: PolicyDocument,
    /// The claims, for the integration.
    context: Map<String, Value>,
}

impl AuthorizerResponse {
    /// Allows a caller what `policy_document` allows.
    pub(crate) fn new(caller: &Claims, policy_document: PolicyDocument, api: Api) -> Self {
        Self { principal_id: caller.sub.clone(), policy_document, context: context(caller, api) }
    }

    /// Allows nothing below `stage`, the ARN of the API's stage. API Gateway answers 403.
    pub(crate) fn deny(stage: &str) -> Self {
        let policy_document = PolicyDocument::new(vec![], vec![format!("{stage}/*")]);
        Self { principal_id: "nobody".into(), policy_document, context: Map::new() }
    }
}

/// The claims in the form that an API's integrations can read: any JSON for an HTTP API, strings
/// and numbers for a REST API.
fn context(claims: &Claims, api: Api) -> Map<String, Value> {
    let mut context = match serde_json::to_value(claims) {
        Ok(Value::Object(members)) => members,
        // A struct of strings, numbers and a list cannot fail to serialise.
        _ => Map::new(),
    };
    if api == Api::Rest {
        context.insert("roles".into(), claims.roles.join(" ").into());
    }
    context
}
