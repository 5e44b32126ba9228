//! Reads a record from JSON, with errors that name the place and the expected type but never the value, which may be a
//! secret in the wrong place.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

/// The place in a JSON document that does not fit the record, with the reason.
#[derive(Debug)]
pub(super) struct TypedJsonError {
    path: Option<String>,
    mismatch: Mismatch,
}

impl fmt::Display for TypedJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path} ")?;
        }
        write!(f, "{}", self.mismatch)
    }
}

/// Reads a record.
pub(super) fn from_object<R: DeserializeOwned>(members: &Map<String, Value>) -> Result<R, TypedJsonError> {
    let json = Json(Value::Object(members.clone()));
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = Some(error.path().to_string()).filter(|path| path != ".");
        TypedJsonError { path, mismatch: error.into_inner() }
    })
}

/// The reason why a value does not fit. It never contains the value.
#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error("is not {0}")]
    Expected(String),
    #[error("missing field `{0}`")]
    MissingField(&'static str),
    #[error("cannot be read")]
    Other,
}

impl Error for Mismatch {
    // The text may contain the value.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Expected(format!("one of `{}`", expected.join("`, `")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Expected(format!("one of `{}`", expected.join("`, `")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingField(field)
    }
}

/// A JSON value to deserialize from. `serde_json` does the same, but its errors contain the value.
struct Json(Value);

impl IntoDeserializer<'_, Mismatch> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Json {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().ok_or(Mismatch::Other)?),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Self));
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (name, Self(value)));
                let mut members = MapDeserializer::new(members);
                let value = visitor.visit_map(&mut members)?;
                members.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    /// The records have enums without data only.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            _ => Err(Mismatch::Expected("text".into())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        One,
        Two,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Number(i64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        text: String,
        number: Number,
        fraction: f64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        flag: bool,
        kinds: Vec<Kind>,
        inner: Vec<Inner>,
        absent: Option<u64>,
        present: Option<u64>,
    }

    fn outer() -> Value {
        json!({
            "flag": true, "kinds": ["One", "Two"], "absent": null, "present": u64::MAX, "surprise": [1],
            "inner": [{ "text": "t", "number": -1, "fraction": 0.5 }],
        })
    }

    fn read(value: &Value) -> Result<Outer, String> {
        from_object(value.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_is_read_as_serde_json_reads_it() {
        assert_eq!(read(&outer()).unwrap(), serde_json::from_value::<Outer>(outer()).unwrap());
    }

    #[test]
    fn an_error_names_the_place_and_the_type_but_not_the_value() {
        for (pointer, value, said) in [
            ("/flag", json!("s3cret"), "flag is not a boolean"),
            ("/kinds", json!({ "s3cret": 1 }), "kinds is not a sequence"),
            ("/kinds/1", json!("s3cret"), "kinds[1] is not one of `One`, `Two`"),
            ("/kinds/1", json!({ "s3cret": 1 }), "kinds[1] is not text"),
            ("/inner/0", json!("s3cret"), "inner[0] is not struct Inner"),
            ("/inner/0", json!({ "s3cret": 1 }), "inner[0] missing field `text`"),
            ("/inner/0/number", json!("s3cret"), "inner[0].number is not i64"),
            ("/present", json!(["s3cret"]), "present is not u64"),
        ] {
            let mut spoilt = outer();
            *spoilt.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read(&spoilt).unwrap_err(), said);
        }
        assert_eq!(read(&json!({ "s3cret": 1 })).unwrap_err(), "missing field `flag`");
    }
}
