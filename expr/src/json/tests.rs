//! Texts, paths and what they find.

use super::*;

fn written(text: &str) -> Option<String> {
    let mut out = String::new();
    write(&parse(text)?, &mut out);
    Some(out)
}

#[test]
fn texts_keep_their_digits_and_sort_their_keys() {
    for (text, expected) in [
        (r#"{"b":1.50, "a":[1e2,-0,12345678901234567890]}"#, r#"{"a":[1E+2,0,12345678901234567890],"b":1.50}"#),
        (r#""\u0041\ud83d\ude00\/\n""#, "\"A\u{1F600}/\\n\""),
        ("1 and more", "1"),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ("0.0000001", "1E-7"),
    ] {
        assert_eq!(written(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["", "1a", "01", "1.", "{a:1}", "[1,]", "\"\n\"", "nul", "NaN", "'a'", "\"\\x\""] {
        assert_eq!(written(text), None, "{text}");
    }
    assert_eq!(written(&"[".repeat(100_000)), None);
}

fn found(json: &str, path: &str) -> Result<String, ()> {
    let json = parse(json).unwrap();
    let mut out = String::new();
    write(&Path::compile(path).map_err(|_| ())?.find(&json)?, &mut out);
    Ok(out)
}

#[test]
fn paths_find_what_jayway_finds() {
    let json = r#"{"a":[{"c":1},{"c":2,"d":3},4],"b c":{"e":null},"f":"x"}"#;
    for (path, expected) in [
        ("$.a[0].c", Ok("1")),
        ("lax $.a[-1]", Ok("4")),
        ("$['b c'].e", Ok("null")),
        ("$.['f']", Ok("\"x\"")),
        ("f", Ok("\"x\"")),
        ("$.a[*].c", Ok("[1,2]")),
        ("$.a[0:2].c", Ok("[1,2]")),
        ("$.a[0,2]", Ok("[{\"c\":1},4]")),
        ("$..d", Ok("[3]")),
        ("$['a','f']", Ok("{\"a\":[{\"c\":1},{\"c\":2,\"d\":3},4],\"f\":\"x\"}")),
        ("$.g", Err(())),
        ("$.a.c", Err(())),
        ("$.f.x", Err(())),
        ("$.a[7]", Err(())),
        ("lax $.g[*]", Ok("[]")),
        ("$.g[*]", Err(())),
    ] {
        assert_eq!(found(json, path), expected.map(str::to_owned), "{path}");
    }
    assert_eq!(Path::compile("$.a b"), Err(PathError::Invalid));
    assert_eq!(Path::compile("$."), Err(PathError::Invalid));
    assert_eq!(Path::compile("$.a[?(@.b > 1)]"), Err(PathError::Unsupported));
    assert_eq!(Path::compile("$.a.length()"), Err(PathError::Unsupported));
}
