//! The smallest possible function: the runtime, an event that is not read, and a constant answer.

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const ANSWER: &str = r#"{"statusCode":200,"headers":{},"body":"hello","isBase64Encoded":false,"cookies":[]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let answer = &RawValue::from_string(ANSWER.to_owned())?;
    Runtime::new(service_fn(move |_: LambdaEvent<IgnoredAny>| async move { Ok::<_, Error>(answer) }))
        .run()
        .await
}
