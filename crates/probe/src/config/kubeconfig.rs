//! A kubeconfig: the cluster, namespace and user of its current context.

use super::Part;
use super::yaml::{self, Node};

/// What the current context comes to. Paths are relative to the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub server: String,
    pub namespace: Option<String>,
    pub authority: Option<String>,
    pub authority_data: Option<String>,
    pub insecure: bool,
    pub certificate: Option<String>,
    pub certificate_data: Option<String>,
    pub key: Option<String>,
    pub key_data: Option<String>,
    pub token: Option<String>,
    pub token_file: Option<String>,
    /// The credentials come from a program.
    pub needs_program: bool,
}

pub fn read(text: &str) -> Result<Entry, String> {
    let mut part = Part::default();
    let documents = yaml::documents("kubeconfig", text, &mut part);
    let Some(root) = documents.first() else {
        let problem =
            part.problems.first().map(|problem| format!("line {}: {}", problem.line, problem.message));
        return Err(problem.unwrap_or_else(|| "it is empty".to_owned()));
    };
    let current = string(root, "current-context").ok_or("it has no current-context")?;
    let context = named(root, "contexts", "context", &current)?;
    let cluster = named(root, "clusters", "cluster", &string(context, "cluster").unwrap_or_default())?;
    let user = string(context, "user").and_then(|user| named(root, "users", "user", &user).ok());
    let of_user = |name: &str| user.and_then(|user| string(user, name));
    Ok(Entry {
        server: string(cluster, "server").ok_or("its cluster has no server")?,
        namespace: string(context, "namespace"),
        authority: string(cluster, "certificate-authority"),
        authority_data: string(cluster, "certificate-authority-data"),
        insecure: string(cluster, "insecure-skip-tls-verify").is_some_and(|value| value == "true"),
        certificate: of_user("client-certificate"),
        certificate_data: of_user("client-certificate-data"),
        key: of_user("client-key"),
        key_data: of_user("client-key-data"),
        token: of_user("token"),
        token_file: of_user("tokenFile"),
        needs_program: user
            .is_some_and(|user| user.get("exec").is_some() || user.get("auth-provider").is_some()),
    })
}

/// The part of a list of named parts.
fn named<'a>(root: &'a Node, list: &str, part: &str, name: &str) -> Result<&'a Node, String> {
    let items = root.get(list).map(Node::items).unwrap_or_default();
    items
        .iter()
        .find(|item| string(item, "name").is_some_and(|known| known == name))
        .and_then(|item| item.get(part))
        .ok_or_else(|| format!("'{name}' is not among its {list}"))
}

fn string(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.text().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
apiVersion: v1
current-context: shop
contexts:
- name: other
  context: {cluster: b, user: b}
- name: shop
  context: {cluster: a, user: ann, namespace: web}
clusters:
- name: a
  cluster: {server: 'https://10.0.0.1:6443', certificate-authority: ca.crt}
users:
- name: ann
  user: {token: abc}
";

    #[test]
    fn the_current_context_is_followed() {
        let entry = read(CONFIG).expect("an entry");
        assert_eq!(entry.server, "https://10.0.0.1:6443");
        assert_eq!(entry.namespace.as_deref(), Some("web"));
        assert_eq!(entry.token.as_deref(), Some("abc"));
        assert_eq!(entry.authority.as_deref(), Some("ca.crt"));
        assert!(!entry.needs_program && !entry.insecure);
        let program = CONFIG.replace("{token: abc}", "{exec: {command: aws}}");
        assert!(read(&program).expect("an entry").needs_program);
        assert_eq!(
            read(&CONFIG.replace("current-context: shop", "current-context: gone")),
            Err("'gone' is not among its contexts".to_owned())
        );
        assert_eq!(read("{}"), Err("it has no current-context".to_owned()));
    }
}
