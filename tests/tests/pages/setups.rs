//! What has to be there before the commands of a page are typed.

use manifold_tests::node::{Node, SECRET};
use manifold_tests::wire::{Hello, Version, Wire};
use std::future::Future;
use std::pin::Pin;

/// Clients that stay connected while the page is followed.
type SettingUp<'a> = Pin<Box<dyn Future<Output = Vec<Wire>> + 'a>>;

/// A page that is followed on a node of its own.
pub(crate) struct Page {
    /// In `docs/`.
    pub(crate) name: &'static str,
    /// It has at least so many commands.
    pub(crate) commands_min: usize,
    /// Makes what the page says that there is.
    pub(crate) set_up: fn(&Node) -> SettingUp<'_>,
}

/// The pages, in the order of their names.
pub(crate) const PAGES: &[Page] = &[
    Page { name: "audit.md", commands_min: 7, set_up: |_| Box::pin(nothing()) },
    Page { name: "backup.md", commands_min: 2, set_up: |_| Box::pin(nothing()) },
    Page { name: "commands.md", commands_min: 10, set_up: |_| Box::pin(nothing()) },
    Page { name: "operators.md", commands_min: 20, set_up: |node| Box::pin(operators(node)) },
    Page { name: "provisioning.md", commands_min: 6, set_up: |_| Box::pin(nothing()) },
    Page { name: "rules.md", commands_min: 9, set_up: |_| Box::pin(nothing()) },
    Page { name: "shadows.md", commands_min: 2, set_up: |_| Box::pin(nothing()) },
    Page { name: "tenants.md", commands_min: 20, set_up: |_| Box::pin(nothing()) },
    Page { name: "virtual-tags.md", commands_min: 10, set_up: |_| Box::pin(nothing()) },
];

async fn nothing() -> Vec<Wire> {
    Vec::new()
}

async fn operators(node: &Node) -> Vec<Wire> {
    let hello =
        |client_id: &str| Hello::new(Version::V5, client_id).user("admin", SECRET).persistent();
    let mut press = node.client(&hello("press1")).await;
    for filter in ["plant/#", "$share/crew/jobs/+"] {
        press.subscribe(filter, 1).await;
    }
    press.retain("plant/level", b"{\"v\":1}").await;
    press.retain("plant/other", b"on").await;
    node.client(&hello("press2")).await.leave().await;
    vec![press]
}
