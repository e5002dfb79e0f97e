//! What TLS costs: `cargo bench --bench overhead -- tls`.
//!
//! Handshakes beside nginx with the same OpenSSL, the same key and the same choice of version, cipher and group, full
//! and resumed: the aim is 0.95 x nginx's rate or better. Then requests on connections that are kept, beside a bare
//! Pingora proxy with TLS: the aim is 1.05 x its CPU time at most.
//!
//! With an RSA key the proxy is what limits the rate. With an ECDSA key, and resumed, the clients have more to do than
//! the proxy and one core to do it on: there the CPU time of a handshake says what the rate cannot. `busy` is the share
//! of its core that the proxy used.
//!
//! November 2026, profile `release`, two cores of an EPYC on which others were at work, OpenSSL 3.0.19 on all sides; CPU us
//! of two runs, and x nginx in the second:
//!
//! | | gateway | bare Pingora | nginx |
//! |---|---|---|---|
//! | TLS 1.3, RSA, full | 586, 585; 1.01 | 593, 620; 1.04 | 570, 588 |
//! | TLS 1.2, RSA, full | 583, 553; 1.10 | 541, 543; 1.06 | 507, 509 |
//! | TLS 1.3, ECDSA, full | 378, 498; 0.97 | 424, 495; 1.07 | 358, 516 |
//! | TLS 1.2, ECDSA, full | 396, 402; 1.15 | 424, 396; 1.11 | 388, 343 |
//! | TLS 1.3, resumed | 338, 338; 1.13 | 328, 337; 1.11 | 300, 304 |
//! | TLS 1.2, resumed | 162, 159; 1.24 | 152, 152; 1.20 | 121, 126 |
//!
//! The rates were within 2 % of each other, with the proxy busy for a third to two thirds of its core: the clients are what
//! limits them. What is left beside nginx, about 35 us, is the same in every row: it is what a connection takes in Pingora.
//! With two session tickets a handshake of TLS 1.3 took 3 to 8 % more. A request on a connection that is kept took 6.7 us
//! more than with the bare proxy (1.19 x).
//!
//! nginx is Debian's package `nginx-light`; without it the bench compares with the bare Pingora proxy alone, and says so.
//! Pingora brings an OpenSSL of its own. `OPENSSL_NO_VENDOR=1 cargo bench --bench overhead -- tls` builds everything with
//! the system's, which is nginx's: without that, versions of OpenSSL are compared, and the bench says that too.

use std::time::Duration;

use openssl::ssl::SslVersion;

use super::{
    Subject,
    rig::{
        certificate::{Certificate, Kind},
        handshakes::{Clients, Manner},
        load::{Cost, OtherSide, Requests},
        median, micros,
        process::{Cores, Process, openssl_of_nginx},
        request,
    },
};

const ROUNDS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(200);
const SPAN: Duration = Duration::from_millis(1000);

const GATEWAY: &str = r#"
[server]
threads = 1
control = "@DIR@/control.sock"

[[listeners]]
address = "127.0.0.1:0"

[listeners.tls]
certificates = [{ cert = "@CERT@", key = "@KEY@" }]

[log]
access = false

[audit]
sample_successes = 0

[upstreams.app]
targets = ["@UPSTREAM@"]

[routes.open]
paths = ["/open/{*rest}"]
upstream = "app"
public = true
"#;

/// Tickets and no cache of sessions, as the gateway has it; the ciphers are the client's choice.
const NGINX: &str = r#"
pid @DIR@/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/fastcgi;
    uwsgi_temp_path @DIR@/uwsgi;
    scgi_temp_path @DIR@/scgi;
    keepalive_requests 100000000;
    upstream app { server @UPSTREAM@; keepalive 64; }
    server {
        listen @ADDRESS@ ssl backlog=1024;
        ssl_certificate @CERT@;
        ssl_certificate_key @KEY@;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_tickets on;
        location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
}
"#;

/// Measures both, and prints them.
pub(crate) fn run(cores: Cores) {
    let other_side = OtherSide::start_with_tls();
    let ours = openssl::version::version();
    let nginx = openssl_of_nginx();
    match &nginx {
        None => println!("nginx is not installed (Debian: nginx-light): nothing is compared with it"),
        Some(its) if its != ours => {
            println!("nginx runs with {its}, everything else here with {ours}: build with OPENSSL_NO_VENDOR=1");
        }
        Some(_) => println!("{ours}"),
    }
    for kind in [Kind::Rsa, Kind::Ecdsa] {
        let proxies = Proxies::start(cores, &other_side, kind, nginx.is_some());
        let versions = [SslVersion::TLS1_3, SslVersion::TLS1_2];
        for version in versions {
            proxies.compare(&format!("{}, {kind:?}, full", name(version)), Manner { version, is_resumed: false });
        }
        if kind == Kind::Rsa {
            continue;
        }
        // No certificate takes part in these.
        for version in versions {
            proxies.compare(&format!("{}, resumed", name(version)), Manner { version, is_resumed: true });
        }
        println!("\nRequests on connections that are kept");
        let requests = Requests::list([request("/open/12345?expand=lines", &[])]);
        let mut subjects: Vec<_> =
            proxies.all.iter().map(|(name, proxy)| Subject::new(name, proxy, requests.clone())).collect();
        super::measure(&other_side, &mut subjects, ROUNDS, WARM_UP, SPAN);
        super::table(&subjects);
    }
}

fn name(version: SslVersion) -> &'static str {
    if version == SslVersion::TLS1_3 { "TLS 1.3" } else { "TLS 1.2" }
}

/// All with the same certificate.
struct Proxies {
    /// The bare one first, nginx last.
    all: Vec<(&'static str, Process)>,
    /// Which of them the handshakes of the others are compared with.
    beside: usize,
}

impl Proxies {
    fn start(cores: Cores, other_side: &OtherSide, kind: Kind, has_nginx: bool) -> Self {
        let certificate = Certificate::new(kind);
        let configuration = |template: &str| {
            let template = template.replace("@UPSTREAM@", &other_side.upstream.to_string());
            let template = template.replace("@CERT@", &certificate.cert.display().to_string());
            template.replace("@KEY@", &certificate.key.display().to_string())
        };
        let mut proxies = vec![
            ("bare Pingora", Process::bare_by_tls(cores, other_side.upstream, &certificate)),
            ("the gateway", Process::gateway(cores, &configuration(GATEWAY))),
        ];
        if has_nginx {
            proxies.push(("nginx", Process::nginx(cores, &configuration(NGINX))));
        }
        Self { beside: if has_nginx { proxies.len() - 1 } else { 0 }, all: proxies }
    }

    /// Measures the proxies in turn, shaking hands in one manner. Who comes first takes turns too.
    fn compare(&self, title: &str, manner: Manner) {
        let clients: Vec<_> = self.all.iter().map(|_| Clients::new(manner)).collect();
        let mut costs = vec![vec![]; self.all.len()];
        for round in 0..ROUNDS {
            for turn in 0..self.all.len() {
                let at = if round % 2 == 0 { turn } else { self.all.len() - 1 - turn };
                costs[at].push(clients[at].measure(&self.all[at].1, WARM_UP, SPAN));
            }
        }
        self.table(title, &costs);
    }

    /// Each against its neighbour in time.
    fn table(&self, title: &str, costs: &[Vec<Cost>]) {
        let beside = &costs[self.beside];
        let than = format!("x {}", self.all[self.beside].0);
        println!(
            "\n{title:24} {:>10} {than:>14} {:>14} {than:>14} {:>7} {:>9}",
            "CPU us", "handshakes/s", "busy", "p99 us"
        );
        for ((name, _), costs) in self.all.iter().zip(costs) {
            let pairs = || costs.iter().zip(beside);
            println!(
                "{name:24} {:>10.1} {:>14.3} {:>14.0} {:>14.3} {:>6.0}% {:>9.0}",
                median(costs.iter().map(|cost| micros(cost.cpu))),
                median(pairs().map(|(cost, beside)| micros(cost.cpu) / micros(beside.cpu))),
                median(costs.iter().map(|cost| cost.rate)),
                median(pairs().map(|(cost, beside)| cost.rate / beside.rate)),
                median(costs.iter().map(|cost| cost.cpu.as_secs_f64() * cost.rate * 100.0)),
                median(costs.iter().map(|cost| micros(cost.p99))),
            );
        }
    }
}
