//! What a reload takes protection from: a folder that is gone for a moment, a route that leaves its paths to a wider one.

use std::fs;

use crate::harness::{Client, Gateway, Output, Upstream, key};

const GATEWAY: &str = r#"
include = ["conf.d/*.toml"]

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"

[routes.everything]
paths = ["/{*rest}"]
upstream = "app"
public = true
overlap = "accepted"
"#;

const ADMIN: &str = r#"
[routes.admin]
hosts = ["*.example.com", "admin.test"]
paths = ["/admin/{id}/{*rest}", "/admin"]
upstream = "app"
auth = ["keys"]
"#;

struct Scene {
    gateway: Gateway,
    _upstream: Upstream,
}

/// A gateway with this file in `conf.d`.
async fn start(toml: &str, included: &str) -> Scene {
    let upstream = Upstream::start();
    let builder = Gateway::builder(toml).set("UPSTREAM", &upstream.address()).set("SHA256", &key("acme").1);
    let gateway = builder.file("conf.d/routes.toml", included).start().await;
    Scene { gateway, _upstream: upstream }
}

impl Scene {
    async fn reload_with(&self, included: &str) -> Output {
        self.gateway.replace("conf.d/routes.toml", included);
        self.gateway.reload().await
    }

    /// The warnings of a reload that is taken.
    async fn warned(&self, included: &str) -> String {
        let reload = self.reload_with(included).await;
        assert_eq!(reload.code, 0, "{reload:?}");
        reload.stderr
    }

    async fn status_of(&self, host: &str, target: &str) -> u16 {
        Client::http1(self.gateway.address(0)).get(target).host(host).send().await.status
    }
}

/// As a deployment does it that moves the old folder away before it moves the new one in.
#[tokio::test]
async fn a_folder_that_is_gone_for_a_moment_opens_nothing() {
    let scene = start(GATEWAY, ADMIN).await;
    let folder = scene.gateway.dir().join("conf.d");
    let away = scene.gateway.dir().join("away");
    fs::rename(&folder, &away).expect("our own folder");
    let gone = scene.gateway.reload().await;
    assert_eq!(gone.code, 2, "{gone:?}");
    assert!(gone.stderr.contains("include[0]: there is no folder `"), "{}", gone.stderr);
    fs::create_dir(&folder).expect("our own folder");
    let empty = scene.gateway.reload().await;
    assert!(empty.code == 2 && empty.stderr.contains("include[0]: no file matches `conf.d/*.toml`"), "{empty:?}");
    fs::write(folder.join("routes.toml"), "").expect("our own file");
    let hollow = scene.gateway.reload().await;
    assert!(hollow.code == 2 && hollow.stderr.contains("this file is empty"), "{hollow:?}");
    assert_eq!(scene.status_of("admin.test", "/admin").await, 401);

    // Editors leave these beside the file, and nobody means them.
    fs::rename(away.join("routes.toml"), folder.join("routes.toml")).expect("our own file");
    fs::write(folder.join(".old.toml"), ADMIN.replace("auth = [\"keys\"]", "public = true")).expect("our own file");
    std::os::unix::fs::symlink("somebody@somewhere.1", folder.join(".#routes.toml")).expect("a link");
    let reload = scene.gateway.reload().await;
    assert_eq!((reload.code, reload.stderr.as_str()), (0, ""), "{reload:?}");
    assert_eq!(scene.status_of("admin.test", "/admin").await, 401);
}

#[tokio::test]
async fn a_route_that_leaves_its_paths_to_a_public_one_is_told_loudly() {
    let accepted = GATEWAY.replace("\n\n[[listeners]]", "\ninclude_empty = \"accepted\"\n\n[[listeners]]");
    let scene = start(&accepted, ADMIN).await;
    let warned = scene.warned("").await;
    let said = "the route `admin` is gone, and the route `everything`, which is public, takes its requests: GET \
                portcullis-sample.example.com/admin/portcullis-sample/portcullis-sample now reaches `app`";
    assert!(warned.starts_with(&format!("warning: {said}\n")), "{warned}");
    assert!(warned.contains("policies.keys (key-auth): no route uses this"), "{warned}");
    let line = scene.gateway.wait_line(|line| line["event"] == "exposed", crate::harness::LIMIT).await;
    assert_eq!((&line["level"], &line["paths"], &line["generation"]), (&"warn".into(), &said.into(), &2.into()));
    assert_eq!(scene.status_of("admin.test", "/admin").await, 200, "it was taken all the same");
    assert_eq!(scene.warned(ADMIN).await, "", "nothing is lost by a route that comes");
}

#[tokio::test]
async fn a_route_that_asks_for_less_is_told_and_one_that_asks_for_as_much_is_not() {
    const OTHERS: &str = r#"
[routes.behind]
paths = ["/t/{*rest}"]
upstream = "app"
auth = ["keys"]
"#;
    const TEAM: &str = r#"
[routes.team]
paths = ["/t/team"]
methods = ["POST"]
headers = { x-version = "2" }
upstream = "app"
auth = ["keys"]
"#;
    let restricted =
        TEAM.to_owned() + "plugins = [{ use = \"consumer-restriction\", allow = [{ groups = [\"partners\"] }] }]\n";
    let scene = start(GATEWAY, &format!("{OTHERS}{restricted}")).await;
    let less = |what: &str| format!("warning: the route `team` {what}: POST /t/team now reaches `app`\n");
    assert_eq!(scene.warned(&format!("{OTHERS}{}", restricted.replace("team]", "renamed]"))).await, "");
    scene.warned(&format!("{OTHERS}{restricted}")).await;
    let lost = "is gone, and the route `behind`, which goes without `team/consumer-restriction`, takes its requests";
    assert_eq!(scene.warned(OTHERS).await, less(lost));
    assert_eq!(scene.warned(&format!("{OTHERS}{TEAM}")).await, "");
    assert_eq!(scene.warned(OTHERS).await, "", "what takes it asks for the same");
    scene.warned(&format!("{OTHERS}{TEAM}")).await;
    let public = TEAM.replace("auth = [\"keys\"]", "public = true");
    assert_eq!(scene.warned(&format!("{OTHERS}{public}")).await, less("has changed, and is public"));
    scene.warned(&format!("{OTHERS}{TEAM}")).await;
    let guests = TEAM.replace("auth = [\"keys\"]", "auth = [\"keys\"]\nanonymous = \"acme\"");
    let said = less("has changed, and lets in who has no credential");
    assert_eq!(scene.warned(&format!("{OTHERS}{guests}")).await, said);
}
