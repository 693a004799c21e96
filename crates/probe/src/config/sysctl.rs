//! `sysctl.conf`: bounds of the kernel that servers meet.

use std::sync::Arc;

use super::{Origin, Part, Role, Setting, Source, Wide};

/// Ours, the kernel's.
const NAMES: &[(&str, &str)] = &[("somaxconn", "net.core.somaxconn"), ("file-limit", "fs.file-max")];

pub(super) fn read(source: &Source, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let mut settings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let Some((key, value)) = line.trim().trim_start_matches('-').split_once('=') else { continue };
        let key = key.trim().replace('/', ".");
        if let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == key) {
            settings.push(Setting::new(name, value.trim(), &Origin::new(&path, index + 1, line)));
        }
    }
    if !settings.is_empty() {
        part.wide.push(Wide { product: "linux", role: Role::System, unit: None, of: None, settings });
    }
}
