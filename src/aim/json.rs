//! Sets top-level fields of a JSON object and leaves all other bytes as they are.

use std::fmt;
use std::ops::Range;

use serde_core::de::{Deserializer as _, Error as _, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

/// One field to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// The name, unescaped.
    pub name: &'a str,
    /// The value as JSON text, written as it stands: the caller vouches that it is valid.
    pub value: &'a str,
    /// Whether a body without this field is an error; otherwise the field is added.
    pub required: bool,
}

/// Why the fields could not be set.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// The body is not exactly one JSON object.
    ///
    /// The reason has the line and column, and quotes no string of the body.
    NotAnObject(serde_json::Error),
    /// The body lacks a required field.
    MissingField {
        /// The name of the field.
        name: String,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject(reason) => write!(f, "body is not one JSON object: {reason}"),
            Self::MissingField { name } => write!(f, "body has no field {name:?}"),
        }
    }
}

impl std::error::Error for JsonError {}

/// Sets top-level `fields` of the JSON object in `body`; `None` if they are so already.
///
/// The value of an existing field is replaced in place, at each occurrence if there are several.
/// Names are compared unescaped (`"mod\u0065l"` is `model`), and nested fields are never touched.
/// Missing fields go directly after the last value, in the order of `fields`. Of two `fields` with
/// one name, the first counts.
///
/// All other bytes stay: whitespace, order, repeated fields, numbers of any size and precision, and
/// strings or names with lone surrogates (`"\ud800"`). Nesting may be of any depth.
///
/// # Errors
///
/// [`JsonError::NotAnObject`] if `body` is anything but one valid JSON object in UTF-8 with
/// optional whitespace around it (so no byte order mark), else [`JsonError::MissingField`] for the
/// first of the `fields` that is required and missing.
pub(crate) fn set_fields(body: &[u8], fields: &[Field<'_>]) -> Result<Option<Vec<u8>>, JsonError> {
    let found = find(body, fields).map_err(JsonError::NotAnObject)?;
    let added = additions(fields, &found)?;

    let unchanged = |(range, field): &(Range<usize>, &Field<'_>)| body[range.clone()] == *field.value.as_bytes();
    if added.is_empty() && found.values.iter().all(unchanged) {
        return Ok(None);
    }

    let mut out = Vec::with_capacity(body.len() + added.len());
    let mut copied = 0;
    for (range, field) in &found.values {
        out.extend_from_slice(&body[copied..range.start]);
        out.extend_from_slice(field.value.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(&body[copied..found.end]);
    out.extend_from_slice(added.as_bytes());
    out.extend_from_slice(&body[found.end..]);
    Ok(Some(out))
}

/// What a body holds of the wanted fields.
struct Found<'f> {
    /// Where the values are, in the order of the body.
    values: Vec<(Range<usize>, &'f Field<'f>)>,
    /// The end of the last value of any field, or of the opening brace if there is none.
    end: usize,
    empty: bool,
}

fn find<'f>(body: &[u8], fields: &'f [Field<'f>]) -> serde_json::Result<Found<'f>> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let found = deserializer.deserialize_any(FindFields { body, fields })?;
    deserializer.end()?;
    Ok(found)
}

/// The text to insert at `found.end`, with its leading comma if one is needed.
fn additions(fields: &[Field<'_>], found: &Found<'_>) -> Result<String, JsonError> {
    let mut text = String::new();
    for (index, field) in fields.iter().enumerate() {
        let same = |other: &Field<'_>| other.name == field.name;
        if fields[..index].iter().any(same) || found.values.iter().any(|(_, f)| same(f)) {
            continue;
        }
        if field.required {
            return Err(JsonError::MissingField { name: field.name.to_owned() });
        }
        if !(found.empty && text.is_empty()) {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(field.name).to_string());
        text.push(':');
        text.push_str(field.value);
    }
    Ok(text)
}

struct FindFields<'b, 'f> {
    body: &'b [u8],
    fields: &'f [Field<'f>],
}

impl<'de, 'f> Visitor<'de> for FindFields<'_, 'f> {
    type Value = Found<'f>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    // The default would quote the whole string, which may be a prompt, in the error.
    fn visit_str<E: serde_core::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::invalid_type(Unexpected::Other("string"), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let brace = self.body.iter().position(|&byte| byte == b'{');
        let mut found = Found {
            values: Vec::new(),
            end: brace.ok_or_else(|| A::Error::invalid_type(Unexpected::Map, &self))? + 1,
            empty: true,
        };
        while let Some(key) = map.next_key::<&'de RawValue>()? {
            let value = map.next_value::<&'de RawValue>()?.get();
            // A borrowed raw value is a part of `body`, so this is its offset.
            let start = value.as_ptr().addr() - self.body.as_ptr().addr();
            found.end = start + value.len();
            found.empty = false;

            // A name that is no Unicode text (a lone surrogate) is none of ours.
            let name = serde_json::from_str::<String>(key.get()).ok();
            let field = self.fields.iter().find(|f| name.as_deref() == Some(f.name));
            found.values.extend(field.map(|field| (start..found.end, field)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    fn model(value: &str) -> Field<'_> {
        Field { name: "model", value, required: true }
    }

    fn optional<'a>(name: &'a str, value: &'a str) -> Field<'a> {
        Field { name, value, required: false }
    }

    fn set(body: &str, fields: &[Field<'_>]) -> Option<String> {
        let out = set_fields(body.as_bytes(), fields).expect("an object with its required fields");
        out.map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn replaces_values_in_place() {
        let cases = [
            (r#"{"model":"x"}"#, r#"{"model":"y"}"#),
            (" \r\n{\t\"model\" :  [1, {}] ,\"n\":1e400} \n", " \r\n{\t\"model\" :  \"y\" ,\"n\":1e400} \n"),
            (r#"{"mod\u0065l":1}"#, r#"{"mod\u0065l":"y"}"#),
            (r#"{"model":-1.50,"a":1,"a":2,"model":null}"#, r#"{"model":"y","a":1,"a":2,"model":"y"}"#),
            (
                r#"{"a":{"model":1},"model":{"model":1},"b":[{"model":1}]}"#,
                r#"{"a":{"model":1},"model":"y","b":[{"model":1}]}"#,
            ),
            (
                r#"{"\ud800":"\udfff","MODEL":"{\"model\":1}","model":"\ud800","é":1.0}"#,
                r#"{"\ud800":"\udfff","MODEL":"{\"model\":1}","model":"y","é":1.0}"#,
            ),
        ];
        for (body, expected) in cases {
            let fields = [model("\"y\"")];
            assert_eq!(set(body, &fields).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn adds_missing_optional_fields_after_the_last_value() {
        let cases = [
            ("{}", r#"{"a\"\n":1,"b":[]}"#),
            (" { \n} ", " {\"a\\\"\\n\":1,\"b\":[] \n} "),
            ("{\"c\": 1 \n}", "{\"c\": 1,\"a\\\"\\n\":1,\"b\":[] \n}"),
            ("{\"b\":2 }", "{\"b\":[],\"a\\\"\\n\":1 }"),
            ("{\"b\":2,\"c\":{} }", "{\"b\":[],\"c\":{},\"a\\\"\\n\":1 }"),
        ];
        for (body, expected) in cases {
            let fields = [optional("a\"\n", "1"), optional("b", "[]")];
            assert_eq!(set(body, &fields).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn first_of_two_fields_with_one_name_counts() {
        let fields = [optional("a", "1"), optional("a", "2")];
        assert_eq!(set("{}", &fields).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(set(r#"{"a":0}"#, &fields).as_deref(), Some(r#"{"a":1}"#));
    }

    #[test]
    fn tells_when_nothing_changes() {
        let body = r#" {"model" : "y", "n":{"model":1}, "model":"y"} "#;
        assert_eq!(set(body, &[model("\"y\"")]), None);
        assert_eq!(set("{}", &[]), None);
        let spelled_otherwise = r#"{"model":"\u0079"}"#;
        assert!(set(spelled_otherwise, &[model("\"y\"")]).is_some());
        let one_differs = r#"{"model":"y","model":"x"}"#;
        assert!(set(one_differs, &[model("\"y\"")]).is_some());
    }

    #[test]
    fn names_the_first_required_field_that_is_missing() {
        let fields = [optional("a", "1"), model("1")];
        let error = set_fields(br#"{"b":{"model":1}}"#, &fields).unwrap_err();
        assert!(matches!(&error, JsonError::MissingField { name } if name == "model"));
        assert_eq!(error.to_string(), "body has no field \"model\"");
    }

    #[test]
    fn rejects_what_is_not_one_object() {
        let cases: [(&[u8], &str); 20] = [
            (b"", "EOF while parsing a value at line 1 column 0"),
            (b" \n", "EOF while parsing a value at line 2 column 0"),
            (b"[{\"model\":1}]", "invalid type: sequence"),
            (b"\"secret {\"", "invalid type: string, expected an object"),
            (b"\"secret\\u0020\"", "invalid type: string, expected"),
            (b"null", "invalid type: null"),
            (b"17", "expected an"),
            (b"true", "invalid type: boolean"),
            (b"{", "EOF while parsing an object at line 1 column 1"),
            (b"{\"model\":1", "EOF while parsing an object"),
            (b"{\"model\"", "EOF while parsing an object"),
            (b"{\"model\":1,}", "trailing comma at line 1 column 12"),
            (b"{\"model\":1 \"a\":1}", "expected `,` or `}`"),
            (b"{model:1}", "key must be a string"),
            (b"{\"model\":01}", "invalid number"),
            (b"{\"model\":1}\n{}", "trailing characters at line 2"),
            (b"{\"model\":1}\0", "trailing characters"),
            (b"{\"model\":\"\xff\"}", "invalid unicode code point"),
            (b"{\"model\":1,\"\xff\":1}", "invalid unicode code point"),
            (b"\xef\xbb\xbf{\"model\":1}", "expected value at line 1"),
        ];
        for (body, expected) in cases {
            let shown = body.escape_ascii();
            let error = set_fields(body, &[model("2")]).expect_err(&shown.to_string());
            assert!(matches!(error, JsonError::NotAnObject(_)), "{shown}");
            let text = error.to_string();
            assert!(text.contains(expected), "{shown}: {text}");
            assert!(text.contains(" at line "), "{shown}: {text}");
            assert!(!text.contains("secret"), "{shown}: {text}");
        }
    }

    #[test]
    fn nesting_of_any_depth_does_not_overflow_the_stack() {
        const DEPTH: usize = 1_000_000;
        let (open, close) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
        let closed = format!(r#"{{"a":{open}{close},"model":1}}"#);
        let expected = format!(r#"{{"a":{open}{close},"model":2}}"#);
        assert!(set(&closed, &[model("2")]) == Some(expected));

        let objects = r#"{"model":"#.repeat(DEPTH);
        for body in [open.clone(), format!(r#"{{"model":{open}"#), objects] {
            let result = set_fields(body.as_bytes(), &[model("2")]);
            assert!(matches!(result, Err(JsonError::NotAnObject(_))));
        }
    }

    const NAMES: [&str; 6] = ["model", "stream", "a\"b\\", "é\u{1f600}", "", "nul\0"];

    const ODD_VALUES: [&str; 7] = ["null", "1e400", "1.0", "-0", "\"\\ud800\"", "[]", "{ }"];

    fn gap() -> impl Strategy<Value = String> {
        "[ \t\r\n]{0,2}"
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![select(&NAMES[..]).prop_map(String::from), any::<String>()]
    }

    /// JSON text of a string, plain or with every UTF-16 unit escaped.
    fn string(text: &str, escaped: bool) -> String {
        if escaped {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            format!("\"{}\"", units.collect::<String>())
        } else {
            serde_json::Value::from(text).to_string()
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            select(&ODD_VALUES[..]).prop_map(String::from),
            any::<i64>().prop_map(|number| number.to_string()),
            (any::<String>(), any::<bool>()).prop_map(|(text, escaped)| string(&text, escaped)),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let item = (gap(), inner, gap()).prop_map(|(a, value, b)| a + &value + &b).boxed();
            let member = (gap(), name(), gap(), item.clone())
                .prop_map(|(a, name, b, item)| a + &string(&name, false) + &b + ":" + &item);
            prop_oneof![
                vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    #[derive(Clone, Debug)]
    struct Member {
        name: String,
        escaped: bool,
        value: String,
        gaps: [String; 4],
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let gaps = [gap(), gap(), gap(), gap()];
        let member = (name(), any::<bool>(), value(), gaps).prop_map(|(name, escaped, value, gaps)| Member {
            name,
            escaped,
            value,
            gaps,
        });
        vec(member, 0..6)
    }

    /// The object of `members` with `fields` set, put together without parsing anything.
    fn render(members: &[Member], fields: &[Field<'_>]) -> String {
        let mut text = String::from("{");
        let mut space = " ";
        for (index, member) in members.iter().enumerate() {
            let field = fields.iter().find(|field| field.name == member.name);
            let [a, b, c, d] = &member.gaps;
            if index > 0 {
                text = text + space + ",";
            }
            text = text + a + &string(&member.name, member.escaped) + b + ":" + c;
            text += field.map_or(member.value.as_str(), |field| field.value);
            space = d;
        }
        let mut comma = if members.is_empty() { "" } else { "," };
        for field in fields {
            if !members.iter().any(|member| member.name == field.name) {
                text = text + comma + &string(field.name, false) + ":" + field.value;
                comma = ",";
            }
        }
        text + space + "}"
    }

    fn parse(text: &str) -> BTreeMap<String, Box<RawValue>> {
        serde_json::from_str(text).expect("an object")
    }

    fn texts(map: &BTreeMap<String, Box<RawValue>>) -> Vec<(&str, &str)> {
        map.iter().map(|(k, v)| (k.as_str(), v.get())).collect()
    }

    proptest! {
        #[test]
        fn sets_the_fields_and_nothing_else(
            members in members(),
            names in subsequence(&NAMES[..], 0..=NAMES.len()),
            values in vec(value(), NAMES.len()),
        ) {
            let pairs = names.iter().zip(&values);
            let fields: Vec<_> = pairs.map(|(name, value)| optional(name, value)).collect();
            let body = render(&members, &[]);
            let expected = render(&members, &fields);

            let result = set(&body, &fields);
            prop_assert_eq!(result.is_none(), body == expected);
            let result = result.unwrap_or_else(|| body.clone());
            prop_assert_eq!(&result, &expected);

            let mut by_parsing = parse(&body);
            for field in &fields {
                let value = RawValue::from_string(field.value.to_owned()).expect("valid");
                by_parsing.insert(field.name.to_owned(), value);
            }
            let parsed = parse(&result);
            prop_assert_eq!(texts(&parsed), texts(&by_parsing));
            prop_assert_eq!(set(&result, &fields), None);

            for end in 0..body.len() {
                let error = set_fields(&body.as_bytes()[..end], &fields);
                prop_assert!(matches!(error, Err(JsonError::NotAnObject(_))));
            }
        }

        #[test]
        fn no_bytes_panic(
            noise in vec(any::<u8>(), 0..64),
            near in vec(select(&b"{}[]\":,\\u01e-. \ntrue\xc3\xa9"[..]), 0..32),
            members in members(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut flipped = render(&members, &[]).into_bytes();
            let at = at.index(flipped.len());
            flipped[at] = byte;
            for body in [&noise, &near, &flipped] {
                let fields = [optional("model", "1"), optional("\"", "{}")];
                if let Ok(Some(out)) = set_fields(body, &fields) {
                    prop_assert!(matches!(set_fields(&out, &fields), Ok(None)));
                }
            }
        }
    }
}
