//! Who is at an address, asked without being connected.

use super::{dirs, driver, plain};
use drivers::Connectivity;
use serde_json::json;
use sim::tank::{Kind, OpcUaServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_is_shown_before_anybody_is_trusted() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let mut config = plain(&server);
    for trusted in [false, true] {
        let mut driver = driver(&config, &[], &dirs.site);
        let found = driver.discover().await.expect("an answer").expect("OPC UA has that");
        let [tank] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((&tank["name"], &tank["is"]), (&json!("Tank"), &json!("server")));
        assert_eq!(tank["application_uri"], json!("urn:manifold:test:server"));
        let endpoints = tank["endpoints"].as_array().expect("endpoints");
        let mut ways: Vec<String> = endpoints
            .iter()
            .map(|it| format!("{} {}", it["security_policy"], it["security_mode"]))
            .collect();
        ways.sort_unstable();
        let expected = [
            r#""aes128_sha256_rsa_oaep" "sign_and_encrypt""#,
            r#""aes256_sha256_rsa_pss" "sign_and_encrypt""#,
            r#""basic256_sha256" "sign""#,
            r#""basic256_sha256" "sign_and_encrypt""#,
            r#""none" "none""#,
        ];
        assert_eq!(ways, expected);
        for endpoint in endpoints {
            assert_eq!(endpoint["users"], json!(["name", "nobody"]), "{endpoint}");
            let certificate = &endpoint["certificate"];
            if endpoint["security_policy"] == "none" {
                assert!(certificate.is_null(), "{endpoint}");
                continue;
            }
            assert_eq!(certificate["is_trusted"], trusted, "{endpoint}");
            config.trusted = vec![certificate["sha256"].as_str().expect("a hash").to_owned()];
        }
        assert_eq!(driver.health().connectivity, Connectivity::Disconnected);
    }
    let address = server.kill().await;
    let mut driver = driver(&config, &[], &dirs.site);
    let error = driver.discover().await.expect_err("nobody is there");
    assert_eq!(error.code(), "refused", "{address}: {error}");
}
