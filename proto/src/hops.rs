//! The path of a message over bridges: which namespaces it has passed, so that none takes it twice.
//!
//! It travels as a user property of the PUBLISH packet (MQTT 5.0 3.3.2.3.7): the origins of the namespaces it has
//! left, first to last, with commas between them. A namespace that finds itself on the path has had the message.
//! MQTT 3.1.1 has no such properties, so a path ends at a broker or client that speaks it.

/// The name of the user property.
pub const PATH_PROPERTY: &str = "manifold-path";

/// The most namespaces a path may hold, and the longest that is read.
pub const HOPS_MAX: usize = 32;

/// The path among user properties, if there is one.
pub fn path_of<'a, N, V>(properties: impl IntoIterator<Item = (&'a N, &'a V)>) -> Option<&'a str>
where
    N: AsRef<str> + ?Sized + 'a,
    V: AsRef<str> + ?Sized + 'a,
{
    let mut properties = properties.into_iter();
    properties.find(|(name, _)| name.as_ref() == PATH_PROPERTY).map(|(_, path)| path.as_ref())
}

/// How many namespaces a path holds.
pub fn length(path: &str) -> usize {
    if path.is_empty() { 0 } else { path.split(',').count() }
}

/// Whether a path leads through `origin`.
pub fn leads_through(path: &str, origin: &str) -> bool {
    path.split(',').take(HOPS_MAX).any(|passed| passed == origin)
}

/// The path after one more namespace.
pub fn after(path: Option<&str>, origin: &str) -> String {
    match path {
        None | Some("") => origin.to_owned(),
        Some(path) => format!("{path},{origin}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_grows_and_knows_who_is_on_it() {
        let one = after(None, "a1");
        let two = after(Some(&one), "b2");
        assert_eq!((length(""), length(&one), length(&two)), (0, 1, 2));
        assert!(leads_through(&two, "a1") && leads_through(&two, "b2"));
        assert!(!leads_through(&two, "a") && !leads_through("", "a1"));
        let properties = [("other", "x"), (PATH_PROPERTY, two.as_str())];
        assert_eq!(path_of(properties), Some("a1,b2"));
        assert_eq!(path_of([("other", "x")]), None);
    }
}
