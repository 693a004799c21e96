//! Where the threads of a Python process stand in its code, by `py-spy` where that is on the path: it reads the memory of the
//! process and does not stop it.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::program;

const WAIT: Duration = Duration::from_millis(1_500);
/// Modules that wait for something outside, as frames tell them.
const LIBRARIES: &[&str] = &[
    "psycopg2",
    "psycopg",
    "asyncpg",
    "pymysql",
    "MySQLdb",
    "redis",
    "pika",
    "kombu",
    "requests",
    "httpx",
    "urllib3",
    "aiohttp",
    "sqlalchemy",
];

/// A place in the application's own code, and the library that it called.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) library: Option<&'static str>,
}

/// The innermost place of the application's own code, by thread.
pub(super) fn frames(pid: u32, limit: Duration) -> Result<HashMap<u32, Frame>, String> {
    let pid = pid.to_string();
    let mut command = Command::new("py-spy");
    command.args(["dump", "--nonblocking", "--json", "--pid", &pid]);
    let said = program::run(&mut command, WAIT.min(limit))?;
    read(&said).ok_or_else(|| "py-spy said no JSON".to_owned())
}

fn read(said: &str) -> Option<HashMap<u32, Frame>> {
    let Value::Array(threads) = serde_json::from_str(said).ok()? else { return None };
    let mut found = HashMap::new();
    for thread in &threads {
        let id = thread.get("os_thread_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let frames = thread.get("frames").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let (Some(id), Some(frame)) = (id, innermost(frames)) {
            found.insert(id, frame);
        }
    }
    Some(found)
}

/// Frames come from the innermost on.
fn innermost(frames: &[Value]) -> Option<Frame> {
    let file = |frame: &Value| frame.get("filename").and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = frames.iter().position(|frame| {
        let file = file(frame);
        file.starts_with('/')
            && !["/site-packages/", "/dist-packages/", "/lib/python", "/bin/"]
                .iter()
                .any(|part| file.contains(part))
    })?;
    let library = frames.iter().take(own).find_map(|frame| {
        let file = file(frame);
        LIBRARIES.iter().copied().find(|library| file.contains(&format!("/{library}/")))
    });
    let frame = frames.get(own)?;
    Some(Frame {
        function: frame.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        file: file(frame),
        line: frame.get("line").and_then(Value::as_u64).unwrap_or(0),
        library,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_of_the_application_is_found() {
        let said = r#"[{"os_thread_id": 9, "frames": [
            {"name": "read", "filename": "/venv/lib/python3.12/site-packages/redis/connection.py", "line": 80},
            {"name": "cart", "filename": "/srv/shop/views.py", "line": 41},
            {"name": "app", "filename": "/srv/shop/app.py", "line": 3}]},
            {"os_thread_id": 10, "frames": [{"name": "wait", "filename": "/usr/lib/python3.12/threading.py", "line": 1}]}]"#;
        let frames = read(said).expect("frames");
        let expected = Frame {
            function: "cart".to_owned(),
            file: "/srv/shop/views.py".to_owned(),
            line: 41,
            library: Some("redis"),
        };
        assert_eq!(frames.get(&9), Some(&expected));
        assert_eq!(frames.get(&10), None);
        assert_eq!(read("Error: no such process"), None);
    }
}
