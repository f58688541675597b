//! Tables: what is refused and how it is told, and which layer wins.

use super::*;
use std::io::Write as _;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_text(text: &str) -> Result<Config, String> {
    let file = file(text);
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    load(&sources).map_err(|error| error.to_string())
}

fn load_set(settings: &[&str]) -> Result<Config, String> {
    let settings = settings.iter().map(|text| (*text).to_owned()).collect();
    load(&Sources { settings, ..Sources::default() }).map_err(|error| error.to_string())
}

#[test]
fn no_layer_gives_the_defaults() {
    assert_eq!(load(&Sources::default()).unwrap(), Config::default());
    assert_eq!(load_text("").unwrap(), Config::default());
}

#[test]
fn what_is_wrong_with_an_edge_node_is_told_as_well() {
    let cases = [
        ("role = \"paint\"", "role: `paint` is not a role; `hub` and `edge` are"),
        ("role = \"edge\"", "edge.id: an edge node needs a name"),
        ("role = \"edge\"\nedge.id = \"local\"", "edge.id: `local` is the edge node within a hub"),
        ("role = \"edge\"\nedge.id = \"a b\"", "edge.id: "),
        ("edge.id = \"press\"", "edge.id: only a node with role"),
        ("uplink.url = \"mqtt://hub\"", "uplink.url: only a node with role"),
        ("uplink.bytes_max = 1000", "uplink.bytes_max"),
        ("uplink.age_max_hours = 0", "uplink.age_max_hours"),
        ("uplink.filters = [\"a/#/b\"]", "uplink.filters: `a/#/b`"),
        ("uplink.namespace = \"plant\"", "uplink.namespace"),
        ("role = \"edge\"\nedge.id = \"p\"\n[uplink]\nurl = \"http://hub\"", "uplink.url: "),
        (
            "role = \"edge\"\nedge.id = \"p\"\n[uplink]\nurl = \"mqtt://hub\"\nfilters = [\"admin/#\"]",
            "uplink.filters: `admin/#` has topics that never leave a node",
        ),
        (
            "role = \"edge\"\nedge.id = \"p\"\n[uplink]\nurl = \"mqtt://hub\"\nuser = \"p\"\nenrolment = \"e\"",
            "uplink.user: with an enrolment",
        ),
        (
            "role = \"edge\"\nedge.id = \"p\"\n[uplink]\nurl = \"mqtts://hub\"\nkey = \"k.pem\"",
            "uplink.key: a certificate and its key belong together",
        ),
        (
            "role = \"edge\"\nedge.id = \"p\"\n[uplink]\nurl = \"mqtt://hub\"\nsecret = \"s\"\nsecret_file = \"s\"",
            "uplink.secret_file: there is uplink.secret as well",
        ),
    ];
    for (text, expected) in cases {
        let error = load_text(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n  told: {error}\n  expected: {expected}");
    }
}

#[test]
fn what_is_wrong_is_told_with_the_path_of_its_key() {
    let cases = [
        ("[listen]\nmqqt = \"\"", "listen.mqqt: there is no such key; there are mqtt, mqtts"),
        (
            "nothing = 1",
            "configuration: nothing: there is no such key; there are role, workers, data",
        ),
        ("[limits]\nconnections_max = \"many\"", "limits.connections_max: it is string \"many\""),
        ("[limits]\nconnections_max = 0", "limits.connections_max: 0 is not within 1..=10000000"),
        ("[limits]\nconnections_max = -1", "limits.connections_max"),
        ("[limits]\npacket_bytes_max = 5", "limits.packet_bytes_max: 5 is not within 1024..="),
        (
            "[data]\ndurability = \"relaxed\"",
            "data.durability: `relaxed` is none of `sync`, `interval`",
        ),
        ("[data]\nsync_interval_ms = 0", "data.sync_interval_ms: 0 is not within 1..=60000"),
        ("[data.namespaces]\n\"acme\" = \"memory\"", "data.namespaces.acme: "),
        ("[data]\ndir = \"\"", "data.dir: a directory is needed"),
        ("[listen]\nmqtt = \"localhost\"", "listen.mqtt: `localhost` is not an address"),
        ("[listen]\nmqtt = [\"0.0.0.0:1\", \"x\"]", "listen.mqtt: `x` is not an address"),
        ("[listen]\nmqtt = 1883", "listen.mqtt"),
        ("[listen]\nmqtts = \"0.0.0.0:8883\"", "tls.certificate: a listener with TLS needs it"),
        ("[listen]\nwss = \"0.0.0.0:8884\"", "tls.key: a listener with TLS needs it"),
        ("[listen]\nunix_mode = \"rw\"", "listen.unix_mode: `rw` is not a mode"),
        ("[tls]\nclient_auth = \"maybe\"", "tls.client_auth"),
        ("[tls]\nclient_name = \"cn\"", "tls.client_auth: clients that show no certificate"),
        ("[tls]\ncrl = [\"a\"]", "tls.crl: it needs client_auth"),
        ("[tls]\nversion_min = \"1.1\"", "tls.version_min"),
        ("[tls]\nreload_secs = 0", "tls.reload_secs: 0 is not within"),
        (
            "[[listen.listener]]\nname = \"a b\"\nkind = \"mqtt\"\naddress = \"0.0.0.0:1\"",
            "listen.listener.0.name: 1 to 64 letters",
        ),
        (
            "[[listen.listener]]\nname = \"a\"\nkind = \"mqtts\"\naddress = \"0.0.0.0:1\"",
            "tls.certificate: a listener with TLS needs it",
        ),
        (
            "[[listen.listener]]\nname = \"a\"\nkind = \"mqtt\"\naddress = \"0.0.0.0:1\"\n\
             proxy_protocol = [\"10.0.0.0/99\"]",
            "`10.0.0.0/99` is neither an address nor a network",
        ),
        ("[log]\nlevel = \"a=b=c\"", "log.level: `a=b=c` is not understood"),
        ("[log]\nlevel = \"\"", "log.level: a level is needed"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("[telemetry]\notlp_endpoint = \"x\"", "telemetry.otlp_endpoint: `x` is not a URL"),
        ("[telemetry]\notlp_endpoint = \"https://h:1\"", "telemetry.otlp_endpoint: TLS is not"),
        ("[security.anonymous]\nrole = \"app\"", "security.anonymous.namespace: it is missing"),
        ("[security]\nanonymous = true", "security.anonymous"),
        (
            "[security]\nanonymous = { namespace = \"default/default\", role = \"project_admin\" }",
            "security.anonymous.role: a client without a name cannot be `project_admin`",
        ),
        (
            "[security]\nanonymous = { namespace = \"default\", role = \"app\" }",
            "security.anonymous.namespace: not a valid namespace",
        ),
        (
            "[security]\nanonymous = { namespace = \"system/system\", role = \"app\" }",
            "security.anonymous.namespace: the tenant `system` takes no strangers",
        ),
    ];
    for (text, expected) in cases {
        let error = load_text(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n  told: {error}\n  expected: {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn all_values_outside_their_limits_are_told_at_once() {
    let error =
        load_set(&["limits.connections_max=0", "limits.shadow_depth_max=1000"]).unwrap_err();
    assert!(error.contains("connections_max") && error.contains("shadow_depth_max"), "{error}");
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_told_with_its_name() {
    let file = file("[listen]\nmqtt = \n");
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains(" line 2 is not TOML"), "{error}");
    let sources = Sources { file: Some("/nowhere/x.toml".into()), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration /nowhere/x.toml"), "{error}");
}

#[test]
fn the_file_gives_way_to_the_environment_and_that_to_set() {
    let file = file("[limits]\nconnections_max = 1\ninflight_max = 1\nshadow_depth_max = 1\n");
    let env = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let config = load(&Sources {
        file: Some(file.path().to_owned()),
        env: vec![
            env("MANIFOLD__LIMITS__INFLIGHT_MAX", "2"),
            env("MANIFOLD__LIMITS__SHADOW_DEPTH_MAX", "2"),
            env("MANIFOLD_URL", "mqtt://elsewhere"),
            env("PATH", "/bin"),
        ],
        settings: vec!["limits.shadow_depth_max=3".to_owned()],
    })
    .unwrap();
    assert_eq!(config.limits.connections_max, 1);
    assert_eq!(config.limits.inflight_max, 2);
    assert_eq!(config.limits.shadow_depth_max, 3);
}

#[test]
fn an_unknown_variable_is_told_by_its_name() {
    let env = vec![("MANIFOLD__LISTEN__MQQT".to_owned(), String::new())];
    let error = load(&Sources { env, ..Sources::default() }).unwrap_err().to_string();
    assert!(error.contains("environment MANIFOLD__LISTEN__MQQT"), "{error}");
}

#[test]
fn settings_read_as_toml_or_as_text() {
    let config = load_set(&[
        "listen.mqtt=0.0.0.0:0",
        "listen.ws=",
        "listen.http=[\"127.0.0.1:1\", \"[::1]:2\"]",
        "data.dir=/tmp/a=b c",
        "log.level=info,broker=debug",
        "security.anonymous={ namespace = \"a/b\", role = \"user\" }",
    ])
    .unwrap();
    assert_eq!(config.listen.mqtt.0, ["0.0.0.0:0".parse().unwrap()]);
    assert!(config.listen.ws.0.is_empty());
    assert_eq!(config.listen.http.0.len(), 2);
    assert_eq!(config.data.dir, Path::new("/tmp/a=b c"));
    assert_eq!(config.log.level, "info,broker=debug");
    assert_eq!(config.security.anonymous.unwrap().namespace.to_string(), "a/b");
    let quoted = load_set(&["data.dir=\"2026\""]).unwrap();
    assert_eq!(quoted.data.dir, Path::new("2026"));
    let dated = load_set(&["data.dir=2026-01-01"]).unwrap();
    assert_eq!(dated.data.dir, Path::new("2026-01-01"));
    let broken = load_set(&["data.dir=1\nlimits.inflight_max=2"]).unwrap();
    assert_eq!(broken.limits, Config::default().limits);
}

#[test]
fn a_setting_without_a_key_or_a_value_is_refused() {
    for setting in ["listen.mqtt", "=x", ".a=1", "a..b=1", "a.=1"] {
        let error = load_set(&[setting]).unwrap_err();
        assert!(error.contains("it must read section.key=value"), "{error}");
    }
}

#[test]
fn what_is_wrong_with_the_ways_in_is_told_as_well() {
    for (text, expected) in [
        ("[security]\nchain = []", "security.chain: nobody could come in"),
        (
            "[security]\nchain = [\"password\", \"password\"]",
            "security.chain: a way in stands there twice",
        ),
        ("[security]\nchain = [\"magic\"]", "security.chain"),
        ("[[security.jwt]]\nissuer = \"x\"", "security.jwt: exactly one of public_key_file"),
        (
            "[security]\nchain = [\"password\"]\n[[security.jwt]]\nsecret_file = \"x\"",
            "security.jwt: \"jwt\" is not in security.chain",
        ),
        (
            "[[security.jwt]]\nsecret_file = \"x\"\nleeway_secs = 601",
            "leeway_secs: 601 is not within",
        ),
        ("[[security.jwt]]\nsecret_file = \"x\"\nalgorithms = [\"none\"]", "algorithms"),
        ("[security.http]\nurl = \"ftp://host\"", "security.http.url: `ftp://host` is not a URL"),
        ("[security.http]\nurl = \"http://host\"\nrequests_max = 0", "requests_max: 0 is not"),
        ("[security.lockout]\nwatched_max = 1", "security.lockout.watched_max: 1 is not within"),
    ] {
        let error = load_text(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n  told: {error}\n  expected: {expected}");
    }
}

#[test]
fn what_is_wrong_with_the_bounds_of_a_namespace_is_told_as_well() {
    for (text, expected) in [
        (
            "[limits.namespaces]\n\"acme\" = { connections_max = 1 }",
            "limits.namespaces.acme: not a valid namespace",
        ),
        ("[limits.namespaces]\n\"a/b\" = { conections_max = 1 }", "conections_max: there is no"),
        (
            "[limits.namespaces]\n\"a/b\" = { publish_messages_per_sec_max = 1000000001 }",
            "limits.namespaces.a/b.publish_messages_per_sec_max: 1000000001 is not within 0..=",
        ),
    ] {
        let error = load_text(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n  told: {error}\n  expected: {expected}");
    }
}

#[test]
fn what_strangers_may_do_is_checked_and_survives_being_written() {
    let load_acl = |acl: &str| {
        let table = format!("{{ namespace = \"a/b\", role = \"app\", acl = {acl} }}");
        load_set(&[&*format!("security.anonymous={table}")])
    };
    let good = r#"[{ permission = "allow", action = "all", topic = "a/%c/#", qos_max = 1 }]"#;
    let config = load_acl(good).unwrap();
    assert_eq!(load_text(&toml::to_string(&config).unwrap()).unwrap(), config);
    assert_eq!(config.security.strangers().unwrap().acl.unwrap()[0].topic, "a/%c/#");
    for (acl, expected) in [
        (good.replace("/%c/#", "/#/b"), "acl: the topic of rule 0 is no topic filter"),
        (good.replace("= 1", "= 3"), "acl: qos_max of rule 0 is not 0, 1 or 2"),
        (good.replace("topic", "filter"), "security.anonymous.acl"),
        (good.replace("all\"", "some\""), "security.anonymous.acl"),
    ] {
        let error = load_acl(&acl).unwrap_err();
        assert!(error.contains(expected), "{acl}\n  told: {error}");
    }
}

#[test]
fn what_is_said_of_tokens_and_hooks_is_read_and_survives_being_written() {
    let config = load_set(&[
        "security.chain=[\"jwt\", \"http\"]",
        "security.jwt=[{ secret_file = \"s\", roles = [\"app\"], namespace = \"a/b\" }]",
        "security.http={ url = \"https://host:1/x?y=z\", authorise = true }",
        "security.lockout.failures_max=0",
    ])
    .unwrap();
    assert_eq!(load_text(&toml::to_string(&config).unwrap()).unwrap(), config);
    let broker = config.security.broker();
    assert_eq!((broker.chain.len(), broker.jwt.len(), broker.lockout.failures_max), (2, 1, 0));
    assert_eq!(broker.jwt[0].namespace.to_string(), "a/b");
    assert!(broker.http.unwrap().authorise);
}

#[test]
fn a_configuration_survives_being_written() {
    let config = load_set(&[
        "security.anonymous={ namespace = \"a/b\", role = \"user\" }",
        "limits.namespaces={ \"a/b\" = { connections_max = 1 } }",
    ])
    .unwrap();
    assert_eq!(load_text(&toml::to_string(&config).unwrap()).unwrap(), config);
}

const EXAMPLE: &str = include_str!("../../../../config/manifold.toml");

/// A commented key: `#key = value`, without a blank after the mark; prose has one.
fn uncommented() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_the_defaults_commented_and_uncommented() {
    assert_eq!(load_text(EXAMPLE).unwrap(), Config::default());
    assert_eq!(load_text(&uncommented()).unwrap(), Config::default());
}

#[test]
fn the_example_names_every_key() {
    let example: toml::Table = toml::from_str(&uncommented()).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (section, value) in &defaults {
        let Some(keys) = value.as_table() else {
            assert!(example.contains_key(section), "{section} is not in the example");
            continue;
        };
        for key in keys.keys() {
            let documented = example[section].as_table().unwrap().contains_key(key);
            assert!(documented, "{section}.{key} is not in the example");
        }
    }
}
