//! Signatures that are out of range, in another encoding, taken from another token, or changed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::TokenError::{self, BadSignature, Malformed};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use crate::forge::{Forge, Row, assert_all_rejected, claims, with};

const LENGTH: TokenError = Malformed("the signature is not 64 bytes");

/// The order of the group of P-256 (FIPS 186-4 section D.1.2.3). r and s are between zero and it.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const ZERO: [u8; 32] = [0; 32];

/// Returns the parts of a token of the forge: the signing input, r and s.
fn parts(forge: &Forge) -> (String, [u8; 32], [u8; 32]) {
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL.decode(signature).unwrap();
    (input.to_owned(), signature[..32].try_into().unwrap(), signature[32..].try_into().unwrap())
}

/// Returns a − b, for a ≥ b.
fn subtract(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let (mut difference, mut borrow) = (ZERO, 0);
    for place in (0..32).rev() {
        let digit = i16::from(a[place]) - i16::from(b[place]) - borrow;
        borrow = i16::from(digit < 0);
        difference[place] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

fn one() -> [u8; 32] {
    let mut one = ZERO;
    one[31] = 1;
    one
}

#[test]
fn signatures_out_of_range_are_rejected() {
    let forge = Forge::new();
    let (input, r, s) = parts(&forge);
    let beyond = {
        let mut beyond = N;
        beyond[31] += 1;
        beyond
    };
    let table = [
        ("r = s = 0", ZERO, ZERO),
        ("r = 0", ZERO, s),
        ("s = 0", r, ZERO),
        ("r = n", N, s),
        ("s = n", r, N),
        ("r = s = n", N, N),
        ("r > n", beyond, s),
        ("s > n", r, beyond),
        ("r and s at the maximum of 32 bytes", [0xff; 32], [0xff; 32]),
        ("r = s = 1", one(), one()),
        ("r and s swapped", s, r),
        ("r = n - r", subtract(N, r), s),
        ("r = r - 1", subtract(r, one()), s),
        ("s = s - 1", r, subtract(s, one())),
    ];
    assert_all_rejected(
        &forge,
        table.map(|(name, r, s)| {
            let signature = BASE64URL.encode([r, s].concat());
            (name.to_owned(), format!("{input}.{signature}"), BadSignature)
        }),
    );
}

/// ECDSA accepts both (r, s) and (r, n - s), and RFC 7518 does not exclude either. So the token's
/// string does not identify the token, for example in a list of used or revoked tokens. Its `jti`
/// does, and an attacker cannot change it.
#[test]
fn a_token_has_a_second_valid_signature_for_the_same_claims() {
    let forge = Forge::new();
    let (input, r, s) = parts(&forge);
    let token = |s| format!("{input}.{}", BASE64URL.encode([r, s].concat()));
    assert_ne!(token(s), token(subtract(N, s)));
    assert_eq!(forge.verify(&token(s)), forge.verify(&token(subtract(N, s))));
    assert!(forge.verify(&token(subtract(N, s))).is_ok());
}

#[test]
fn signatures_in_other_encodings_are_rejected() {
    let forge = Forge::new();
    let (input, r, s) = parts(&forge);
    // DER (SEC 1 appendix C.5): integers without leading zeros, but with one if the first bit is
    // set.
    let integer = |digits: &[u8]| {
        let significant = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
        let sign: &[u8] = if significant[0] < 0x80 { &[] } else { &[0] };
        [&[0x02, u8::try_from(sign.len() + significant.len()).unwrap()], sign, significant].concat()
    };
    let sequence = |integers: Vec<u8>| [vec![0x30, u8::try_from(integers.len()).unwrap()], integers].concat();
    let fixed = [r, s].concat();
    let reversed: Vec<u8> = fixed.iter().rev().copied().collect();
    let table: Vec<(&str, Vec<u8>, TokenError)> = vec![
        ("DER", sequence([integer(&r), integer(&s)].concat()), LENGTH),
        ("DER, 64 bytes long", sequence([integer(&[1; 28]), integer(&[1; 30])].concat()), BadSignature),
        ("DER of zeros", sequence(vec![2, 1, 0, 2, 1, 0]), LENGTH),
        ("nothing", vec![], LENGTH),
        ("r alone", r.to_vec(), LENGTH),
        ("63 bytes", fixed[..63].to_vec(), LENGTH),
        ("65 bytes, a zero after", [&fixed[..], &[0]].concat(), LENGTH),
        ("65 bytes, a zero before", [&[0], &fixed[..]].concat(), LENGTH),
        ("66 bytes, a zero before each", [&[0], &r[..], &[0], &s].concat(), LENGTH),
        ("as long as ES384's", [&fixed[..], &r].concat(), LENGTH),
        ("as long as RSA's", fixed.repeat(4), LENGTH),
        ("the other byte order", reversed, BadSignature),
        (
            "as hexadecimal text",
            fixed.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            LENGTH,
        ),
    ];
    assert_all_rejected(
        &forge,
        table.into_iter().map(|(name, signature, expected)| {
            (name.to_owned(), format!("{input}.{}", BASE64URL.encode(signature)), expected)
        }),
    );
}

#[test]
fn a_signature_verifies_only_its_own_token() {
    let forge = Forge::new();
    let header = forge.header().to_string();
    let token = forge.sign(&header, &claims().to_string());
    let other = forge.sign(&header, &with(claims(), "sub", json!("admin")));
    let split = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (token, other) = (split(&token), split(&other));
    let spaced = BASE64URL.encode(format!("{header} "));
    let join = |header: &str, payload: &str, signature: &str| format!("{header}.{payload}.{signature}");
    let table: Vec<Row> = vec![
        ("another payload".into(), join(&token[0], &other[1], &token[2]), BadSignature),
        ("another signature".into(), join(&token[0], &token[1], &other[2]), BadSignature),
        ("the same header, spelled differently".into(), join(&spaced, &token[1], &token[2]), BadSignature),
    ];
    assert_all_rejected(&forge, table);
}

/// One change to the bytes of a token.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Move(Index, Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    // Half of the inserted bytes are in the base64url alphabet, so that the change passes decoding.
    let byte = prop_oneof![
        prop::char::ranges(vec!['A'..='Z', 'a'..='z', '0'..='9'].into()),
        prop::char::range('!', '~')
    ]
    .prop_map(|character| u8::try_from(character).unwrap());
    let index = || any::<Index>();
    let change = prop_oneof![
        (index(), 1..128_u8).prop_map(|(at, mask)| Change::Flip(at, mask)),
        (index(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        index().prop_map(Change::Delete),
        (index(), index()).prop_map(|(from, to)| Change::Move(from, to)),
    ];
    prop::collection::vec(change, 1..4)
}

fn change(token: &str, changes: Vec<Change>) -> String {
    let mut bytes = token.as_bytes().to_vec();
    for change in changes {
        match change {
            Change::Flip(at, mask) => {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            Change::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), byte),
            Change::Delete(at) => drop(bytes.remove(at.index(bytes.len()))),
            Change::Move(from, to) => {
                let byte = bytes.remove(from.index(bytes.len()));
                bytes.insert(to.index(bytes.len() + 1), byte);
            }
        }
    }
    // Masks below 128 keep the text ASCII.
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_token_is_rejected(changes in changes()) {
        thread_local!(static FORGE: (Forge, String) = {
            let forge = Forge::new();
            let token = forge.sign(&forge.header().to_string(), &claims().to_string());
            (forge, token)
        });
        FORGE.with(|(forge, token)| {
            let changed = change(token, changes);
            prop_assert_eq!(forge.verify(&changed).is_ok(), changed == *token, "{}", changed);
            Ok(())
        })?;
    }
}
