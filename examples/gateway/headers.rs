//! The headers of one connection, which are not passed on.

use http::{HeaderMap, HeaderName, header};

/// Source: RFC 9110, section 7.6.1; the names beside `connection` are those of RFC 2616, section 13.5.1.
const OF_ONE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
];

/// Removes those of a request or a response, those that its `connection` names among them.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let values: Vec<_> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    let named = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for name in named.filter_map(|name| name.trim().parse::<HeaderName>().ok()) {
        headers.remove(name);
    }
    for name in &OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn those_that_connection_names_too() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("connection", "x-other,,?"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("te", "3"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.insert("x-third", HeaderValue::from_static("4"));
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-third"]);
    }
}
