//! No verb of the catalogue without a test or a command of a page that is run, and no page with a verb that is not
//! there.

use super::{ELSEWHERE, pages};
use manifold_tests::admin::Admin;
use manifold_tests::house::source::sources;
use manifold_tests::house::workspace;
use manifold_tests::node::Site;
use serde_json::json;
use std::collections::BTreeSet;

type Verb = (String, String);

async fn catalogue() -> BTreeSet<Verb> {
    let node = Site::new().start().await;
    let catalogue = Admin::enter(&node).await.must("$catalog", "get", json!({})).await;
    let text = |value: &serde_json::Value| value.as_str().expect("a name is text").to_owned();
    let mut verbs = BTreeSet::new();
    for resource in catalogue["resources"].as_array().expect("there are resources") {
        for operation in resource["operations"].as_array().expect("there are operations") {
            verbs.insert((text(&resource["resource"]), text(&operation["verb"])));
        }
    }
    verbs
}

/// The verbs that a page asks for: `ctl <resource> <verb>`, `api/<resource>/<verb>`, `admin/<resource>/<verb>`.
fn asked(page: &str) -> BTreeSet<Verb> {
    let is_name = |word: &str| {
        let word = word.strip_prefix('$').unwrap_or(word);
        !word.is_empty() && word.chars().all(|it| it.is_ascii_lowercase() || it == '_')
    };
    let mut verbs = BTreeSet::new();
    let words: Vec<&str> =
        page.split(|it: char| it.is_whitespace() || "`'\"?".contains(it)).collect();
    for three in words.windows(3) {
        if three[0] == "ctl" && is_name(three[1]) && is_name(three[2]) {
            verbs.insert((three[1].to_owned(), three[2].to_owned()));
        }
    }
    for word in words {
        let path = word.rsplit_once("api/").or_else(|| word.rsplit_once("admin/"));
        let mut names = path.map_or("", |(_, rest)| rest).split('/');
        if let (Some(resource), Some(verb)) = (names.next(), names.next())
            && is_name(resource)
            && is_name(verb)
        {
            verbs.insert((resource.to_owned(), verb.to_owned()));
        }
    }
    verbs
}

/// Whether a test asks for it, in any of the ways in which tests do.
fn is_in(tests: &str, (resource, verb): &Verb) -> bool {
    let ways = [
        format!("\"{resource}\", \"{verb}\""),
        format!("admin/{resource}/{verb}"),
        format!("api/{resource}/{verb}"),
        format!("{resource} {verb} "),
    ];
    ways.iter().any(|way| tests.contains(way))
}

#[tokio::test]
async fn no_verb_is_without_a_test_or_a_page_that_is_run() {
    let catalogue = catalogue().await;
    let all = sources(&workspace());
    let tests = all.iter().filter(|source| source.path.starts_with("tests/tests/"));
    // Calls may go over several lines.
    let tests: Vec<&str> = tests.flat_map(|source| source.text.split_whitespace()).collect();
    let tests = tests.join(" ").replace("( ", "(");
    let is_run = |page: &str| page != "benchmarks.md" && page != "conformance.md";
    let run = pages().into_iter().filter(|(name, _)| is_run(name));
    let shown: BTreeSet<Verb> = run.flat_map(|(_, text)| asked(&text)).collect();
    let untested = catalogue.iter().filter(|verb| !is_in(&tests, verb) && !shown.contains(*verb));
    let untested: Vec<_> = untested.collect();
    assert!(untested.is_empty(), "without a test: {untested:?}");
}

#[tokio::test]
async fn pages_ask_for_what_is_there() {
    let catalogue = catalogue().await;
    for (name, text) in pages() {
        let unknown: Vec<_> =
            asked(&text).into_iter().filter(|it| !catalogue.contains(it)).collect();
        assert!(unknown.is_empty(), "docs/{name}: {unknown:?}");
    }
    assert!(ELSEWHERE.len() > 1 && catalogue.len() > 30);
}

#[test]
fn verbs_are_found_in_all_their_forms() {
    let page = "`manifold ctl things get thing=x`, curl http://h/api/users/list?a=1, `admin/$catalog/get`, \
                ctl <resource> <verb>, admin/<resource>/<verb>";
    let found: Vec<Verb> = asked(page).into_iter().collect();
    let expected = [("$catalog", "get"), ("things", "get"), ("users", "list")];
    assert_eq!(found, expected.map(|(resource, verb)| (resource.to_owned(), verb.to_owned())));
}
