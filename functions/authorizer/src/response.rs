//! The authorizer's response to API Gateway.

use countersign_verify::Claims;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::Api;
use crate::iam_policy::PolicyDocument;

/// A response in the form that the kind of API, and its cache, require.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum AuthorizerResponse {
    /// An HTTP API's simple response, about one request.
    #[serde(rename_all = "camelCase")]
    Simple {
        /// False makes API Gateway answer 403.
        is_authorized: bool,
        /// The claims, for the integration.
        context: Map<String, Value>,
    },
    /// An IAM policy.
    #[serde(rename_all = "camelCase")]
    Policy {
        /// The caller's `sub`.
        principal_id: String,
        /// The routes that the caller may invoke.
        policy_document: PolicyDocument,
        /// The claims, for the integration.
        context: Map<String, Value>,
    },
}

impl AuthorizerResponse {
    /// Allows a caller this one request to an HTTP API.
    pub(crate) fn simple(caller: &Claims) -> Self {
        Self::Simple { is_authorized: true, context: context(caller, Api::Http) }
    }

    /// Allows a caller what `policy_document` allows.
    pub(crate) fn policy(caller: &Claims, policy_document: PolicyDocument, api: Api) -> Self {
        Self::Policy { principal_id: caller.sub.clone(), policy_document, context: context(caller, api) }
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
