//! One raw signature: ring's ECDSA over P-256 with a parsed key pair, over as many bytes as a
//! token's header and claims have. Prints the nanoseconds of CPU of one signature, as the kernel
//! accounts for it.

use std::error::Error;
use std::hint::black_box;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

const SIGNATURES: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| "no key pair")?;
    let pair =
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).map_err(|_| "a refused key pair")?;
    let input = [b'x'; 500];
    let mut started = 0;
    // The first tenth warms up.
    for at in 0..SIGNATURES + SIGNATURES / 10 {
        if at == SIGNATURES / 10 {
            started = cpu()?;
        }
        black_box(pair.sign(&random, black_box(&input)).map_err(|_| "no signature")?);
    }
    println!("{}", (cpu()? - started) / SIGNATURES);
    Ok(())
}

/// Returns the nanoseconds that this thread has run.
fn cpu() -> Result<u64, Box<dyn Error>> {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(account.split(' ').next().ok_or("an empty account")?.parse()?)
}
