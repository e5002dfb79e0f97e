//! README stays true: what it shows of files is what stands in them, and its tables name what there is.

use std::{fs, path::Path};

use portcullis::{plugin::Reason, proxy::refusal::Problem};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

#[test]
fn it_shows_the_files_of_the_gateway_of_ones_own() {
    let readme = read("README.md");
    for file in ["Cargo.toml", "src/main.rs", "src/ticket.rs"] {
        let text = read(&format!("tests/own-gateway/{file}"));
        assert!(readme.contains(&text), "README shows another {file}");
    }
}

#[test]
fn it_names_every_code_and_every_reason() {
    let readme = read("README.md");
    for problem in Problem::ALL {
        assert!(readme.contains(&format!("`{}`", problem.code())), "{}", problem.code());
    }
    for (reason, _) in Reason::ALL {
        assert!(readme.contains(&format!("`{reason}`")), "{reason}");
    }
}

#[test]
fn its_sample_key_is_the_one_that_the_loader_knows() {
    let readme = read("README.md");
    let key = readme.split("X-API-Key: ").nth(1).and_then(|rest| rest.split('\'').next()).expect("a key");
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(key));
    assert_eq!(digest, portcullis::config::SAMPLE_KEY_SHA256);
    assert!(read("conf/portcullis.toml").contains(&digest));
}
