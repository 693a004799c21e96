//! Which product a process is, by its name, its command line and its program.

use std::path::Path;

macro_rules! products {
    ($($variant:ident $name:literal $role:ident,)*) => {
        /// A product of the chain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Product { $($variant,)* }

        impl Product {
            pub fn name(self) -> &'static str {
                match self { $(Product::$variant => $name,)* }
            }

            pub fn tier(self) -> Tier {
                match self { $(Product::$variant => Tier::$role,)* }
            }
        }
    };
}

products! {
    Apache "apache" Proxy,
    Caddy "caddy" Proxy,
    Clearway "clearway" Proxy,
    Daphne "daphne" Server,
    DevelopmentServer "development server" Server,
    Envoy "envoy" Proxy,
    Gunicorn "gunicorn" Server,
    Haproxy "haproxy" Proxy,
    Hypercorn "hypercorn" Server,
    ModWsgi "mod_wsgi" Server,
    Mysql "mysql" Dependency,
    Nginx "nginx" Proxy,
    Postgres "postgresql" Dependency,
    Rabbitmq "rabbitmq" Dependency,
    Redis "redis" Dependency,
    Traefik "traefik" Proxy,
    Uvicorn "uvicorn" Server,
    Uwsgi "uwsgi" Server,
}

/// Where in the chain a product stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Dependency,
    Proxy,
    Server,
}

/// What a process is within its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    Single,
    Worker,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Single => "single",
            Role::Worker => "worker",
        }
    }
}

/// Programs by the name of their file.
const PROGRAMS: &[(&str, Product)] = &[
    ("nginx", Product::Nginx),
    ("openresty", Product::Nginx),
    ("angie", Product::Nginx),
    ("apache2", Product::Apache),
    ("httpd", Product::Apache),
    ("haproxy", Product::Haproxy),
    ("caddy", Product::Caddy),
    ("envoy", Product::Envoy),
    ("traefik", Product::Traefik),
    ("clearway", Product::Clearway),
    ("postgres", Product::Postgres),
    ("mysqld", Product::Mysql),
    ("mariadbd", Product::Mysql),
    ("redis-server", Product::Redis),
    ("valkey-server", Product::Redis),
    ("uwsgi", Product::Uwsgi),
];

/// Scripts and modules that Python runs.
const SCRIPTS: &[(&str, Product)] = &[
    ("gunicorn", Product::Gunicorn),
    ("uvicorn", Product::Uvicorn),
    ("hypercorn", Product::Hypercorn),
    ("daphne", Product::Daphne),
    ("uwsgi", Product::Uwsgi),
    ("pyuwsgi", Product::Uwsgi),
    ("flask", Product::DevelopmentServer),
    ("fastapi", Product::DevelopmentServer),
    ("manage.py", Product::DevelopmentServer),
];

/// The product of a process; `None` for anything else.
pub fn of(name: &str, command: &[String], exe: Option<&Path>) -> Option<Product> {
    let first = command.first().map(String::as_str).unwrap_or_default();
    if first.starts_with("(wsgi:") || name.starts_with("(wsgi:") {
        return Some(Product::ModWsgi);
    }
    // Titles that they give themselves: `nginx: worker process`, `gunicorn: master [shop]`, `postgres: app app 127.0.0.1 idle`.
    for (program, product) in PROGRAMS.iter().chain(SCRIPTS) {
        if first.strip_prefix(program).is_some_and(|rest| rest.starts_with(": ")) {
            return Some(*product);
        }
    }
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let program = exe
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .trim_end_matches(" (deleted)")
        .to_owned();
    let interpreted =
        program.starts_with("python") || program.starts_with("pypy") || base(first).starts_with("python");
    if interpreted {
        return script(command).and_then(|script| {
            SCRIPTS.iter().find(|(name, _)| *name == base(&script)).map(|(_, product)| *product)
        });
    }
    if program == "beam.smp" && command.iter().any(|word| word.contains("rabbit")) {
        return Some(Product::Rabbitmq);
    }
    let known = |text: &str| PROGRAMS.iter().find(|(name, _)| *name == text).map(|(_, product)| *product);
    known(&program)
        .or_else(|| if program.is_empty() { known(&base(first)).or_else(|| known(name)) } else { None })
}

/// The script or module that an interpreter runs: the first word that is no option, or the one after `-m`.
fn script(command: &[String]) -> Option<String> {
    let mut words = command.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-m" => return words.next().map(|module| module.split('.').next().unwrap_or(module).to_owned()),
            // Options with a value of their own.
            "-W" | "-X" => {
                words.next();
            }
            "-c" => {
                // Workers of a server that multiprocessing spawned say so nowhere else.
                return None;
            }
            option if option.starts_with('-') => {}
            script => return Some(script.to_owned()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, command: &str, exe: &str, expected: &str) {
        let command: Vec<String> = command.split('|').map(str::to_owned).collect();
        let product = of(name, &command, Some(exe).filter(|exe| !exe.is_empty()).map(Path::new));
        assert_eq!(product.map_or("none", Product::name), expected);
    }

    #[test]
    fn processes_are_recognised() {
        check("nginx", "nginx: worker process", "/usr/sbin/nginx", "nginx");
        check("nginx", "nginx: master process /usr/sbin/nginx -c /x", "", "nginx");
        check(
            "gunicorn",
            "/srv/venv/bin/python3|/srv/venv/bin/gunicorn|-w|4|shop:app",
            "/usr/bin/python3.11",
            "gunicorn",
        );
        check("python3", "python3|-m|uvicorn|shop:app", "/usr/bin/python3.11", "uvicorn");
        check(
            "python3",
            "python3|-u|-X|dev|manage.py|runserver",
            "/usr/bin/python3.11",
            "development server",
        );
        check("gunicorn: master", "gunicorn: master [shop]", "/usr/bin/python3.11", "gunicorn");
        check("apache2", "/usr/sbin/apache2|-k|start", "/usr/sbin/apache2", "apache");
        check("apache2", "(wsgi:shop)     |-k|start", "/usr/sbin/apache2", "mod_wsgi");
        check(
            "postgres",
            "postgres: app app 127.0.0.1(5) idle",
            "/usr/lib/postgresql/15/bin/postgres",
            "postgresql",
        );
        check(
            "beam.smp",
            "/usr/lib/erlang/beam.smp|-s|rabbit|boot",
            "/usr/lib/erlang/erts-13/bin/beam.smp",
            "rabbitmq",
        );
        check("vim", "vim|gunicorn.conf.py", "/usr/bin/vim", "none");
        check("python3", "python3|-c|import gunicorn", "/usr/bin/python3.11", "none");
        check("grep", "grep|nginx", "/usr/bin/grep", "none");
    }
}
