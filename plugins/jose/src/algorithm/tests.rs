use super::*;

fn parsed(json: &str) -> Result<Algorithm, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn every_name_is_read_back() {
    for algorithm in Algorithm::ALL {
        assert_eq!(parsed(&format!("{:?}", algorithm.name())), Ok(algorithm));
    }
}

#[test]
fn es512_and_both_names_of_eddsa_are_known() {
    assert_eq!(parsed("\"ES512\""), Ok(Algorithm::Es512));
    assert_eq!(parsed("\"EdDSA\""), Ok(Algorithm::EdDsa));
    assert_eq!(parsed("\"Ed25519\""), Ok(Algorithm::EdDsa));
    assert!(parsed("\"Ed448\"").is_err());
}

#[test]
fn none_is_no_algorithm_in_any_case() {
    for name in ["none", "None", "NONE", "nOnE"] {
        let error = parsed(&format!("{name:?}")).unwrap_err();
        assert!(error.contains("no signature"), "{error}");
    }
}

#[test]
fn names_have_a_case() {
    for name in ["rs256", "Rs256", "eddsa", "EDDSA", "", "RS256 ", "RS1", "ES256K"] {
        let error = parsed(&format!("{name:?}")).unwrap_err();
        assert!(error.contains("is not a signature algorithm: one of RS256"), "{error}");
    }
}
