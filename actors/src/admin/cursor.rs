//! Cursors of lists that are not lists of rows: the resource, and where the page before ended. One of another
//! resource is refused.

use proto::{Refusal, RefusalCode};

/// The cursor after `place`.
pub(super) fn after(resource: &str, place: impl std::fmt::Display) -> String {
    format!("{resource}:{place}")
}

/// The place of a cursor.
pub(super) fn place<T, E>(
    resource: &str,
    cursor: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Refusal> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text = cursor.strip_prefix(resource).and_then(|rest| rest.strip_prefix(':'));
    let place = text.and_then(|text| parse(text).ok());
    place.map(Some).ok_or_else(|| {
        let message = format!("it is no cursor of {resource}");
        Refusal::new(RefusalCode::Invalid, message).at("cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_nowhere_else() {
        let number = |text: &str| text.parse::<u8>();
        let cursor = after("things", 7);
        assert_eq!(place("things", Some(&cursor), number), Ok(Some(7)));
        assert_eq!(place("things", None, number), Ok(None));
        for (resource, cursor) in
            [("thing", "things:7"), ("things", "7"), ("things", "things:x"), ("things", "")]
        {
            let refusal = place(resource, Some(cursor), number).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.field.as_deref()),
                (RefusalCode::Invalid, Some("cursor"))
            );
        }
    }
}
