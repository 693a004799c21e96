//! The 159 requests that `http_desync_guardian` (AWS) grades by how much servers disagree about them. They ship inside the crate, as
//! YAML of a fixed shape: a case is a request line, fields and a grade.

use std::path::{Path, PathBuf};

#[derive(Default)]
struct Case {
    name: String,
    request_line: [Vec<u8>; 3],
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    grade: String,
}

impl Case {
    /// The request on the wire; with a `Host`, which most cases leave out, so that its absence is not what refuses them.
    fn message(&self) -> Vec<u8> {
        let [method, target, version] = &self.request_line;
        let mut message = [method.as_slice(), b" ", target].concat();
        if !version.is_empty() {
            message.push(b' ');
            message.extend_from_slice(version);
        }
        message.extend_from_slice(b"\r\n");
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
            message.extend_from_slice(b"Host: localhost\r\n");
        }
        for (name, value) in &self.fields {
            message.extend_from_slice(&[name.as_slice(), b": ", value, b"\r\n"].concat());
        }
        message.extend_from_slice(b"\r\n");
        message
    }
}

/// Where cargo has put the source of the crate: the compiler noted it beside this test's executable.
fn suite() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let notes = std::fs::read_dir(executable.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_note = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("http_desync_guardian-") && name.ends_with(".d")
    };
    let note = std::fs::read_to_string(notes.into_iter().find(is_note).unwrap()).unwrap();
    let library = note.split_whitespace().find(|path| path.ends_with("/src/lib.rs")).unwrap();
    Path::new(library).ancestors().nth(2).unwrap().join("tests")
}

fn cases() -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(suite()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            if key == "- name" {
                let name = String::from_utf8(scalar(value)).unwrap();
                cases.push(Case { name, ..Case::default() });
                continue;
            }
            let Some(case) = cases.last_mut() else { continue };
            match key {
                "  method" => case.request_line[0] = scalar(value),
                "  uri" => case.request_line[1] = scalar(value),
                "  version" => case.request_line[2] = scalar(value),
                "    - name" => case.fields.push((scalar(value), Vec::new())),
                "      value" => case.fields.last_mut().unwrap().1 = scalar(value),
                "    tier" => case.grade = String::from_utf8(scalar(value)).unwrap(),
                _ => {}
            }
        }
    }
    cases
}

/// A YAML scalar on one line. `\xNN` is one byte, as the suite means it.
fn scalar(text: &str) -> Vec<u8> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return inner.replace("''", "'").into_bytes();
    }
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.as_bytes().to_vec();
    };
    let mut bytes = inner.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next().unwrap() {
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                other => other,
            },
            byte => byte,
        });
    }
    out
}

/// Requests that are harmless by the suite and refused, or doubtful by it and accepted. Their framing has one reading; a body of
/// a GET is framed like any other, and is forwarded with framing that we wrote.
const SURPRISES: &str = "\
Acceptable: Get with a body and Content-Length:0 | accepted
Acceptable: Get with a body and Content-Length:0 | accepted
Acceptable: Unknown but OK HTTP/1.2 | accepted
Ambiguous: Transfer_Encoding with underscore. | accepted, the field is dropped
Ambiguous: Content_Length with underscore. | accepted, the field is dropped
Ambiguous: Get with a body and Content-Length | accepted
Ambiguous: Get with a body and Transfer-Encoding | accepted
Ambiguous: Head with a body and Content-Length | accepted
Ambiguous: Head with a body and Transfer-Encoding | accepted
Ambiguous: Transfer-Encoding with multiple hyphens | accepted
Ambiguous: Transfer-Encoding with multiple delimiters | accepted, the field is dropped
Compliant: Correct TE OK | TransferCodingUnknown
Compliant: Transfer-Encoding: identity and chunked OK | TransferCodingUnknown
Compliant: Multiple transfer encoding headers in a single request OK | TransferEncodingInvalid
Compliant: TE with custom parameters OK | TransferEncodingInvalid
Ambiguous: Has a CL in GET | accepted
Ambiguous: Has a TE in GET | accepted
Compliant: Different Transfer-Encoding headers | TransferEncodingInvalid
Compliant: Different Transfer-Encoding headers combined | TransferCodingUnknown
Compliant: Transfer-Encoding with a param: chunked;custom_param | TransferEncodingInvalid
Compliant: Compliant URL | TargetInvalid
Compliant: International in URI | TargetInvalid
Compliant: Empty URI | RequestLineInvalid
Compliant: %09 in URI is OK | PathControl
Compliant: %0D in URI is OK | PathControl
Compliant: %0A in URI is OK | PathControl
";

#[test]
fn what_becomes_of_the_graded_requests() {
    let cases = cases();
    assert_eq!(cases.len(), 159);
    let mut surprises = String::new();
    for case in &cases {
        let (result, mut head) = crate::request::parse(&case.message());
        assert!(result != Ok(None), "{}: every case is a whole head", case.name);
        assert!(case.grade != "Severe" || result.is_err(), "{}", case.name);
        if result.is_ok() != (case.grade == "Compliant") {
            let verdict = match result {
                Ok(_) if wire::drop_underscore_names(&mut head.fields) > 0 => {
                    "accepted, the field is dropped".into()
                }
                Ok(_) => "accepted".into(),
                Err(error) => format!("{error:?}"),
            };
            surprises.push_str(&format!("{}: {} | {verdict}\n", case.grade, case.name));
        }
    }
    assert_eq!(surprises, SURPRISES);
}
