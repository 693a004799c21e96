//! Texts that nobody would write by hand: each must end soon, with facts or with a problem, and never with a panic.

use probe::config::{Configuration, Format, Given, Problem, Source, read_sources};

fn read(format: Format, files: &[(&str, &str)]) -> Configuration {
    let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    let (path, text) = own(&files[0]);
    let source = Source { path, text, format: Some(format) };
    read_sources(&[source], &Given::new(files.iter().map(own)), &[])
}

fn said(configuration: &Configuration) -> Vec<String> {
    let line = |problem: &Problem| format!("{}:{}: {}", problem.path, problem.line, problem.message);
    configuration.problems.iter().map(line).collect()
}

fn formats() -> impl Iterator<Item = Format> {
    Format::ALL.iter().map(|(format, _)| *format)
}

/// A small generator (xorshift) is enough: the same bytes on every run.
fn random(seed: u64, length: usize) -> String {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Half of it are signs that some format gives a meaning.
    let signs: Vec<char> = "{}[]();=\"'\\#$<>/:-,.%!\n\n \t@&*|".chars().collect();
    let sign = |n: u64| signs[usize::try_from(n).unwrap() % signs.len()];
    (0..length)
        .map(|_| match next() % 2 {
            0 => sign(next() % 1000),
            _ => char::from_u32(u32::try_from(next() % 0x250).unwrap()).unwrap_or('x'),
        })
        .collect()
}

#[test]
fn random_texts_are_survived() {
    for format in formats() {
        for seed in 0..60 {
            read(format, &[("random", &random(seed * 7919 + 1, 2000))]);
        }
    }
    for seed in 0..200 {
        let text = random(seed * 104_729 + 3, 600);
        Format::of("random", &text);
        Format::of("random.yaml", &text);
        Format::of("random.py", &text);
    }
}

#[test]
fn words_of_every_format_in_any_order_are_survived() {
    let words = [
        "server",
        "{",
        "}",
        "location",
        "/",
        "proxy_pass",
        "http://a:1",
        ";",
        "upstream",
        "a",
        "<VirtualHost",
        "*:80>",
        "</VirtualHost>",
        "ProxyPass",
        "backend",
        "b",
        "timeout",
        "connect",
        "5s",
        "\n",
        "\n",
        "[Service]",
        "ExecStart=",
        "gunicorn",
        "-b",
        "unix:",
        "bind",
        "=",
        "'x",
        "(",
        "include",
        "\"",
        "${A:-",
        "-w",
        "Include",
        "\\\n",
        "default_backend",
        "services:",
        "apiVersion:",
        "kind:",
        "- ",
        "  ",
        "reverse_proxy",
        "static_resources:",
    ];
    for format in formats() {
        for seed in 1..200_usize {
            let text: Vec<&str> =
                (0..60).map(|n| words[(seed * 31 + n * n * 17 + n * seed) % words.len()]).collect();
            read(format, &[("words", &text.join(" "))]);
        }
    }
}

#[test]
fn deep_texts_are_refused() {
    let deep = |open: &str, count: usize| open.repeat(count);
    let nginx = read(Format::Nginx, &[("n", &deep("a {\n", 100_000))]);
    assert_eq!(said(&nginx), ["n:41: blocks must be nested at most 40 deep"]);
    let apache = read(Format::Apache, &[("a", &deep("<Location /x>\n", 100_000))]);
    assert!(said(&apache)[0].contains("nested at most 40 deep"), "{:?}", said(&apache)[0]);
    read(Format::GunicornConf, &[("g", &format!("a = {}", deep("(", 100_000)))]);
    read(Format::GunicornConf, &[("g", &format!("a = {}1", deep("-", 100_000)))]);
    read(Format::Command, &[("c", &format!("sh -c '{} gunicorn'", deep("sh -c ", 10_000)))]);
}

#[test]
fn long_lines_and_files_are_bounded() {
    for format in formats() {
        read(format, &[("long", &"x".repeat(3 << 20))]);
        read(format, &[("long", &"x ".repeat(1 << 20))]);
        let large = "a b;\n".repeat(1 << 20);
        let configuration = read(format, &[("large", &large)]);
        assert!(said(&configuration)[0].starts_with("large:0: has 5242880 bytes"), "{format:?}");
    }
    let line = format!(
        "server {{ listen 80; location / {{ proxy_pass http://127.0.0.1:1; }} }} # {}",
        "x".repeat(1 << 20)
    );
    let configuration = read(Format::Nginx, &[("n", &line)]);
    assert!(configuration.evidence.iter().all(|evidence| evidence.text.len() <= 500));
}

#[test]
fn what_includes_itself_is_found() {
    let nginx = read(Format::Nginx, &[("a.conf", "include b.conf;\n"), ("b.conf", "\ninclude a.conf;\n")]);
    assert_eq!(said(&nginx), ["b.conf:2: 'a.conf' includes itself"]);
    let apache = read(Format::Apache, &[("a.conf", "Include a.conf\n")]);
    assert_eq!(said(&apache), ["a.conf:1: 'a.conf' includes itself"]);
}

#[test]
fn what_is_not_there_is_said() {
    let nginx = read(Format::Nginx, &[("n", "http {\n  include gone.conf;\n  include gone/*.conf;\n}\n")]);
    assert_eq!(said(&nginx), ["n:2: 'gone.conf' is included and was not found"]);
    let apache = read(Format::Apache, &[("a", "Include gone.conf\nIncludeOptional gone.conf\n")]);
    assert_eq!(said(&apache), ["a:1: 'gone.conf' is included and was not found"]);
    let command = read(Format::Command, &[("c", "gunicorn -c gone.py app:app\n")]);
    assert_eq!(said(&command), ["c:1: 'gone.py' is named and was not found"]);
}

#[test]
fn broken_texts_name_the_line() {
    let check = |format, text: &str, expected: &[&str]| {
        assert_eq!(said(&read(format, &[("f", text)])), expected);
    };
    check(Format::Nginx, "http {\n  server {\n", &["f:3: a '}' is missing before the end"]);
    check(Format::Nginx, "user www-data\nworker_processes 1;\n}\n", &["f:3: this '}' closes nothing"]);
    check(Format::Nginx, "user \"www;\n", &["f:1: a \" is missing before the end"]);
    check(Format::Nginx, "http {\n  user x\n}\n", &["f:3: 'user' must end with ';'"]);
    check(
        Format::Apache,
        "<VirtualHost *:80>\nProxyPass / http://a/\n",
        &["f:1: '<VirtualHost>' is not closed"],
    );
    check(Format::Apache, "</Location>\n", &["f:1: '</Location>' closes nothing"]);
    check(
        Format::Haproxy,
        "server a 127.0.0.1:1\n",
        &["f:1: 'server' must stand within a section, such as 'defaults' or 'backend NAME'"],
    );
    check(Format::Haproxy, "backend b\n  server \"a\n", &["f:2: a quote is not closed"]);
    check(
        Format::SystemdUnit,
        "[Service]\nExecStart\n",
        &["f:2: 'ExecStart' must be KEY=VALUE or [SECTION]"],
    );
    check(Format::GunicornConf, "workers = (1\n", &["f:1: a bracket is not closed"]);
}
