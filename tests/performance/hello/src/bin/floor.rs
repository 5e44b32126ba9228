//! The smallest possible function that signs: the bare runtime with one raw signature for each
//! event. The same signature costs less in a loop alone, because here the kernel and the peer use
//! the processor's caches in between.

use std::hint::black_box;

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const ANSWER: &str = r#"{"statusCode":200,"headers":{},"body":"hello","isBase64Encoded":false,"cookies":[]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let answer = &RawValue::from_string(ANSWER.to_owned())?;
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, random).map_err(|_| "no key pair")?;
    let pair =
        &EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), random).map_err(|_| "a refused key pair")?;
    Runtime::new(service_fn(move |_: LambdaEvent<IgnoredAny>| async move {
        black_box(pair.sign(random, black_box(&[b'x'; 500])).map_err(|_| "no signature")?);
        Ok::<_, Error>(answer)
    }))
    .run()
    .await
}
