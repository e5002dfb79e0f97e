//! What the operator learns of certificates: from `/status`, metrics, the audit trail, `check`, and of a reload.

use super::{CERTIFICATE, NAME, World, configured};
use crate::harness::{Authority, Client, Crl, Leaf};

const CLIENTS: &str = r#"
client_auth = "optional"
client_ca = "clients.pem"
client_crl = "clients.crl"
"#;

const MTLS: &str = r#"
[policies.client-cert]
use = "mtls"

[routes.mine]
paths = ["/mine"]
auth = ["client-cert"]
respond = { status = 204 }
"#;

/// The usual configuration, and a route for certificates, whose policy has these lines too.
fn with_policy(lines: &str) -> String {
    let open = super::GATEWAY.replace("paths = [\"/{*rest}\"]", "paths = [\"/{*rest}\"]\noverlap = \"accepted\"");
    format!("{open}{}", MTLS.replace("use = \"mtls\"\n", &format!("use = \"mtls\"\n{lines}")))
}

/// A world whose listener asks for certificates of the same authority.
async fn start() -> World {
    let ca = Authority::new("Root");
    let tls = format!("{CERTIFICATE}{CLIENTS}");
    let builder = configured(&ca, &tls).toml(&with_policy(""));
    let builder = builder.file("clients.pem", ca.pem()).file("clients.crl", Crl::of(&ca).pem());
    World::with(ca, builder).await
}

#[tokio::test]
async fn a_reload_says_what_it_changed_and_status_what_is_served() {
    let world = start().await;
    let status = async || Client::http1(world.gateway.admin()).get("/status").send().await.json()["tls"].clone();
    let before = status().await["listeners[0]"].clone();
    assert_eq!((&before[0]["name"], &before[0]["client_auth"]), (&"(other names)".into(), &"optional".into()));
    assert_eq!(before[1]["name"], NAME);

    let renewed = world.ca.issue(Leaf::server(NAME).valid(-1, 60));
    world.gateway.replace("api.pem", renewed.chain_pem());
    world.gateway.replace("api.key", renewed.key_pem());
    let said = world.gateway.reload().await.stdout;
    let until = status().await["listeners[0]"][1]["until"].as_str().expect("a time").to_owned();
    assert!(said.contains(&format!("~ listeners[0] {NAME}: certificate until {until}\n")), "{said}");
    assert_ne!(until, before[1]["until"], "{said}");

    world.gateway.replace("clients.crl", Crl::of(&world.ca).revoke(&renewed).pem());
    let said = world.gateway.reload().await.stdout;
    assert!(said.contains(&format!("~ listeners[0] {NAME}: other CAs, CRLs or rules for clients\n")), "{said}");

    let toml = world.gateway.configuration();
    let asking = "[listeners.tls.names.\"new.example.com\"]\nclient_auth = \"off\"\n\n[upstreams.app]";
    world.gateway.rewrite(&toml.replace("\"optional\"", "\"required\"").replace("[upstreams.app]", asking));
    let reload = world.gateway.reload().await;
    for line in [
        format!("~ listeners[0] {NAME}: client_auth optional -> required\n"),
        "~ listeners[0] (other names): client_auth optional -> required\n".to_owned(),
        "+ listeners[0] new.example.com: certificate until ".to_owned(),
    ] {
        assert!(reload.stdout.contains(&line), "{line}\n{}", reload.stdout);
    }
    assert!(reload.stderr.contains("warning: ") && reload.stderr.contains("new.example.com"), "{}", reload.stderr);

    let line =
        world.gateway.wait_line(|line| line["event"] == "reload" && line["generation"] == 4, crate::harness::LIMIT);
    let tls = line.await["tls"].as_str().expect("what changed").to_owned();
    assert!(tls.contains("client_auth optional -> required"), "{tls}");
    assert!(world.gateway.reload().await.stdout.lines().count() == 1, "nothing is new");
}

#[tokio::test]
async fn metrics_tell_when_authorities_and_their_lists_end() {
    let world = start().await;
    let metrics = Client::http1(world.gateway.admin()).get("/metrics").send().await.text();
    for series in [
        format!("portcullis_certificate_expiry_timestamp_seconds{{name=\"{NAME}\"}} "),
        "portcullis_certificate_expiry_timestamp_seconds{name=\"CN=Root\"} ".to_owned(),
        "portcullis_crl_next_update_timestamp_seconds{issuer=\"CN=Root\"} ".to_owned(),
    ] {
        assert!(metrics.contains(&series), "{series}\n{metrics}");
    }
}

#[tokio::test]
async fn metrics_tell_when_what_a_policy_goes_by_ends() {
    let (ca, partners) = (Authority::new("Root"), Authority::new("Partners"));
    let own = "ca = \"partners.pem\"\ncrl = \"partners.crl\"\n";
    let toml = with_policy(own);
    let builder = configured(&ca, &format!("{CERTIFICATE}{CLIENTS}")).toml(&toml);
    let builder = builder.file("clients.pem", ca.pem()).file("clients.crl", Crl::of(&ca).pem());
    let builder = builder.file("partners.pem", partners.pem()).file("partners.crl", Crl::of(&partners).pem());
    let world = World::with(ca, builder).await;
    let metrics = async || Client::http1(world.gateway.admin()).get("/metrics").send().await.text();
    let of_policy = [
        "portcullis_certificate_expiry_timestamp_seconds{name=\"CN=Partners\"} ",
        "portcullis_crl_next_update_timestamp_seconds{issuer=\"CN=Partners\"} ",
    ];
    let shown = metrics().await;
    assert!(of_policy.iter().all(|series| shown.contains(series)), "{shown}");
    // A policy that is kept is told of as before, and one that is gone is not.
    world.gateway.rewrite(&format!("{}\n# changed\n", world.gateway.configuration()));
    world.gateway.reload().await;
    let shown = metrics().await;
    assert!(of_policy.iter().all(|series| shown.contains(series)), "{shown}");
    world.gateway.rewrite(&world.gateway.configuration().replace(own, ""));
    world.gateway.reload().await;
    let shown = metrics().await;
    assert!(!of_policy.iter().any(|series| shown.contains(series)), "{shown}");
}

#[tokio::test]
async fn a_policy_without_its_own_authorities_is_warned_of_listeners_that_believe_others() {
    let ca = Authority::new("Root");
    let partners =
        "[listeners.tls.names.\"api.example.com\"]\nclient_auth = \"optional\"\nclient_ca = \"partners.pem\"\n";
    let warned = async |clients: &str, policy: &str| {
        let builder = configured(&ca, &format!("{CERTIFICATE}{clients}")).toml(&with_policy(policy));
        let builder = builder.set("UPSTREAM", "127.0.0.1:9");
        let builder = builder.file("clients.pem", ca.pem()).file("clients.crl", Crl::of(&ca).pem());
        let checked = builder.file("partners.pem", ca.pem()).check().await;
        assert_eq!(checked.code, 0, "{checked:?}");
        checked.stderr
    };
    let text = "policies.client-cert (mtls): this has no `ca` of its own, and listeners trust different ones \
                (`clients.pem`; `partners.pem`): each CA can issue certificates for the others' clients";
    let both = format!("{CLIENTS}{partners}");
    assert!(warned(&both, "").await.contains(text), "{}", warned(&both, "").await);
    assert!(!warned(&both, "ca = \"clients.pem\"\n").await.contains("of its own"));
    assert!(!warned(CLIENTS, "").await.contains("of its own"));
    let nobody_asks = warned("", "").await;
    assert!(
        nobody_asks.contains("client-cert (mtls): this needs client certificates, and no listener"),
        "{nobody_asks}"
    );
}

#[tokio::test]
async fn the_audit_trail_says_whose_certificate_was_let_in() {
    let world = start().await;
    let alice = world.ca.issue(Leaf::client("alice").uri("spiffe://example.org/alice"));
    let tls = world.tls().certificate(&alice).http1();
    assert_eq!(Client::by_tls(world.gateway.address(0), &tls).get("/mine").send().await.status, 204);
    let event = world.gateway.audit(|line| line["result"] == "granted").await;
    let certificate = &event["certificate"];
    assert_eq!(certificate["subject"], "CN=alice", "{event}");
    assert_eq!(certificate["serial"], alice.serial(), "{event}");
    assert_eq!(certificate["sha256"], alice.fingerprint(), "{event}");
}

#[tokio::test]
async fn a_request_on_the_wrong_connection_is_the_routes() {
    let world = start().await;
    let tls = world.tls().certificate(&world.ca.issue(Leaf::client("alice"))).http1();
    let answer = Client::by_tls(world.gateway.address(0), &tls).get("/mine").host("other.example.com").send().await;
    assert_eq!(answer.status, 421);
    let line = world.gateway.access(|line| line["status"] == 421).await;
    assert_eq!((&line["route"], &line["reason"]), (&"mine".into(), &"server_name_mismatch".into()), "{line}");
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of() {
    let ca = Authority::new("Root");
    let soon = ca.issue(Leaf::server(NAME).valid(-1, 6));
    let builder = configured(&ca, CERTIFICATE).file("api.pem", soon.chain_pem()).file("api.key", soon.key_pem());
    let checked = builder.set("UPSTREAM", "127.0.0.1:9").check().await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let said = checked.stderr;
    assert!(
        said.contains("warning: ") && said.contains("certificates[0].cert") && said.contains("ends soon"),
        "{said}"
    );
}
