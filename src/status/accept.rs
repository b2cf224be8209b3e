//! What the request would rather have.

use http::{HeaderMap, header::ACCEPT};

/// Whether a page is wanted: only where `text/html` is named, and nothing of JSON is preferred to it.
///
/// Source: RFC 9110, section 12.5.1.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let quality = |wanted: &str| {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = values.flat_map(|value| value.split(',')).map(|range| {
            let (media, parameters) = range.split_once(';').unwrap_or((range, ""));
            let quality = parameters.split(';').find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().unwrap_or(0.0))
            });
            (media.trim(), quality.unwrap_or(1.0))
        });
        let named = ranges.filter(|(media, _)| media.eq_ignore_ascii_case(wanted));
        named.map(|(_, quality)| quality).fold(0.0, f32::max)
    };
    let page = quality("text/html");
    page > 0.0 && page >= quality("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn wants(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).expect("a value"));
        }
        wants_page(&headers)
    }

    #[test]
    fn a_browser_gets_the_page_and_everybody_else_json() {
        assert!(wants(&["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"]));
        assert!(wants(&["TEXT/HTML"]) && wants(&["application/json;q=0.5, text/html;q=0.7"]));
        assert!(wants(&["application/json;q=0.5", "text/html"]));
        for json in [
            "*/*",
            "",
            "application/json",
            "text/html;q=0",
            "text/html;q=0.5, application/json",
            "text/*",
            ";q=",
            "text/html;q=x",
        ] {
            assert!(!wants(&[json]), "{json}");
        }
        assert!(!wants(&[]));
    }
}
