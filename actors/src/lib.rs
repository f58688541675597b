//! The supervision tree: cluster, tenant, device, edge node, driver, admin.
