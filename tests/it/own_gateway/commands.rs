//! Every subcommand of a gateway of one's own knows its plugins.

use super::{GATEWAY, TICKET, porter, program, route, start};
use crate::harness::{Client, Output, key, program as run};

async fn own(arguments: &[&str]) -> Output {
    run(program(), arguments, "").await
}

#[tokio::test]
async fn run_serves_with_an_authenticator_of_ones_own() {
    let (gateway, upstream) = start(&route("")).await;
    let client = Client::http1(gateway.address(0));
    let absent = client.get("/app/1").send().await;
    let challenge = absent.header("www-authenticate").expect("a challenge");
    assert_eq!((absent.status, challenge), (401, "Ticket realm=\"app\", header=\"x-ticket\""));
    let wrong = ["", "acme-ticket", "acme-ticket.", "acme-ticket.guess", "nobody.open sesame", ".open sesame"];
    for ticket in wrong {
        let answer = client.get("/app/1").header("x-ticket", ticket).send().await;
        assert_eq!(
            (answer.status, answer.json()["detail"].as_str()),
            (401, absent.json()["detail"].as_str()),
            "{ticket}"
        );
    }
    assert_eq!(upstream.requests(), 0);
    gateway.audit(|event| event["reason"] == "ticket_unknown" && event["policy"] == "tickets").await;

    let answer = client.get("/app/1").header("x-ticket", TICKET).header("x-consumer", "root").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let saw = upstream.last();
    let identity = ["x-consumer", "x-client-id", "x-tenant-id", "x-credential-id", "x-auth-method"];
    assert_eq!(identity.map(|name| saw.header(name)), ["acme", "acme", "north", "acme-ticket", "ticket"].map(Some));
    assert_eq!(saw.header("x-ticket"), None);
    assert!(!gateway.output().contains("open sesame"), "a secret is written down: {}", gateway.output());

    let counted = "portcullis_authentications_total{policy=\"tickets\",result=\"granted\",reason=\"none\"}";
    assert_eq!(gateway.metric(counted).await, 1.0);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_malformed_ticket_is_never_nobodys() {
    let (gateway, upstream) = start(&route("").replace("auth =", "anonymous = \"guest\"\nauth =")).await;
    let client = Client::http1(gateway.address(0));
    for ticket in ["", "!!!", "acme-ticket.guess"] {
        assert_eq!(client.get("/app/1").header("x-ticket", ticket).send().await.status, 401, "{ticket}");
    }
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn check_and_reload_judge_what_is_ones_own() {
    let (gateway, _upstream) = start(&route("")).await;
    let config = gateway.dir().join("portcullis.toml").display().to_string();
    let checked = own(&["check", "-c", &config]).await;
    assert_eq!(checked.code, 0, "{checked:?}");

    let whole = format!("{GATEWAY}{}", route(&porter("p", "token = \"two\\nlines\", bannd = \"x\"")));
    gateway.rewrite(&whole.replace("use = \"ticket\"\n\n", "use = \"ticket\"\nheader = \"cookie\"\n\n"));
    for refused in [own(&["check", "-c", &config]).await, gateway.reload().await] {
        assert_eq!(refused.code, 2, "{refused:?}");
        for part in ["bannd", "banned", "policies.tickets (ticket).header"] {
            assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
        }
    }
    // What is wrong with a consumer's entry is said where it stands.
    gateway.rewrite(&format!("{GATEWAY}{}", route("")).replace("acme.secret", "no-such.secret"));
    let refused = gateway.reload().await;
    assert!(refused.code == 2 && refused.stderr.contains("consumers.acme.credentials[0].secret"), "{refused:?}");

    gateway.rewrite(&format!("{GATEWAY}{}", route(&porter("p", "token = \"t\""))));
    let taken = gateway.reload().await;
    assert_eq!((taken.code, taken.stdout.contains("~ app")), (0, true), "{taken:?}");
}

#[tokio::test]
async fn a_porter_that_cannot_be_built_is_refused_with_its_field() {
    let (gateway, _upstream) = start(&route("")).await;
    for (wrong, field) in [
        ("token = \"two\\nlines\"", "token"),
        ("headers = { \"no name\" = \"x\" }", "headers"),
        ("banned = \"no-such-file\"", "banned"),
        ("token = { env = \"NO_SUCH_VARIABLE_OF_THE_TESTS\" }", "token"),
    ] {
        gateway.rewrite(&format!("{GATEWAY}{}", route(&porter("p", wrong))));
        let refused = gateway.reload().await;
        let path = format!("routes.app.plugins[0] (porter).{field}");
        assert!(refused.code == 2 && refused.stderr.contains(&path), "{path}: {refused:?}");
        assert!(!refused.stderr.contains("two"), "an error shows a secret: {}", refused.stderr);
    }
}

#[tokio::test]
async fn plugins_lists_ones_own_beside_the_built_in_ones() {
    let listed = own(&["plugins", "list"]).await;
    for name in ["consumer-restriction", "key-auth", "porter", "ticket"] {
        assert!(listed.stdout.lines().any(|line| line.starts_with(name)), "{name}: {listed:?}");
    }
    let shown = own(&["plugins", "show", "ticket"]).await;
    for part in ["use = \"ticket\"", "Callers show a ticket in a header.", "header: string", "x-ticket", "secret: "] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let shown = own(&["plugins", "show", "porter"]).await;
    for part in ["sign: string, required", "banned: string", "mask: boolean, default false"] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let unknown = own(&["plugins", "show", "tickt"]).await;
    assert!(unknown.code != 0 && unknown.stderr.contains("ticket"), "{unknown:?}");
}

#[tokio::test]
async fn key_and_completions_are_those_of_portcullis() {
    let made = own(&["key", "new", "--consumer", "acme"]).await;
    assert!(made.code == 0 && made.stdout.contains("sha256"), "{made:?}");
    let (secret, sha256) = key("acme");
    let hashed = run(program(), &["key", "hash"], &format!("{secret}\n")).await;
    assert!(hashed.code == 0 && hashed.stdout.contains(&sha256), "{hashed:?}");
    let script = own(&["completions", "bash"]).await;
    assert!(script.code == 0 && script.stdout.contains("reload"), "{script:?}");
    let help = own(&["--help"]).await;
    assert!(help.code == 0 && help.stdout.contains("completions"), "{help:?}");
}
