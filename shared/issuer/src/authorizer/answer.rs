//! What an authorizer answers API Gateway.

use countersign_verify::Claims;
use serde::Serialize;
use serde_json::{Map, Value};

use super::event::Api;

/// An answer, as the kind of API and the use of its cache ask for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// An HTTP API's simple answer, about one request.
    #[serde(rename_all = "camelCase")]
    Simple {
        /// Whether the request goes through; 403 otherwise.
        is_authorized: bool,
        /// The claims, for the integration.
        context: Map<String, Value>,
    },
    /// An IAM policy.
    #[serde(rename_all = "camelCase")]
    Policy {
        /// The caller's `sub`.
        principal_id: String,
        /// What the caller may invoke.
        policy_document: PolicyDocument,
        /// The claims, for the integration.
        context: Map<String, Value>,
    },
}

/// An IAM policy about `execute-api:Invoke`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: Vec<String>,
}

impl PolicyDocument {
    /// A policy that allows and denies these ARNs. IAM denies what it does not allow, and a denial overrides.
    pub(super) fn new(allowed: Vec<String>, denied: Vec<String>) -> Self {
        let statement = [("Allow", allowed), ("Deny", denied)]
            .into_iter()
            .filter(|(_, resource)| !resource.is_empty())
            .map(|(effect, resource)| Statement { action: "execute-api:Invoke", effect, resource })
            .collect();
        Self { version: "2012-10-17", statement }
    }
}

/// The claims as an API's integrations can read them: any JSON for an HTTP API, strings and numbers for a REST API.
pub(super) fn context(claims: &Claims, api: Api) -> Map<String, Value> {
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
