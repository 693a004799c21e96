//! The top level of a file.

use model::gateway::LogFormat;

use super::shape;
use super::{Consumer, Incidents, Limit, Listener, Model, Provider, Service, Upstream};
use crate::decode::List;
use crate::scalar::{FilePath, ManagementAddress, Name, NetworkText, Size, Time, Whole};

shape! {
    /// The top level of a file. Every key may be left out; with no service, every request is answered 404.
    Root {
        /// The addresses Clearway accepts on. Lists of several files are joined.
        listeners: List<Listener, 1> [= "[{ address: \"0.0.0.0:8080\" }]"] "[{ address: \"127.0.0.1:9000\" }]";
        /// Peers whose `Forwarded`, `X-Forwarded-*`, `X-Request-Id` and `traceparent` are believed, and who may begin
        /// a connection with a PROXY protocol header. From everyone else these headers are replaced, and others that
        /// claim an address, a scheme, a path, a user or a certificate are dropped: `X-Client-IP`, `True-Client-IP`,
        /// `CF-Connecting-IP`, `X-Original-URL`, `X-Rewrite-URL`, `Remote-User`, `Client-Cert` and the like.
        trusted_proxies: List<NetworkText> [= "[]"] "[10.0.0.0/8, \"::1\"]";
        /// Groups of targets that routes lead to.
        upstreams: List<Upstream> [= "[]"] "[{ name: shop, targets: [\"http://127.0.0.1:8000\"] }]";
        /// The APIs that are published.
        services: List<Service> [= "[]"] "[{ name: orders, to: \"http://127.0.0.1:8000\" }]";
        /// Vendors of AI models. Without this list, a service with `ai` offers every one of the catalogue whose usual variable of the
        /// environment is set.
        providers: List<Provider> [= "[]"] "[{ name: openai, keys: [\"${env:OPENAI_API_KEY}\"] }]";
        /// Names of models that clients may call beside those of the providers: aliases, and several lanes under one name.
        models: List<Model> [= "[]"] "[{ name: smart, lanes: [openai/gpt-5] }]";
        /// Applications that call services, with what they prove themselves with.
        consumers: List<Consumer> [= "[]"] "[{ name: alice, api-keys: [\"${env:ALICE_KEY}\"] }]";
        /// How much of requests, tokens and money callers may use.
        limits: List<Limit> [= "[]"] "[{ name: per-caller, by: [consumer], requests: 60/minute }]";
        /// The log line that is written for every exchange.
        log: Log [= "{}"] "{ format: json }";
        /// How exchanges are kept for `clearway calls`.
        records: Records [= "{}"] "{ retention-days: 30 }";
        /// How times in which a service fails beyond its own past are told of.
        incidents: Incidents [= "{}"] "{ webhook: { url: \"https://hooks.example.com/clearway\" } }";
        /// Where request bodies wait for their target that are too large for memory.
        spool: Spool [= "{}"] "{ size-max: 10GiB }";
        /// How long a stopping process waits for exchanges that are in flight.
        grace: Time<0> [= "30s"] "2m";
        /// Worker threads. Without this key there is one per core.
        workers: Whole<1, 1024> [optional] "2";
        /// Where this gateway runs, as the `zone` of targets says it; `${env:ZONE}` takes it from the environment. Without this
        /// key no target is preferred.
        zone: Name [optional] "eu-central-1a";
        /// The address of the management interface: health, readiness, metrics, management. Changing it needs a restart.
        admin: ManagementAddress [= "127.0.0.1:8081"] "127.0.0.1:9081";
        /// The data directory: records, identities, the control socket. One process owns it. Changing it needs a restart.
        data: FilePath [= "clearway-data"] "/var/lib/clearway";
    }
}

shape! {
    /// The log line that is written for every exchange. It is derived from the record and holds no query values, no
    /// credentials and no bodies.
    Log {
        /// How a line looks.
        format: LogFormat [= "human"] "json";
        /// The file that lines are appended to. Without this key they go to standard output.
        file: FilePath [optional] "access.log";
    }
}

shape! {
    /// Where request bodies wait for their target that are too large for memory. The files have no names, so that none is
    /// left behind however the process ends; a reload or a restart needs none of them.
    Spool {
        /// The directory of the files; it is made when it is first needed. Without this key it is `spool` in the data
        /// directory. On a disk that is full or cannot be written, bodies stream instead.
        directory: FilePath [optional] "/var/tmp/clearway";
        /// All files together. Bodies for which there is no room stream.
        size_max: Size<0, { 1 << 50 }> [= "1GiB"] "10GiB";
    }
}

shape! {
    /// How exchanges are kept.
    Records {
        /// Days of records that are kept; 0 keeps none.
        retention_days: Whole<0, 3650> [= "7"] "30";
        /// All record files together; the oldest day goes first.
        size_max: Size<{ 1 << 20 }, { 1 << 50 }> [= "4GiB"] "20GiB";
    }
}
