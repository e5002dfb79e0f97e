//! What `portcullis check` says about a wrong configuration, word for word.
//!
//! A case is one file of `configuration/`: the TOML, and after it the errors it must get, all of them, in order. Each
//! stands in a comment, so that the file as it lies there is what the binary reads:
//!
//! ```toml
//! [sever]
//! threads = 2
//!
//! # expect: 1:2: sever: unknown table `sever`, did you mean `server`?
//! ```
//!
//! A line that begins with a name is about an included file. A case without expectations is a good configuration, and
//! `# warn: ` is what is said of one that is hardly meant.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

mod shipped;
mod start;

/// Makes one test of each case, and keeps the list.
macro_rules! cases {
    ($($name:ident,)*) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

cases! {
    a_gateway_without_listeners,
    a_gateway_without_routes,
    a_limit_of_connections_behind_a_number_of_proxies,
    a_name_twice_in_a_file,
    a_resolver_that_is_none,
    a_secret_in_a_file,
    a_secret_in_an_unknown_place,
    a_secret_in_the_environment,
    a_secret_in_two_places,
    a_secret_of_systemd,
    a_secret_with_a_path_for_a_name,
    all_of_says_who_speaks,
    an_admin_listener_that_others_reach,
    an_admin_listener_without_a_place,
    an_admin_socket_with_a_relative_path,
    an_empty_secret,
    an_empty_secret_file,
    client_address_networks,
    client_address_of_no_use,
    client_address_without_networks,
    consumer_restriction_that_restricts_nothing,
    credentials_ids_dates_and_policies,
    credentials_that_are_nobody_s_or_never_valid,
    every_option,
    how_long_hooks_may_take,
    everything_that_is_wrong_with_a_policy,
    identity_headers_of_a_wrong_name,
    identity_headers_that_are_one,
    include_empty_of_another_kind,
    include_errors_name_their_file,
    include_of_a_wrong_type,
    include_of_files_with_nothing_in_them,
    include_that_may_be_empty,
    include_twice,
    include_what_is_not_there,
    include_with_syntax_errors,
    key_auth_places_and_limits,
    listener_tls_names_and_choices,
    months_for_minutes,
    names_beside_those_that_were_taken_out,
    names_that_are_not_known,
    networks_that_are_another,
    overlap_that_is_no_way_around,
    parameters_as_others_write_them,
    every_reference_is_known,
    a_bad_default_refuses_every_route,
    the_same_policy_twice,
    open_catch_alls_beside_protected_routes,
    the_same_server_by_another_name,
    keys_are_kept_as_hashes,
    policies_of_another_kind,
    restrictions_that_name_nobody,
    routes_say_how_they_authenticate,
    routes_that_tie,
    rules_about_parameters_that_no_path_has,
    slips_about_networks,
    scopes_that_no_credential_has,
    slips_of_names,
    slips_of_policies,
    syntax_errors,
    targets_that_are_numbers,
    the_sample_key_on_a_public_listener,
    the_sample_password_on_a_public_listener,
    two_listeners_in_one_place,
    upstream_targets_and_times,
    upstream_tls_says_who_is_believed,
    values_of_a_wrong_type,
    values_that_mean_nothing,
    what_lets_nobody_in,
    what_nothing_uses,
    what_routes_take_and_where_they_end,
    windows_of_http2,
}

#[test]
fn every_case_is_run() {
    let entries = fs::read_dir(folder()).expect("the folder of the cases");
    let files = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let mut names: Vec<String> =
        files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    let mut cases = CASES.to_vec();
    cases.sort_unstable();
    assert_eq!(names, cases);
}

/// Runs a case. Whatever differs, the whole report is shown as the case would have to have it.
fn check(name: &str) {
    let file = format!("{name}.toml");
    let text = fs::read(folder().join(&file)).expect("a case");
    let text = String::from_utf8_lossy(&text);
    let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
    let checked = portcullis_check(&[&file], &folder());
    let own = format!("{file}:");
    let said: Vec<&str> = checked.errors.iter().map(|line| line.strip_prefix(&own).unwrap_or(line)).collect();
    let shown: String = said.iter().map(|line| format!("# expect: {line}\n")).collect();
    assert_eq!(said, expected, "{file}: it says\n{shown}");
    let warned: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# warn: ")).collect();
    let warnings: Vec<&str> = checked.warnings.iter().map(|line| line.strip_prefix(&own).unwrap_or(line)).collect();
    assert_eq!(warnings, warned, "{file}: the warnings");
    assert_eq!(checked.code, if expected.is_empty() { 0 } else { 2 }, "{file}: the exit code");
    let count = match expected.len() {
        0 => None,
        1 => Some("error: the configuration has 1 problem".to_owned()),
        count => Some(format!("error: the configuration has {count} problems")),
    };
    assert_eq!(checked.last, count, "{file}: the last line");
}

/// How a check ended.
struct Checked {
    code: i32,
    /// A line each.
    errors: Vec<String>,
    /// The same.
    warnings: Vec<String>,
    /// The line that counts them.
    last: Option<String>,
    stdout: String,
}

/// Runs `portcullis check -c ...` in a folder, so that messages have short names, and without what the machine has.
fn portcullis_check(arguments: &[&str], folder: &Path) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["check", "-c"]).args(arguments).current_dir(folder);
    command.env_remove("CREDENTIALS_DIRECTORY").env("SYSTEMD_UNIT_PATH", "/nowhere");
    command.env("PORTCULLIS_TEST_TOKEN", "a token of the tests");
    let output = command.output().expect("the binary starts");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let (warnings, mut errors): (Vec<_>, Vec<_>) = stderr.lines().partition(|line| line.starts_with("warning: "));
    let warnings = warnings.iter().map(|line| &line["warning: ".len()..]);
    // Of the machine, and not of the file: how many descriptors a process may open there.
    let warnings =
        warnings.filter(|line| !line.starts_with("`server.max_connections` is")).map(str::to_owned).collect();
    let last = errors.pop().map(str::to_owned);
    let errors = errors.into_iter().map(str::to_owned).collect();
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    Checked { code: output.status.code().expect("it ends by itself"), errors, warnings, last, stdout }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/configuration")
}

/// A configuration in a folder of its own.
fn place(toml: impl AsRef<[u8]>) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    fs::write(dir.path().join("portcullis.toml"), toml).expect("a file in our own directory");
    dir
}

#[test]
fn a_file_that_is_not_there_is_an_error_of_the_configuration() {
    let dir = TempDir::new().expect("a temporary directory");
    let checked = portcullis_check(&["absent.toml"], dir.path());
    assert_eq!(
        (checked.code, checked.errors),
        (2, vec!["absent.toml:1:1: No such file or directory (os error 2)".into()])
    );
}

#[test]
fn an_empty_file_is_no_configuration() {
    let dir = place("");
    let checked = portcullis_check(&["portcullis.toml"], dir.path());
    let error = "portcullis.toml:1:1: listeners: there is no `[[listeners]]`: the gateway would accept nothing";
    assert_eq!((checked.code, checked.errors), (2, vec![error.into()]));
}

#[test]
fn a_folder_is_no_configuration() {
    let dir = TempDir::new().expect("a temporary directory");
    let checked = portcullis_check(&["."], dir.path());
    assert_eq!((checked.code, checked.errors), (2, vec![".:1:1: this is not a file".into()]));
}

#[test]
fn secrets_are_read_from_all_their_places() {
    let token = |from: &str| {
        let listeners = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
        format!("{listeners}[admin]\nlisten = \"0.0.0.0:0\"\ntoken = {from}\n")
    };
    for from in ["{ env = \"PORTCULLIS_TEST_TOKEN\" }", "{ file = \"token\" }", "\"in the file itself\""] {
        let dir = place(token(from));
        fs::write(dir.path().join("token"), "a token in a file\n").expect("a file in our own directory");
        let checked = portcullis_check(&["portcullis.toml"], dir.path());
        assert_eq!((checked.code, checked.errors, checked.last), (0, vec![], None), "{from}");
    }
}

/// As a CI machine checks it: neither the secrets nor the names of the real machine are there. Names are looked up by
/// nobody who does not ask for it.
#[test]
fn check_goes_without_secrets_where_it_is_told_to_and_without_names() {
    let dir = place(
        r#"
            [[listeners]]
            address = "127.0.0.1:0"

            [admin]
            listen = "0.0.0.0:0"
            token = { file = "absent" }

            [upstreams.orders]
            targets = ["orders.invalid:9000"]

            [routes.orders]
            paths = ["/orders"]
            upstream = "orders"
            public = true
        "#,
    );
    let full = portcullis_check(&["portcullis.toml"], dir.path());
    assert_eq!(full.code, 2);
    assert_eq!(full.errors.len(), 1, "{:?}", full.errors);
    assert!(
        full.errors[0].ends_with("admin.token: `absent`: No such file or directory (os error 2)"),
        "{:?}",
        full.errors
    );

    let without = portcullis_check(&["portcullis.toml", "--no-secrets"], dir.path());
    assert_eq!((without.code, without.errors), (0, vec![]));
    assert_eq!(without.stdout, "portcullis.toml: 1 route, 0 policies, 0 credentials\n");

    let wrong =
        fs::read_to_string(dir.path().join("portcullis.toml")).expect("our own file").replace("public", "pubic");
    fs::write(dir.path().join("portcullis.toml"), wrong).expect("our own file");
    let wrong = portcullis_check(&["portcullis.toml", "--no-secrets"], dir.path());
    let error = "portcullis.toml:15:13: routes.orders.pubic: unknown field `pubic`, did you mean `public`?";
    assert_eq!((wrong.code, wrong.errors), (2, vec![error.into()]), "everything else is checked all the same");
}

/// A file of any bytes is an error and never a panic.
#[test]
fn bytes_that_are_no_text_are_an_error() {
    let dir = place([0xff, 0xfe, 0, b'[']);
    let checked = portcullis_check(&["portcullis.toml"], dir.path());
    assert_eq!((checked.code, checked.errors), (2, vec!["portcullis.toml:1:1: byte 0 is not UTF-8".into()]));
}
