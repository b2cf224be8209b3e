//! How values are read: durations as people write them, and tables that are checked where they stand.

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, marker::PhantomData, time::Duration};

/// What a table of a file stands for. What is wrong with it is an error at the table's own place.
pub(super) trait FromTable: Sized {
    /// The table as it is written.
    type Table: DeserializeOwned;
    /// What stands here.
    const EXPECTED: &'static str;

    fn from_table(table: Self::Table) -> Result<Self, String>;

    /// Of a word in place of the table. No error repeats it: it may be a secret.
    fn from_word(word: &str) -> Result<Self, String> {
        let _ = word;
        Err(format!("expected {}", Self::EXPECTED))
    }
}

pub(super) fn from_table<'de, T: FromTable, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(TableVisitor(PhantomData))
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: FromTable> Visitor<'de> for TableVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<T, E> {
        T::from_word(word).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let table = T::Table::deserialize(MapAccessDeserializer::new(map))?;
        T::from_table(table).map_err(de::Error::custom)
    }
}

/// For `deserialize_with`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| written.0))
}

/// A duration as people write it.
struct Written(Duration);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl Visitor<'_> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as \"30s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
        parse_duration(text).map(Written).map_err(E::custom)
    }
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &dyn fmt::Display| format!("`{text}` is no duration: {why}");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong(&"it is empty; expected one such as \"30s\""));
    }
    if rest.starts_with('-') {
        return Err(wrong(&"it must not be negative"));
    }
    let mut total = Duration::ZERO;
    // One number with its unit at a time: of several humantime reads `1 0s` as ten seconds, and panics at some sums
    // that overflow.
    while !rest.is_empty() {
        let number = rest.find(char::is_alphabetic).unwrap_or(rest.len());
        let unit = rest[number..].find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len() - number);
        let (span, more) = rest.split_at(number + unit);
        let digits = span[..number].trim_end();
        if unit == 0 || digits.contains(char::is_whitespace) {
            let digits = digits.split_whitespace().next().unwrap_or_default();
            return Err(wrong(&format_args!("the unit is missing, as in \"{digits}s\"")));
        }
        if &span[number..] == "M" {
            return Err(wrong(&"`M` would be months; minutes are `m` or `min`"));
        }
        let span = humantime::parse_duration(span).map_err(|error| wrong(&error))?;
        total = total.checked_add(span).ok_or_else(|| wrong(&"it is too long"))?;
        rest = more.trim_start();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        let rows = [
            ("30s", Duration::from_secs(30)),
            (" 30 s ", Duration::from_secs(30)),
            ("30sec", Duration::from_secs(30)),
            ("250ms", Duration::from_millis(250)),
            ("10us", Duration::from_micros(10)),
            ("10µs", Duration::from_micros(10)),
            ("1ns", Duration::from_nanos(1)),
            ("1.5s", Duration::from_millis(1_500)),
            ("0.5h", Duration::from_secs(1_800)),
            ("5m", Duration::from_secs(300)),
            ("5min", Duration::from_secs(300)),
            ("1m30s", Duration::from_secs(90)),
            ("1m 30s", Duration::from_secs(90)),
            ("2 hours 1 minute", Duration::from_secs(7_260)),
            ("1d", Duration::from_secs(86_400)),
            ("1week", Duration::from_secs(7 * 86_400)),
            ("0s", Duration::ZERO),
            ("18446744073709551615s 999999999ns", Duration::MAX),
        ];
        for (text, duration) in rows {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        let rows = [
            ("", "it is empty; expected one such as \"30s\""),
            ("  ", "it is empty; expected one such as \"30s\""),
            ("0", "the unit is missing, as in \"0s\""),
            ("30", "the unit is missing, as in \"30s\""),
            ("1.5", "the unit is missing, as in \"1.5s\""),
            ("1m 30", "the unit is missing, as in \"30s\""),
            ("1 30s", "the unit is missing, as in \"1s\""),
            ("-5s", "it must not be negative"),
            ("1m -5s", "expected number at 0"),
            ("5M", "`M` would be months; minutes are `m` or `min`"),
            ("soon", "expected number at 0"),
            ("1,5s", "invalid character at 1"),
            ("18446744073709551615s 1000000000ns", "it is too long"),
            ("18446744073709551615s 1s", "it is too long"),
        ];
        for (text, why) in rows {
            assert_eq!(parse_duration(text), Err(format!("`{text}` is no duration: {why}")));
        }
        let unknown = parse_duration("5 parsecs").unwrap_err();
        assert!(
            unknown.starts_with("`5 parsecs` is no duration: unknown time unit \"parsecs\", supported"),
            "{unknown}"
        );
        for text in ["18446744073709551616s", "1000000000000y", "0.5ns"] {
            assert!(parse_duration(text).unwrap_err().contains("too large"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_panics(text in "[0-9. smhdwnuyM-]{0,30}|[0-9]{17,20}s[0-9]{8,19}ns|\\PC{0,12}") {
            // Where it is a duration, it is the one that the library reads.
            if let Ok(duration) = parse_duration(&text) {
                prop_assert_eq!(humantime::parse_duration(text.trim()), Ok(duration));
            }
        }

        #[test]
        fn what_the_library_writes_is_read(seconds in any::<u64>(), nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&humantime::format_duration(duration).to_string()), Ok(duration));
        }
    }
}
