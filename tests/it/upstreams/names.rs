//! Targets that are names: looked up while the gateway runs, and never in the way of a start or a reload.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use crate::harness::{
    Authority, Client, Dns, DnsAnswer, Gateway, GatewayBuilder, LIMIT, Leaf, TlsServer, Upstream, eventually,
};

const GATEWAY: &str = r#"
[server]
resolver = ["@DNS@"]

[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = [@TARGETS@]
connect_timeout = "1s"
@UPSTREAM@

[routes.app]
paths = ["/{*rest}"]
upstream = "app"
public = true
"#;

fn gateway(dns: &Dns, targets: &str) -> GatewayBuilder {
    Gateway::builder(GATEWAY).set("DNS", &dns.address()).set("TARGETS", targets).set("UPSTREAM", "")
}

/// A port that is free at all these addresses.
fn port_at(ips: &[&str]) -> u16 {
    let free = |port: u16| {
        let mut bound = ips.iter().map(|ip| TcpListener::bind((ip.parse::<IpAddr>().expect("an address"), port)));
        bound.all(|bound| bound.is_ok())
    };
    let any = || TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port").port();
    std::iter::repeat_with(any).take(100).find(|port| free(*port)).expect("a port that is free everywhere")
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

async fn status(gateway: &Gateway) -> u16 {
    Client::http1(gateway.address(0)).get("/").send().await.status
}

async fn gauge(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("portcullis_upstream_{name}{{upstream=\"app\"}}")).await
}

#[tokio::test]
async fn a_name_is_followed_to_where_it_leads() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2", "127.0.0.3"]));
    let [first, second] = ["127.0.0.2", "127.0.0.3"].map(|ip| Upstream::at(at(ip, port)));
    dns.addresses("app.example", &["127.0.0.2"]);
    let gateway = gateway(&dns, &format!("\"App.Example:{port}\"")).start().await;
    assert_eq!((status(&gateway).await, first.requests(), second.requests()), (200, 1, 0));
    let line = gateway.access(|line| line["status"] == 200).await;
    assert_eq!(line["target"], format!("App.Example:{port}"));
    assert_eq!(line["target_address"], format!("127.0.0.2:{port}"));
    // Both: they take turns.
    dns.addresses("app.example", &["127.0.0.2", "127.0.0.3"]);
    eventually("both are known", async || gauge(&gateway, "addresses").await == 2.0).await;
    let (before, after) = (first.requests(), second.requests());
    for _ in 0..10 {
        assert_eq!(status(&gateway).await, 200);
    }
    assert_eq!((first.requests() - before, second.requests() - after), (5, 5));
    // It has moved.
    dns.addresses("app.example", &["127.0.0.3"]);
    eventually("it has moved", async || gauge(&gateway, "addresses").await == 1.0).await;
    let before = first.requests();
    for _ in 0..4 {
        assert_eq!(status(&gateway).await, 200);
    }
    assert_eq!(first.requests(), before);
}

#[tokio::test]
async fn a_name_that_fails_keeps_its_last_addresses() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2"]));
    let upstream = Upstream::at(at("127.0.0.2", port));
    dns.addresses("app.example", &["127.0.0.2"]);
    let gateway = gateway(&dns, &format!("\"app.example:{port}\"")).start().await;
    assert_eq!(status(&gateway).await, 200);
    dns.say("app.example", DnsAnswer::Failure);
    let line = gateway.wait_line(|line| line["event"] == "resolution" && line["level"] == "warn", LIMIT).await;
    assert_eq!(line["target"], format!("app.example:{port}"), "{line}");
    assert!(line["message"].as_str().is_some_and(|text| text.contains("the addresses found before")), "{line}");
    assert_eq!((status(&gateway).await, gauge(&gateway, "unresolved_targets").await), (200, 1.0));
    // So does a reload during it, which says so.
    let reload = gateway.reload().await;
    assert_eq!((reload.code, status(&gateway).await), (0, 200), "{}", reload.stderr);
    let told = format!(":12:12: upstreams.app.targets[0]: `app.example:{port}` cannot be resolved");
    assert!(reload.stderr.contains(&told), "{}", reload.stderr);
    dns.addresses("app.example", &["127.0.0.2"]);
    eventually("it is found again", async || gauge(&gateway, "unresolved_targets").await == 0.0).await;
    assert_eq!(upstream.requests(), 3);
}

/// Neither is in the way of a start or a reload: requests that need it are told, and all others go on.
#[tokio::test]
async fn a_name_that_leads_nowhere_is_502_on_its_routes_alone() {
    for answer in [None, Some(DnsAnswer::Failure), Some(DnsAnswer::Silence)] {
        let dns = Dns::start();
        answer.iter().for_each(|answer| dns.say("app.example", answer.clone()));
        let began = Instant::now();
        let gateway = gateway(&dns, "\"app.example:80\"").start().await;
        assert!(began.elapsed() < Duration::from_secs(5));
        let refused = Client::http1(gateway.address(0)).get("/").send().await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (502, Some("upstream_unreachable")));
        let line = gateway.access(|line| line["status"] == 502).await;
        let error = line["error"].as_str().expect("why");
        assert!(error.starts_with("upstream: unresolved: `app.example:80`: "), "{error}");
        assert_eq!(line["upstream"], "app");
        let counted = gateway.metric("portcullis_upstream_errors_total{upstream=\"app\",kind=\"unresolved\"}").await;
        assert_eq!((counted, gauge(&gateway, "addresses").await), (1.0, 0.0));
        assert_eq!(gateway.reload().await.code, 0);
    }
}

#[tokio::test]
async fn a_name_that_comes_later_is_served_from_then_on() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2"]));
    let _upstream = Upstream::at(at("127.0.0.2", port));
    let gateway = gateway(&dns, &format!("\"app.example:{port}\"")).start().await;
    assert_eq!(status(&gateway).await, 502);
    dns.addresses("app.example", &["127.0.0.2"]);
    eventually("it is found", async || status(&gateway).await == 200).await;
}

#[tokio::test]
async fn a_request_that_comes_before_its_name_waits_for_it() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2"]));
    let _upstream = Upstream::at(at("127.0.0.2", port));
    dns.say("app.example", DnsAnswer::Silence);
    let gateway = gateway(&dns, &format!("\"app.example:{port}\"")).start().await;
    let later = async {
        eventually("it is asked for", async || dns.asked("app.example") > 0).await;
        dns.addresses("app.example", &["127.0.0.2"]);
    };
    // The server is asked again before the second is over that connecting may take.
    assert_eq!(tokio::join!(status(&gateway), later).0, 200);
}

/// The metadata service of a cloud, the admin listener, and we ourselves.
#[tokio::test]
async fn a_name_never_leads_to_what_only_the_machine_may_reach() {
    let dns = Dns::start();
    dns.addresses("app.example", &["169.254.169.254", "fe80::1"]);
    let port = port_at(&[]);
    let config = GATEWAY
        .replace("[[listeners]]\naddress = \"127.0.0.1:0\"", &format!("[[listeners]]\naddress = \"0.0.0.0:{port}\""));
    let builder = gateway(&dns, &format!("\"app.example:80\", \"self.example:{port}\"")).toml(&config);
    dns.addresses("self.example", &["127.0.0.1", "127.0.0.5"]);
    let gateway = builder.start().await;
    let client = Client::http1(at("127.0.0.1", port));
    assert_eq!(client.get("/").send().await.status, 502);
    for (name, words) in [("app.example", "a link-local address"), ("self.example", "an address of this gateway")] {
        let is_it = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap_or_default();
            line["event"] == "resolution" && message.contains(name) && message.contains(words)
        };
        gateway.wait_line(is_it, LIMIT).await;
    }
    let reload = gateway.reload().await;
    let told = format!("`self.example:{port}` resolves only to 127.0.0.");
    assert!(reload.stderr.contains(&told) && reload.stderr.contains("are refused"), "{}", reload.stderr);
    let status = gateway.ask_admin("/status").await.json();
    let targets = &status["upstreams"]["app"]["targets"];
    assert_eq!(targets[0]["addresses"], serde_json::json!([]), "{targets}");
    assert!(targets[0]["unresolved"].as_str().is_some_and(|why| why.contains("169.254.169.254")), "{targets}");
}

/// Such names are known without asking anybody.
#[tokio::test]
async fn localhost_never_leads_to_the_gateway_itself() {
    let (dns, port, admin) = (Dns::start(), port_at(&["::1"]), port_at(&["::1"]));
    let hosts = ["localhost", "LOCALHOST", "localhost.", "app.localhost"];
    let config = GATEWAY.replace("127.0.0.1:0\"\n\n[[l", &format!("127.0.0.1:{admin}\"\n\n[[l"));
    let config = config
        .replace("[[listeners]]\naddress = \"127.0.0.1:0\"", &format!("[[listeners]]\naddress = \"127.0.0.1:{port}\""));
    let mut config = config.replace("[routes.app]", "[routes.rest]");
    for (number, host) in hosts.iter().enumerate() {
        for (kind, port) in [("own", port), ("admin", admin)] {
            config += &format!(
                "\n[upstreams.{kind}-{number}]\ntargets = [\"{host}:{port}\"]\n[routes.{kind}-{number}]\n\
                 paths = [\"/metrics\", \"/status\"]\nhosts = [\"{kind}-{number}.test\"]\n\
                 upstream = \"{kind}-{number}\"\npublic = true\n"
            );
        }
    }
    let builder = gateway(&dns, "\"127.0.0.1:1\"").toml(&config);
    let checked = builder.check().await;
    for (number, host) in hosts.iter().enumerate() {
        for (kind, what) in [("own", "a listener"), ("admin", "the admin listener")] {
            let told =
                format!("upstreams.{kind}-{number}.targets[0]: this is {what} of the gateway itself: no request");
            assert!(checked.stderr.contains(&told), "{host}: {told}: {}", checked.stderr);
        }
    }
    let gateway = gateway(&dns, "\"127.0.0.1:1\"").toml(&config).start().await;
    let client = Client::http1(gateway.address(0));
    for round in ["at the start", "after a reload"] {
        for (number, host) in hosts.iter().enumerate() {
            for (kind, path) in [("own", "/status"), ("admin", "/status"), ("admin", "/metrics")] {
                let answer = client.get(path).host(&format!("{kind}-{number}.test")).send().await;
                assert_eq!(answer.status, 502, "{round}: {host} {kind}: {}", answer.text());
            }
        }
        let line = gateway.access(|line| line["upstream"] == "admin-0").await;
        assert!(line.get("target").is_none(), "{line}");
        assert_eq!(gateway.reload().await.code, 0);
    }
    for line in gateway.lines().iter().filter(|line| line["event"] == "resolution") {
        // `/etc/hosts` may name the other one, where nobody listens.
        assert!(!line["addresses"].as_str().unwrap_or_default().contains("127.0.0.1"), "{line}");
    }
}

#[tokio::test]
async fn a_dead_address_of_a_name_is_passed_over_and_left_alone_for_a_while() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2", "127.0.0.3"]));
    let upstream = Upstream::at(at("127.0.0.3", port));
    dns.addresses("app.example", &["127.0.0.2", "127.0.0.3"]);
    let gateway = gateway(&dns, &format!("\"app.example:{port}\"")).start().await;
    for _ in 0..10 {
        let answer = Client::http1(gateway.address(0)).post("/", "hello").send().await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(upstream.requests(), 10);
    let errors = gateway.metric("portcullis_upstream_errors_total{upstream=\"app\",kind=\"connect\"}").await;
    assert!(errors <= 2.0, "{errors} of 10 tried a dead address again within its rest");
    let line = gateway.access(|line| line.get("unreached").is_some()).await;
    assert_eq!(line["unreached"][0], format!("app.example:{port} (127.0.0.2:{port})"));
}

/// Its certificate is for the name, wherever the name leads.
#[tokio::test]
async fn tls_is_for_the_name_wherever_it_leads() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2", "127.0.0.3"]));
    let authority = Authority::new("ours");
    let server = TlsServer::new(&authority.issue(Leaf::server("app.example")));
    let [first, second] = ["127.0.0.2", "127.0.0.3"].map(|ip| Upstream::tls_at(&server, at(ip, port)));
    dns.addresses("app.example", &["127.0.0.2"]);
    let builder = Gateway::builder(GATEWAY).set("DNS", &dns.address());
    let builder =
        builder.set("TARGETS", &format!("\"app.example:{port}\"")).set("UPSTREAM", "tls = { ca = \"ca.pem\" }");
    let gateway = builder.file("ca.pem", authority.pem()).start().await;
    assert_eq!(status(&gateway).await, 200);
    dns.addresses("app.example", &["127.0.0.3"]);
    eventually("it has moved", async || {
        assert_eq!(status(&gateway).await, 200);
        second.requests() > 0
    })
    .await;
    for upstream in [&first, &second] {
        assert_eq!(upstream.first_shaking().await.sni.as_deref(), Some("app.example"));
    }
}

/// Twenty names behind a server that never answers.
#[tokio::test]
async fn names_that_nobody_answers_for_do_not_delay_a_start_or_a_reload() {
    let (dns, upstream) = (Dns::start(), Upstream::start());
    let names: Vec<String> = (0..20).map(|number| format!("n{number}.example")).collect();
    names.iter().for_each(|name| dns.say(name, DnsAnswer::Silence));
    let targets = |names: &[String]| names.iter().map(|name| format!("\"{name}:80\"")).collect::<Vec<_>>().join(", ");
    let config = format!(
        "{GATEWAY}\n[upstreams.good]\ntargets = [\"{}\"]\n[routes.good]\npaths = [\"/good\"]\nupstream = \"good\"\npublic = true\n",
        upstream.address()
    );
    let began = Instant::now();
    let gateway = gateway(&dns, &targets(&names[..10])).toml(&config).start().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let good = async || Client::http1(gateway.address(0)).get("/good").send().await.status;
    assert_eq!(good().await, 200);
    gateway.rewrite(&config.replace("@TARGETS@", &targets(&names)));
    let began = Instant::now();
    let reload = gateway.reload().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((reload.code, good().await), (0, 200), "{}", reload.stderr);
    assert!(
        reload.stderr.contains("upstreams.app.targets[19]: `n19.example:80` is not resolved yet"),
        "{}",
        reload.stderr
    );
    let began = Instant::now();
    assert!(gateway.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn check_looks_names_up_if_it_is_told_to() {
    let (dns, port) = (Dns::start(), port_at(&["127.0.0.2"]));
    let targets = format!("\"gone.example:{port}\"");
    let plain = gateway(&dns, &targets).check().await;
    assert_eq!((plain.code, plain.stderr.contains("gone.example"), dns.asked("gone.example")), (0, false, 0));
    let online = gateway(&dns, &targets).check_with(&["--online"]).await;
    assert_eq!((online.code, dns.asked("gone.example")), (0, 2));
    let told = format!(
        ":12:12: upstreams.app.targets[0]: `gone.example:{port}` cannot be resolved: there is no such name, or it has no address"
    );
    assert!(online.stderr.contains(&told), "{}", online.stderr);
}
