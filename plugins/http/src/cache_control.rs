use std::time::Duration;

use portcullis_plugin::http::{HeaderMap, header};

/// Returns the time for which an answer may be kept (RFC 9111 section 5.2.2), less the time that it has spent in caches
/// before us; `None` where it does not say.
pub fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let mut seconds = None;
    for directive in directives {
        match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => return Some(Duration::ZERO),
            Some(("max-age", value)) => seconds = value.trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok()).unwrap_or(0);
    seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_says_how_long_its_keys_may_be_kept() {
        let of = |lines: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
            }
            max_age(&headers).map(|span| span.as_secs())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("cache-control", "public, max-age=300, must-revalidate")]), Some(300));
        assert_eq!(of(&[("cache-control", "public"), ("cache-control", "Max-Age=\"300\"")]), Some(300));
        assert_eq!(of(&[("cache-control", "max-age=300"), ("age", "100")]), Some(200));
        assert_eq!(of(&[("cache-control", "max-age=300"), ("age", "1000")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=300, no-cache")]), Some(0));
        assert_eq!(of(&[("cache-control", "no-store")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=soon")]), None);
        assert_eq!(of(&[("cache-control", "max-age=-1")]), None);
        assert_eq!(of(&[("cache-control", "s-maxage=300")]), None);
        assert_eq!(of(&[("cache-control", "max-age=18446744073709551615")]), Some(u64::MAX));
    }
}
