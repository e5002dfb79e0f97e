//! Who the client is, on the route and at the upstream.
