//! How long a response asks to leave its server alone.

use std::cell::LazyCell;
use std::time::{Duration, SystemTime};

use crate::machine::cooldown::{MAX_COOLDOWN, MIN_COOLDOWN};
use http::HeaderMap;
use http::header::{DATE, GetAll, HeaderValue, RETRY_AFTER};

/// How long the server asked to be left alone, or `None` if it said nothing that can be read.
///
/// Two headers are read:
///
/// - `retry-after-ms`, in milliseconds, as OpenAI and Azure send it; it wins if it can be read.
/// - `retry-after`, in seconds or as an HTTP date ([RFC 9110, section 10.2.3]).
///
/// A number is decimal digits, with an optional fraction (`1.5`, which the RFC lacks) and an
/// optional `-`. Anything else (`+5`, `1e3`, `.5`, `inf`) can't be read.
///
/// A date may have any of the three forms of [RFC 9110, section 5.6.7]; one that doesn't exist, or
/// whose weekday is wrong, can't be read. A two-digit year from 70 on is in the 1900s, others are
/// in the 2000s. A date counts from the response's own `date` header, so that a wrong local clock
/// does no harm. `wall_clock` is called only if there is a date to measure and that header can't be
/// read.
///
/// Of several lines of one header, the longest that can be read counts. The result is between
/// [`MIN_COOLDOWN`] (also for zero, negative numbers and past dates) and [`MAX_COOLDOWN`].
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_failover::retry_after;
///
/// let mut headers = http::HeaderMap::new();
/// assert_eq!(retry_after(&headers, SystemTime::now), None);
///
/// headers.insert("retry-after", "2".parse()?);
/// assert_eq!(retry_after(&headers, SystemTime::now), Some(Duration::from_secs(2)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
///
/// [RFC 9110, section 10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
/// [RFC 9110, section 5.6.7]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
pub fn retry_after(headers: &HeaderMap, wall_clock: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let now = LazyCell::new(|| {
        let server_clock = headers.get(DATE).and_then(text).and_then(date);
        server_clock.unwrap_or_else(wall_clock)
    });
    let until = |date: SystemTime| date.duration_since(*now).unwrap_or_default();

    longest(headers.get_all("retry-after-ms"), |text| duration(text, 1000.0))
        .or_else(|| longest(headers.get_all(RETRY_AFTER), |text| duration(text, 1.0).or_else(|| date(text).map(until))))
        .map(|asked| asked.clamp(MIN_COOLDOWN, MAX_COOLDOWN))
}

fn longest(lines: GetAll<'_, HeaderValue>, read: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    lines.iter().filter_map(text).filter_map(read).max()
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Reads a number of units, of which `per_second` make a second: zero if negative, and
/// [`Duration::MAX`] if too large.
fn duration(text: &str, per_second: f64) -> Option<Duration> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let seconds = text.parse::<f64>().ok()? / per_second;
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &[u8])| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_bytes(value).expect("a header value"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn now() -> SystemTime {
        date(NOW).expect("a date")
    }

    /// The result for these lines at `NOW`, in milliseconds.
    fn millis(lines: &[(&'static str, &str)]) -> Option<u128> {
        let lines: Vec<_> = lines.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        retry_after(&headers(&lines), now).map(|asked| asked.as_millis())
    }

    const MIN: Option<u128> = Some(100);
    const MAX: Option<u128> = Some(3_600_000);

    #[test]
    fn reads_seconds() {
        let thousand_digits = "9".repeat(1000);
        let tiny = format!("0.{}1", "0".repeat(1000));
        let cases = [
            ("1", Some(1000)),
            ("007", Some(7000)),
            ("1.5", Some(1500)),
            ("0.101", Some(101)),
            (" \t2 ", Some(2000)),
            ("3599.999", Some(3_599_999)),
            ("3600", MAX),
            ("3601", MAX),
            ("18446744073709551616", MAX),
            (&thousand_digits, MAX),
            ("0.1", MIN),
            ("0.099", MIN),
            ("0", MIN),
            ("-0", MIN),
            ("-5", MIN),
            ("-1.5", MIN),
            (&tiny, MIN),
        ];
        for (value, expected) in cases {
            assert_eq!(millis(&[("retry-after", value)]), expected, "{value}");
        }
        let negative = format!("-{thousand_digits}");
        assert_eq!(millis(&[("retry-after", &negative)]), MIN);
    }

    #[test]
    fn reads_milliseconds() {
        let huge = "9".repeat(1000);
        let cases = [
            ("1500", Some(1500)),
            ("250.75", Some(250)),
            (" 101\t", Some(101)),
            ("3600001", MAX),
            (&huge, MAX),
            ("99.9", MIN),
            ("0", MIN),
            ("-1", MIN),
        ];
        for (value, expected) in cases {
            assert_eq!(millis(&[("retry-after-ms", value)]), expected, "{value}");
        }
        let fraction = headers(&[("retry-after-ms", b"250.75")]);
        let expected = Some(Duration::from_micros(250_750));
        assert_eq!(retry_after(&fraction, now), expected);
    }

    #[test]
    fn ignores_what_it_cannot_read() {
        let garbage = [
            "", " ", "-", ".", "-.", "+5", "--5", "- 5", ".5", "5.", "1.-5", "1.5.0", "0x10", "1e3", "1e300", "1_000",
            "1,000", "5, 10", "5s", "5 5", "NaN", "nan", "inf", "-inf", "infinity", "soon", "\"5\"", "1/2",
        ];
        for value in garbage {
            assert_eq!(millis(&[("retry-after", value)]), None, "{value}");
            assert_eq!(millis(&[("retry-after-ms", value)]), None, "{value}");
        }
        for value in [&b"\xff"[..], b"5\xff", "５".as_bytes(), "5\u{a0}".as_bytes()] {
            let both = headers(&[("retry-after", value), ("retry-after-ms", value)]);
            assert_eq!(retry_after(&both, now), None, "{value:?}");
        }
        assert_eq!(millis(&[]), None);
        assert_eq!(millis(&[("date", NOW)]), None);
    }

    #[test]
    fn milliseconds_win_if_they_can_be_read() {
        let cases = [
            ("500", "7", Some(500)),
            ("9000", "7", Some(9000)),
            ("-1", "7", MIN),
            ("", "7", Some(7000)),
            ("soon", "7", Some(7000)),
            ("1e3", "7", Some(7000)),
            (NOW, "7", Some(7000)),
            ("500", "soon", Some(500)),
            ("soon", "soon", None),
        ];
        for (ms, seconds, expected) in cases {
            let lines = [("retry-after", seconds), ("retry-after-ms", ms)];
            assert_eq!(millis(&lines), expected, "{ms} {seconds}");
        }
    }

    #[test]
    fn longest_readable_line_wins() {
        let lines = ["1", "soon", "3", "Sun, 06 Nov 1994 08:49:39 GMT", "-9"];
        assert_eq!(millis(&lines.map(|v| ("retry-after", v))), Some(3000));
        let lines = ["200", "300", "", "250"];
        assert_eq!(millis(&lines.map(|v| ("retry-after-ms", v))), Some(300));
    }

    #[test]
    fn reads_dates() {
        let cases = [
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(20_000)),
            ("Sunday, 06-Nov-94 08:49:57 GMT", Some(20_000)),
            ("Sun Nov  6 08:49:57 1994", Some(20_000)),
            (" Sun, 06 Nov 1994 08:49:57 GMT\t", Some(20_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", MIN),
            ("Sun, 06 Nov 1994 08:49:36 GMT", MIN),
            ("Thu, 01 Jan 1970 00:00:00 GMT", MIN),
            ("Sun, 06 Nov 1994 10:49:38 GMT", MAX),
            ("Fri, 31 Dec 9999 23:59:59 GMT", MAX),
            // Two-digit years: 1970 and 2069.
            ("Thursday, 01-Jan-70 00:00:00 GMT", MIN),
            ("Tuesday, 31-Dec-69 23:59:59 GMT", MAX),
            // The wrong weekday, days, times, years and zones that don't exist, another case.
            ("Mon, 06 Nov 1994 08:49:57 GMT", None),
            ("Monday, 06-Nov-94 08:49:57 GMT", None),
            ("Thu, 30 Feb 1995 08:49:57 GMT", None),
            ("Sun, 00 Nov 1994 08:49:57 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:60 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Sat, 01 Jan 0000 00:00:00 GMT", None),
            ("Sat, 01 Jan 10000 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:57 PST", None),
            ("Sun, 06 Nov 1994 08:49:57 +0000", None),
            ("Sun, 6 Nov 1994 08:49:57 GMT", None),
            ("sun, 06 nov 1994 08:49:57 gmt", None),
            ("1994-11-06T08:49:57Z", None),
        ];
        for (value, expected) in cases {
            assert_eq!(millis(&[("retry-after", value)]), expected, "{value}");
        }
    }

    #[test]
    fn dates_count_from_the_servers_clock_if_it_can_be_read() {
        let date = ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT");
        let cases = [
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:58 GMT", MIN),
            ("Mon, 06 Nov 1994 08:49:47 GMT", Some(20_000)),
            ("", Some(20_000)),
        ];
        for (server_clock, expected) in cases {
            assert_eq!(millis(&[("date", server_clock), date]), expected);
        }
    }

    #[test]
    fn wall_clock_is_read_only_when_needed() {
        let later = ("retry-after", &b"Sun, 06 Nov 1994 08:49:57 GMT"[..]);
        let server_clock = ("date", NOW.as_bytes());
        let cases: [(&[_], bool); 7] = [
            (&[], false),
            (&[server_clock], false),
            (&[("retry-after", b"5")], false),
            (&[("retry-after", b"soon")], false),
            (&[("retry-after-ms", b"5"), later], false),
            (&[server_clock, later], false),
            (&[later, later], true),
        ];
        for (lines, expected) in cases {
            let called = Cell::new(false);
            let _ = retry_after(&headers(lines), || {
                called.set(true);
                now()
            });
            assert_eq!(called.get(), expected, "{lines:?}");
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let dates = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (Jan|Feb|Nov|Dec) [0-9]{4} \
                     [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT";
        let rfc850 = "(Monday|Wednesday|Sunday), [0-9]{2}-(Jan|Feb|Dec)-[0-9]{2} \
                      [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT";
        let asctime = "(Mon|Thu|Sun) (Jan|Feb|Dec) [ 0-3][0-9] [0-2][0-9]:[0-6][0-9]:59 [0-9]{4}";
        prop_oneof![
            vec(any::<u8>(), 0..40),
            vec(select(&b"0123456789.-+eE_ \tGMT:,\xff"[..]), 0..30),
            dates.prop_map(String::into_bytes),
            rfc850.prop_map(String::into_bytes),
            asctime.prop_map(String::into_bytes),
            "-?[0-9]{1,400}(\\.[0-9]{1,20})?".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_all_results_are_in_range(
            lines in vec((select(&["retry-after", "retry-after-ms", "date"][..]), value()), 0..5),
            clock in 0..u64::from(u32::MAX) * 100,
            before_epoch in any::<bool>(),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &lines {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(*name, value);
                }
            }
            let clock = Duration::from_secs(clock);
            let epoch = SystemTime::UNIX_EPOCH;
            let now = if before_epoch { epoch - clock } else { epoch + clock };
            if let Some(asked) = retry_after(&headers, || now) {
                prop_assert!((MIN_COOLDOWN..=MAX_COOLDOWN).contains(&asked));
            }
        }

        #[test]
        fn whole_milliseconds_are_exact(ms in 0..5_000_000_u64) {
            let expected = Duration::from_millis(ms).clamp(MIN_COOLDOWN, MAX_COOLDOWN);
            let seconds = format!("{}.{:03}", ms / 1000, ms % 1000);
            for (name, text) in [("retry-after-ms", ms.to_string()), ("retry-after", seconds)] {
                let headers = headers(&[(name, text.as_bytes())]);
                prop_assert_eq!(retry_after(&headers, now), Some(expected));
            }
        }
    }
}
