//! The admin interface's settings.

use super::*;

#[test]
fn the_admin_interface_beyond_loopback_needs_a_token() {
    let place = |more: &[_]| config(more).unwrap().admin.listen.map(|place| place.to_string());
    assert_eq!(place(&[]).as_deref(), Some("127.0.0.1:9433"));
    assert_eq!(place(&[("ADMIN_LISTEN", "localhost")]).as_deref(), Some("localhost:9433"));
    assert_eq!(place(&[("ADMIN_LISTEN", "[::1]:0")]).as_deref(), Some("[::1]:0"));
    assert_eq!(place(&[("ADMIN_LISTEN", "off")]), None);

    let token = ("ADMIN_TOKEN", "a-token-of-the-tests");
    for listen in ["0.0.0.0:9433", "10.0.0.1", "[::]:9433", "gateway.example:80"] {
        let complaints = complaints(&[("ADMIN_LISTEN", listen)]);
        assert_eq!(complaints.len(), 1, "{listen}: {complaints:?}");
        assert!(
            complaints[0].starts_with("ADMIN_LISTEN: ") && complaints[0].contains("ADMIN_TOKEN")
        );
        let with_token = config(&[("ADMIN_LISTEN", listen), token]).unwrap();
        let shown = with_token.shown.iter().find(|shown| shown.name == "ADMIN_TOKEN").unwrap();
        assert_eq!(shown.value, "***");
        assert!(!format!("{with_token:?}").contains(token.1));
    }
    for (name, value) in [
        ("ADMIN_LISTEN", "9433:"),
        ("ADMIN_LISTEN", "http://127.0.0.1"),
        ("ADMIN_LISTEN", "127.0.0.1:65536"),
        ("ADMIN_TOKEN", "fifteen-letters"),
        ("ADMIN_TOKEN", "with a blank in the token"),
    ] {
        assert_eq!(complaints(&[(name, value)]).len(), 1, "{name}={value}");
    }
    // A port alone is no address, with a token either.
    let complaints = complaints(&[("ADMIN_LISTEN", "9433"), token]);
    assert!(complaints.len() == 1 && complaints[0].contains("host:port"), "{complaints:?}");
}
