//! HTTP/2 as a peer may use it, and as it may abuse it: many small frames, answers that nobody reads, floods.
//!
//! - `far`: an upstream that is many milliseconds away.
//! - `floods`: frames that cost their sender nothing.
//! - `heads`: heads that are too large, and refusals that a client does not take.
//! - `peers`: a client and a server whose windows and frames the test chooses.
//! - `small_frames`: messages of gRPC by the thousand.
//! - `unread`: answers that a client does not read, and bodies that an upstream does not.

mod far;
mod floods;
mod heads;
mod peers;
mod small_frames;
mod unread;
mod uploads;

/// A listener with h2c; a route to an upstream that is spoken to in HTTP/2, one to an upstream in HTTP/1, one to where
/// nobody answers, and one that the gateway answers itself.
const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[server]
control = "@DIR@/control.sock"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.calls]
targets = ["@UPSTREAM@"]
protocol = "h2c"

[routes.calls]
paths = ["/calls/{*rest}"]
upstream = "calls"
public = true

[routes.small]
paths = ["/small/{*rest}"]
upstream = "calls"
public = true
max_body_bytes = 20000

[upstreams.files]
targets = ["@UPSTREAM@"]

[routes.files]
paths = ["/files/{*rest}"]
upstream = "files"
public = true

[upstreams.uploads]
targets = ["@UPSTREAM@"]
write_timeout = "2s"
read_timeout = "3s"

[routes.uploads]
paths = ["/uploads/{*rest}"]
upstream = "uploads"
public = true

[routes.quick]
paths = ["/quick"]
public = true
respond = { body = "quick" }
"#;
