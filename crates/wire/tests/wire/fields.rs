//! The list of fields.

use wire::{Fields, Known};

#[test]
fn fields_are_a_list() {
    let mut fields = Fields::new();
    for (name, value) in [("Accept", "a"), ("X-One", "1"), ("accept", "b"), ("x-two", "2"), ("X-ONE", "3")] {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    let text = |fields: &Fields| format!("{fields:?}");
    assert_eq!(fields.get(Known::Accept), Some(&b"a"[..]));
    assert_eq!(fields.get_all(Known::Accept).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(fields.find_all(b"x-one").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(fields.find(b"ACCEPT"), Some(&b"a"[..]));
    assert_eq!((fields.get(Known::Host), fields.find(b"x-three")), (None, None));
    assert_eq!(fields.size_bytes(), "Accept: a\r\nX-One: 1\r\naccept: b\r\nx-two: 2\r\nX-ONE: 3\r\n".len());
    fields.set(Known::Accept, b"c");
    assert_eq!(text(&fields), "[Accept: c, X-One: 1, x-two: 2, X-ONE: 3]");
    fields.set(Known::Host, b"h");
    assert!(fields.remove_named(b"x-one"));
    assert!(!fields.remove_named(b"x-one") && !fields.remove(Known::Via));
    assert!(fields.remove(Known::Accept) && !fields.remove_named(b"accept"));
    assert_eq!(text(&fields), "[x-two: 2, Host: h]");
    fields.push(b"X-Api-Key", b"sentinel");
    fields.push(b"Authorization", b"sentinel");
    fields.push(b"My-Session-Token", b"sentinel");
    fields.retain(|field| field.known != Known::Host);
    assert_eq!(
        text(&fields),
        "[x-two: 2, X-Api-Key: [8 bytes], Authorization: [8 bytes], My-Session-Token: [8 bytes]]"
    );
    fields.clear();
    for crumb in ["a=1", "b=2"] {
        fields.push(b"cookie", crumb.as_bytes());
        fields.push(b"x", b"y");
    }
    fields.join_cookies();
    assert_eq!((fields.len(), fields.get(Known::Cookie)), (3, Some(&b"a=1; b=2"[..])));
}
