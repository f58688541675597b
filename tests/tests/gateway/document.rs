//! `/api/openapi.json` beside the catalogue of the node that serves it.

use manifold_tests::http::Request;
use manifold_tests::node::{SECRET, Site};

#[tokio::test]
async fn the_document_has_every_operation_of_the_catalogue_and_no_other() {
    let node = Site::new().start().await;
    let document = Request::get("/api/openapi.json").send(&node).await;
    assert_eq!((document.status, document.header("content-type")), (200, Some("application/json")));
    let again = Request::get("/api/openapi.json").send(&node).await;
    assert_eq!(document.body, again.body);
    let document = document.json();
    let catalogue = Request::get("/api/$catalog/get").user("admin", SECRET).send(&node).await;
    let catalogue = catalogue.data();
    let mut paths = vec!["/ingest/{topic}".to_owned()];
    for resource in catalogue["resources"].as_array().unwrap() {
        for operation in resource["operations"].as_array().unwrap() {
            let (resource, verb) = (&resource["resource"], &operation["verb"]);
            let path = format!("/api/{}/{}", resource.as_str().unwrap(), verb.as_str().unwrap());
            let post = &document["paths"][&path]["post"];
            let schema = &post["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(*schema, operation["request"], "{path}");
            paths.push(path);
        }
    }
    let mut in_document: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    in_document.sort();
    paths.sort();
    assert_eq!(in_document, paths.iter().collect::<Vec<_>>());
}
