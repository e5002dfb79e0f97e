//! A wrong configuration at the start, and at a reload: nothing of it is ever served.

use std::net::TcpListener;

use crate::harness::{Client, Gateway, Output, Upstream, key};

const GATEWAY: &str = r#"
[server]
control = "@DIR@/control.sock"

[[listeners]]
address = "127.0.0.1:@PORT@"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[policies.partners]
use = "consumer-restriction"
allow = [{ groups = ["partners"] }]

[defaults]
plugins = ["partners"]

[routes.orders]
paths = ["/orders"]
upstream = "app"
auth = ["keys"]
plugins = [{ use = "consumer-restriction", deny = [{ labels = { status = "suspended" } }] }]

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@ACME@"

[consumers.stranger]

[[consumers.stranger.credentials]]
use = "key-auth"
id = "stranger-1"
sha256 = "@STRANGER@"
"#;

/// A mistake in one place, and what has to be said about it.
struct Mistake {
    good: &'static str,
    bad: &'static str,
    said: &'static str,
}

impl Mistake {
    fn toml(&self) -> String {
        assert_eq!(GATEWAY.matches(self.good).count(), 1, "{}", self.good);
        GATEWAY.replace(self.good, self.bad)
    }
}

/// Each of these mistakes is refused at the start before anything listens, and at a reload leaves the old configuration
/// serving: a key is asked for, partners get in, strangers do not.
async fn is_refused_whole(mistakes: &[Mistake]) {
    let upstream = Upstream::start();
    let (acme, stranger) = (key("acme"), key("stranger"));
    let builder = |toml: &str| {
        let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address());
        builder.set("ACME", &acme.1).set("STRANGER", &stranger.1)
    };
    // Somebody listens there: a gateway that tried to would say so.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port();
    for mistake in mistakes {
        let (code, errors) = builder(&mistake.toml()).set("PORT", &port).fails().await;
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(mistake.said) && !errors.contains("cannot listen"), "{errors}");
    }
    let (code, errors) = builder(GATEWAY).set("PORT", &port).fails().await;
    assert!(code == 1 && errors.contains("cannot listen"), "without a mistake it comes so far: {code} {errors}");

    let gateway = builder(GATEWAY).set("PORT", "0").start().await;
    let client = Client::http1(gateway.address(0));
    for mistake in mistakes {
        gateway.rewrite(&mistake.toml());
        let Output { code, stderr, .. } = gateway.reload().await;
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(mistake.said), "{stderr}");
        let status = async |key: &str| client.get("/orders").header("x-api-key", key).send().await.status;
        assert_eq!(client.get("/orders").send().await.status, 401, "after {}", mistake.said);
        assert_eq!((status(&acme.0).await, status(&stranger.0).await), (200, 403), "after {}", mistake.said);
    }
    assert_eq!(upstream.requests(), mistakes.len());
}

#[tokio::test]
async fn a_plugin_that_is_unknown_misspelt_or_does_not_build_is_never_left_out() {
    is_refused_whole(&[
        Mistake {
            good: "{ use = \"consumer-restriction\", deny",
            bad: "{ use = \"consumer-restrictoin\", deny",
            said: "routes.orders.plugins[0].use: there is no plugin `consumer-restrictoin`",
        },
        Mistake {
            good: "auth = [\"keys\"]",
            bad: "auth = [\"kyes\"]",
            said: "routes.orders.auth[0]: there is no policy `kyes`, did you mean `keys`?",
        },
        Mistake {
            good: "deny = [{ labels = { status = \"suspended\" } }]",
            bad: "deny = []",
            said: "routes.orders.plugins[0] (consumer-restriction).deny: is empty",
        },
    ])
    .await;
}

#[tokio::test]
async fn an_invalid_default_refuses_the_configuration() {
    is_refused_whole(&[
        Mistake {
            good: "plugins = [\"partners\"]",
            bad: "plugins = [\"partnres\"]",
            said: "defaults.plugins[0]: there is no policy `partnres`, did you mean `partners`?",
        },
        Mistake {
            good: "allow = [{ groups = [\"partners\"] }]",
            bad: "allow = [{}]",
            said: "policies.partners (consumer-restriction).allow[0]: has no field",
        },
    ])
    .await;
}

#[tokio::test]
async fn the_same_default_twice_is_refused_and_names_both_places() {
    is_refused_whole(&[
        Mistake {
            good: "plugins = [\"partners\"]",
            bad: "plugins = [\"partners\", \"partners\"]",
            said: "defaults.plugins[1]: the same policy is already at defaults.plugins[0]",
        },
        Mistake {
            good: "plugins = [{ use",
            bad: "plugins = [\"partners\", { use",
            said: "routes.orders.plugins[0]: the same policy is already at defaults.plugins[0]",
        },
    ])
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_ends_a_start_and_no_process() {
    is_refused_whole(&[
        Mistake { good: "[routes.orders]", bad: "[routes.orders", said: "unclosed table" },
        Mistake {
            good: "[server]",
            bad: "include = [\"absent.toml\"]\n[server]",
            said: "there is no file `absent.toml`",
        },
        Mistake { good: "[server]", bad: "include = [\"control.sock\"]\n[server]", said: "include[0]: " },
    ])
    .await;
}
