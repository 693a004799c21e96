//! What tidy takes for code, and how it counts functions.

use xtask::tidy::{functions, mask};

#[test]
fn comments_and_literals_are_told_from_code() {
    let check = |source: &str, code: &str| assert_eq!(mask(source).code, code, "{source}");
    check("a // fn b\nc", "a        \nc");
    check("a /* /* fn */ } */ b", "a                  b");
    check(r#"let a = "} // \" {"; b"#, r#"let a = ~~~~~~~~~~~; b"#);
    check(r##"r#"} " {"# x"##, "~~~~~~~~~~ x");
    check("r#fn + br\"{\"", "r#fn + ~~~~~");
    check(r"'{' '\'' 'a fn b<'b>", "~~~ ~~~~ 'a fn b<'b>");
    check("\"ü}\" é", "~~~~ é");
    check("\"open", "~~~~~");
}

#[test]
fn a_function_is_as_long_as_the_code_in_its_body() {
    let check = |source: &str, expect: &[(&str, usize)]| {
        let found: Vec<(String, usize)> = functions(source).into_iter().map(|f| (f.name, f.lines)).collect();
        let found: Vec<(&str, usize)> = found.iter().map(|(name, lines)| (name.as_str(), *lines)).collect();
        assert_eq!(found, expect, "{source}");
    };
    check("fn a() {\n    x;\n\n    // why\n    y;\n}\n", &[("a", 2)]);
    check("fn a(f: fn (u8) -> u8) -> [u8; 3];", &[]);
    check("fn a(x: [u8; 3]) {\n    \"}\";\n    1;\n}", &[("a", 2)]);
    check("fn a() {\n    fn b() {\n        1\n    }\n}", &[("a", 3), ("b", 1)]);
    check("macro_rules! m { ($n:ident) => { fn $n() {} } }", &[]);
    check("struct Often {}\nimpl Often { fn c() { 1 } }", &[("c", 1)]);
}
