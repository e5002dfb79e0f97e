//! Sample requests made from a pattern, to find out how another router would match them.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{
    host::HostPattern,
    path::{PathPattern, Segment},
    pattern::Pattern,
};

/// A placeholder for everything that a pattern leaves open: no other pattern names it.
const ANY: &str = "portcullis-sample";

/// One request that a pattern matches.
pub(crate) struct Sample {
    /// The host as [`host_key`](super::host_key) returns it; empty: none.
    pub host: String,
    /// The path as [`canonical`](crate::canonical::canonical) returns it.
    pub path: String,
    /// The method.
    pub method: Method,
    /// The headers that the pattern requires.
    pub headers: HeaderMap,
}

impl Pattern {
    /// Returns a request for each host, path and method of the pattern.
    pub(crate) fn samples(&self) -> impl Iterator<Item = Sample> {
        let hosts = self.hosts.iter().map(HostPattern::sample);
        let hosts = hosts.chain(self.hosts.is_empty().then(String::new));
        let places = hosts.flat_map(move |host| self.paths.iter().map(move |path| (host.clone(), path.sample())));
        places.flat_map(move |(host, path)| self.methods.iter().map(move |method| self.sample(&host, &path, method)))
    }

    fn sample(&self, host: &str, path: &str, method: &Method) -> Sample {
        Sample { host: host.to_owned(), path: path.to_owned(), method: method.clone(), headers: self.headers() }
    }

    fn headers(&self) -> HeaderMap {
        let lines = self.headers.iter().filter_map(|condition| {
            let value = HeaderValue::from_str(condition.value.as_deref().unwrap_or(ANY)).ok()?;
            Some((condition.name.clone(), value))
        });
        lines.collect::<Vec<(HeaderName, HeaderValue)>>().into_iter().collect()
    }
}

impl HostPattern {
    fn sample(&self) -> String {
        self.exact().map_or_else(|| format!("{ANY}.{}", self.name()), str::to_owned)
    }
}

impl PathPattern {
    fn sample(&self) -> String {
        let segments = self.segments().iter().map(|segment| match segment {
            Segment::Literal(literal) => literal,
            Segment::Parameter => ANY,
        });
        let segments = segments.chain(self.has_rest().then_some(ANY));
        format!("/{}", segments.collect::<Vec<_>>().join("/"))
    }
}
