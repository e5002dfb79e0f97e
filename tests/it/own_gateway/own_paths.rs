//! Paths of a policy's own: the callback of the login.

use super::program;
use crate::harness::{Authority, Client, Gateway, Leaf, Response, Tls, Upstream, key};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[policies.people]
use = "login"
page = "https://login.example/start?to="
secret = { file = "cookie.secret" }

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"

"#;
const CALLBACK: &str = "/login/callback?ticket=alice.open%20sesame&to=/app/1%3Fa=b";
const COOKIE: &str = "session=alice.open sesame; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600";

/// A route of its name, with these hosts where there are any.
fn route(name: &str, paths: &str, hosts: &str, more: &str) -> String {
    let hosts = if hosts.is_empty() { String::new() } else { format!("hosts = [\"{hosts}\"]\n") };
    format!("[routes.{name}]\npaths = [\"{paths}\"]\nupstream = \"app\"\n{hosts}{more}\n\n")
}

fn people(hosts: &str, plugins: &str) -> String {
    route("app", "/app/{*rest}", hosts, &format!("auth = [\"people\"]\nplugins = [{plugins}]"))
}

async fn start(routes: &[String]) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let builder = Gateway::builder(&format!("{GATEWAY}{}", routes.concat())).program(program());
    let builder = builder.set("UPSTREAM", &upstream.address()).set("SHA256", &key("acme").1);
    (builder.file("cookie.secret", "open sesame\n").start().await, upstream)
}

/// Returns the report about a configuration with these routes, which is refused.
async fn refused(routes: &[String]) -> String {
    let builder = Gateway::builder(&format!("{GATEWAY}{}", routes.concat())).program(program());
    let builder = builder.set("UPSTREAM", "127.0.0.1:1").set("SHA256", &key("acme").1);
    let (code, said) = builder.file("cookie.secret", "open sesame\n").fails().await;
    assert_eq!(code, 2, "{said}");
    said
}

fn clients(gateway: &Gateway) -> [Client; 2] {
    [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))]
}

fn cookie(response: &Response) -> Option<&str> {
    response.header("set-cookie")
}

#[tokio::test]
async fn a_policy_answers_on_its_own_paths_before_the_files() {
    let rest = route("rest", "/{*rest}", "", "public = true\noverlap = \"accepted\"");
    let (gateway, upstream) = start(&[people("", ""), rest]).await;
    for (client, before) in clients(&gateway).into_iter().zip([0, 2]) {
        let back = client.get(CALLBACK).send().await;
        assert_eq!((back.status, back.header("location"), cookie(&back)), (303, Some("/app/1?a=b"), Some(COOKIE)));
        assert_eq!(back.header("cache-control"), Some("no-store"));
        let id = back.header("x-request-id").expect("an id").to_owned();
        let line = gateway.access(|line| line["request_id"] == id.as_str()).await;
        assert_eq!((&line["route"], &line["reason"]), (&"people:/login/callback".into(), &"logged_in".into()));
        // Every spelling of the path is the path.
        assert_eq!(client.get(&CALLBACK.replace("callback", "%63allback")).send().await.status, 303);
        for wrong in ["/login/callback", "/login/callback?ticket=alice.wrong&to=/", &CALLBACK.replace("/app", "//evil")]
        {
            let answer = client.get(wrong).send().await;
            assert_eq!((answer.status, cookie(&answer)), (403, None), "{wrong}");
        }
        gateway.audit(|event| event["reason"] == "ticket_wrong" && event["policy"] == "people").await;
        let posted = client.post(CALLBACK, "form").send().await;
        assert_eq!((posted.status, cookie(&posted)), (303, Some(COOKIE)));
        let other = client.request("DELETE", CALLBACK).send().await;
        assert_eq!((other.status, other.header("allow")), (405, Some("GET, HEAD, POST")));
        assert_eq!(client.post(CALLBACK, vec![b'x'; 70_000]).send().await.status, 413);
        assert_eq!(upstream.requests(), before);
        assert_eq!((client.get("/login/callback/x").send().await.status, upstream.requests()), (200, before + 1));
        let session = client.get("/app/1").header("cookie", "session=alice.open sesame").send().await;
        assert_eq!((session.status, upstream.last().header("x-user-id")), (200, Some("alice")));
    }
}

#[tokio::test]
async fn the_paths_are_on_the_hosts_of_the_routes_that_use_the_policy_and_behind_their_guards() {
    let closed = "{ use = \"answerer\", id = \"a\", hook = \"guard\", status = 410 }";
    let other = |plugins: &str| {
        let more = format!("auth = [\"people\"]\nplugins = [{plugins}]");
        route("other", "/other/{*rest}", "b.example", &more)
    };
    let keys = route("keys", "/keys/{*rest}", "c.example", "auth = [\"keys\"]");
    let (gateway, upstream) = start(&[people("a.example", ""), other(closed), keys]).await;
    let status = async |host: &str| {
        let asking = Client::http1(gateway.address(0));
        asking.get(CALLBACK).host(host).send().await.status
    };
    assert_eq!((status("a.example").await, status("b.example").await), (303, 410));
    assert_eq!((status("c.example").await, status("d.example").await), (404, 404));
    // Two routes of one host: a guard of either guards the path.
    let both = [people("b.example", ""), other(closed)];
    let (gateway, _upstream) = start(&both).await;
    let asking = Client::http1(gateway.address(0));
    assert_eq!(asking.get(CALLBACK).host("b.example").send().await.status, 410);
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_policy_that_no_route_uses_has_no_path() {
    let (gateway, _upstream) = start(&[route("keys", "/keys/{*rest}", "", "auth = [\"keys\"]")]).await;
    assert_eq!(Client::http1(gateway.address(0)).get(CALLBACK).send().await.status, 404);
}

#[tokio::test]
async fn a_path_that_the_file_has_as_well_is_an_error() {
    for (hosts, methods) in [("", ""), ("", "methods = [\"PUT\"]\n"), ("a.example", ""), ("*.example", "")] {
        let file = route("mine", "/login/callback", hosts, &format!("{methods}public = true"));
        let said = refused(&[people("a.example", ""), file]).await;
        assert!(said.contains("its path `/login/callback` is a path of routes.mine already"), "{said}");
        assert!(said.contains("policies.people") && said.contains("1 problem"), "{said}");
    }
    let elsewhere = route("mine", "/login/callback", "b.example", "public = true");
    let (gateway, _upstream) = start(&[people("a.example", ""), elsewhere]).await;
    assert_eq!(Client::http1(gateway.address(0)).get(CALLBACK).host("b.example").send().await.status, 200);
    // Two policies cannot have it either.
    let second = "[policies.staff]\nuse = \"login\"\npage = \"https://staff.example/\"\n\
                  secret = { file = \"cookie.secret\" }\n\n";
    let staff = route("staff", "/staff/{*rest}", "", "auth = [\"staff\"]");
    let said = refused(&[second.to_owned(), people("", ""), staff]).await;
    assert!(said.contains("its path `/login/callback` is a path of policies.people (login) already"), "{said}");
}

#[tokio::test]
async fn one_that_takes_too_long_or_panics_is_refused_and_the_reason_is_on_record() {
    let faulty = |more: &str| format!("{{ use = \"faulty\", id = \"odd\", hook = \"serve\"{more} }}");
    let late = ", sleeps = \"120s\", hook_timeout = \"100ms\"";
    for (more, status, reason) in [("", 500, "plugin_panicked"), (late, 503, "plugin_timed_out")] {
        let (gateway, upstream) = start(&[people("", &faulty(more))]).await;
        for client in clients(&gateway) {
            let answer = client.get("/faulty").send().await;
            assert_eq!((answer.status, answer.text().contains("fault")), (status, false), "{reason}");
            let id = answer.header("x-request-id").expect("an id").to_owned();
            let event = gateway.audit(|event| event["request_id"] == id.as_str()).await;
            assert_eq!((&event["reason"], &event["policy"]), (&reason.into(), &"app/odd".into()));
        }
        assert_eq!(upstream.requests(), 0);
    }
}

#[tokio::test]
async fn a_guard_of_the_authenticator_itself_guards_its_paths() {
    let faulty = "auth = [{ use = \"faulty\", id = \"odd\", hook = \"guard_before_serve\" }]";
    let (gateway, _upstream) = start(&[route("app", "/app/{*rest}", "", faulty)]).await;
    for client in clients(&gateway) {
        assert_eq!(client.get("/faulty").send().await.status, 500);
    }
    let failures = "policy=\"app/odd\",hook=\"guard\",reason=\"plugin_panicked\"";
    assert_eq!(gateway.metric(&format!("portcullis_hook_failures_total{{{failures}}}")).await, 2.0);
}

#[tokio::test]
async fn where_the_policy_uses_certificates_the_host_is_the_servers_name() {
    let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    let server = servers.issue(Leaf::server("*.example.com"));
    let tls = "[listeners.tls]\ncertificates = [{ cert = \"server.pem\", key = \"server.key\" }]\n\
               client_auth = \"optional\"\nclient_ca = \"clients.pem\"\n";
    let faulty = "auth = [{ use = \"faulty\", id = \"odd\", hook = \"certificate_before_serve\", sleeps = \"1ms\" }]";
    let toml = format!("{GATEWAY}{}", route("app", "/app/{*rest}", "", faulty)).replace("h2c = true\n", tls);
    let builder = Gateway::builder(&toml).program(program()).set("UPSTREAM", "127.0.0.1:1");
    let builder = builder.set("SHA256", &key("acme").1).file("cookie.secret", "open sesame\n");
    let builder = builder.file("server.pem", server.chain_pem()).file("server.key", server.key_pem());
    let gateway = builder.file("clients.pem", clients.pem()).start().await;
    let client = Client::by_tls(gateway.address(0), &Tls::trusting(&servers).name("a.example.com").http1());
    for (host, status) in [("a.example.com", 200), ("b.example.com", 421)] {
        assert_eq!(client.get("/faulty").host(host).send().await.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_reload_adds_and_removes_them() {
    let (gateway, _upstream) = start(&[people("", "")]).await;
    let client = Client::http1(gateway.address(0));
    assert_eq!(client.get(CALLBACK).send().await.status, 303);
    let with = gateway.configuration();
    gateway.rewrite(&with.replace("auth = [\"people\"]", "auth = [\"keys\"]"));
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(client.get(CALLBACK).send().await.status, 404);
    gateway.rewrite(&with);
    assert_eq!(gateway.reload().await.code, 0);
    assert_eq!(client.get(CALLBACK).send().await.status, 303);
}

/// Asks for the callback on a host.
async fn called_back(gateway: &Gateway, host: &str) -> u16 {
    Client::http1(gateway.address(0)).get(CALLBACK).host(host).send().await.status
}

const CLOSED: &str = "{ use = \"answerer\", id = \"a\", hook = \"guard\", status = 410 }";

fn also(hosts: &str, plugins: &str) -> String {
    route("also", "/also/{*rest}", hosts, &format!("auth = [\"people\"]\nplugins = [{plugins}]"))
}

#[tokio::test]
async fn a_policy_on_any_host_and_on_a_named_one_does_not_conflict_with_itself() {
    let (gateway, _upstream) = start(&[people("", ""), also("a.example", "")]).await;
    assert_eq!((called_back(&gateway, "a.example").await, called_back(&gateway, "x.example").await), (303, 303));
}

#[tokio::test]
async fn a_policy_on_a_wildcard_and_below_it_with_other_guards_does_not_conflict_with_itself() {
    let (gateway, _upstream) = start(&[people("*.example", ""), also("a.example", CLOSED)]).await;
    assert_eq!((called_back(&gateway, "a.example").await, called_back(&gateway, "x.example").await), (410, 303));
}

#[tokio::test]
async fn guards_of_a_wildcard_guard_the_path_on_the_hosts_below() {
    let (gateway, _upstream) = start(&[people("*.example", CLOSED), also("a.example", "")]).await;
    assert_eq!((called_back(&gateway, "x.example").await, called_back(&gateway, "a.example").await), (410, 410));
}

#[tokio::test]
async fn a_parameter_on_a_narrower_host_gives_way() {
    let file = route("mine", "/login/{page}", "a.example", "public = true");
    let (gateway, upstream) = start(&[people("", ""), file]).await;
    let client = Client::http1(gateway.address(0));
    let app = client.get("/app/1").host("a.example").header("accept", "text/html").send().await;
    assert_eq!(app.status, 302, "the policy is in force on this host");
    assert_eq!((called_back(&gateway, "a.example").await, upstream.requests()), (303, 0), "the ticket went upstream");
}

#[tokio::test]
async fn each_host_keeps_its_redirect_to_tls() {
    let secure = also("b.example", "").replace("upstream =", "https_redirect = 443\nupstream =");
    // Whichever of the two the file says first.
    for secure in [secure.clone(), secure.replace("routes.also", "routes.zeta")] {
        let (gateway, _upstream) = start(&[people("a.example", ""), secure]).await;
        assert_eq!((called_back(&gateway, "a.example").await, called_back(&gateway, "b.example").await), (303, 308));
    }
}

#[tokio::test]
async fn the_stricter_redirect_counts_on_one_host() {
    let secure = also("a.example", "").replace("upstream =", "https_redirect = 443\nupstream =");
    for secure in [secure.clone(), secure.replace("routes.also", "routes.zeta")] {
        let (gateway, _upstream) = start(&[people("a.example", ""), secure]).await;
        assert_eq!(called_back(&gateway, "a.example").await, 308);
    }
}

#[tokio::test]
async fn a_preflight_is_no_get() {
    let (gateway, _upstream) = start(&[people("", "")]).await;
    let client = Client::http1(gateway.address(0));
    let asking = client.request("OPTIONS", CALLBACK).header("origin", "https://x.example");
    let answer = asking.header("access-control-request-method", "GET").send().await;
    assert_eq!((answer.status, cookie(&answer)), (405, None));
}

#[tokio::test]
async fn a_route_of_the_file_cannot_have_the_name_of_an_own_path() {
    let file = route("\"people:/login/callback\"", "/mine", "", "public = true");
    let said = refused(&[people("", ""), file]).await;
    assert!(said.contains("people:/login/callback"), "{said}");
}
