//! Which target gets a request: by turns, by key, by cookie, by zone.

use testkit::{Gate, Response, Step, Upstream, within};

use super::gateway::Gateway;

fn ok() -> Upstream {
    Upstream::answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
}

fn config(targets: &[&Upstream], more: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{}\"", target.url())).collect();
    with_targets(&targets.join(", "), more)
}

fn with_targets(targets: &str, more: &str) -> String {
    format!(
        "upstreams: [{{ name: app, targets: [{targets}], {more} }}]\nservices: [{{ name: shop, upstream: app }}]\n"
    )
}

fn counts(targets: &[Upstream]) -> Vec<usize> {
    targets.iter().map(|target| target.requests().len()).collect()
}

fn weighted(targets: &[Upstream], weights: &[u32], more: &str) -> String {
    let pairs = targets.iter().zip(weights);
    let texts: Vec<String> =
        pairs.map(|(target, weight)| format!("{{ url: \"{}\", weight: {weight} }}", target.url())).collect();
    with_targets(&texts.join(", "), more)
}

#[tokio::test]
async fn turns_and_chance_follow_the_weights() {
    let targets = [ok(), ok(), ok()];
    let gateway = Gateway::start(&weighted(&targets, &[1, 2, 5], "balance: round-robin"));
    let mut client = gateway.client().await;
    for _ in 0..80 {
        client.get("/").await;
    }
    assert_eq!(counts(&targets), [10, 20, 50]);

    let targets = [ok(), ok()];
    let gateway = Gateway::start(&weighted(&targets, &[1, 4], "balance: random"));
    let mut client = gateway.client().await;
    for _ in 0..500 {
        client.get("/").await;
    }
    let counts = counts(&targets);
    // Of 100 expected, the standard deviation is 9.
    assert!((40..=160).contains(&counts[0]), "{counts:?}");
}

#[tokio::test]
async fn the_fewest_requests_win() {
    let gate = Gate::new();
    let held = Upstream::script([vec![
        Step::ReadHead,
        Step::Await(gate.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ]]);
    let free = ok();
    let gateway = Gateway::start(&config(&[&held, &free], "balance: least-requests"));
    // One of the first two is held, if it is not the first then the second.
    let mut clients = Vec::new();
    within("a request that is held", async {
        while held.connections() == 0 {
            let mut client = gateway.client().await;
            client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
            clients.push(client);
            while held.connections() + free.requests().len() < clients.len() {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/second").await.status, 200);
    }
    assert_eq!(held.connections(), 1);
    gate.open();
}

/// One request; gives the place of the target that got it.
async fn place(gateway: &Gateway, targets: &[Upstream], request: &str) -> usize {
    let before = counts(targets);
    assert_eq!(gateway.client().await.exchange(request).await.status, 200);
    let after = counts(targets);
    before.iter().zip(&after).position(|(before, after)| before != after).unwrap()
}

#[tokio::test]
async fn the_same_key_goes_to_the_same_target() {
    for (key, request) in [
        ("header X-Tenant", "GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: KEY\r\n\r\n"),
        ("cookie session", "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; session=KEY\r\n\r\n"),
        ("query user", "GET /?a=b&user=KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let targets = [ok(), ok(), ok()];
        let balance = format!("balance: {{ by: hash, key: {key} }}");
        let gateway = Gateway::start(&config(&[&targets[0], &targets[1], &targets[2]], &balance));
        let mut used = [false; 3];
        for number in 0..30 {
            let request = request.replace("KEY", &number.to_string());
            let first = place(&gateway, &targets, &request).await;
            assert_eq!(place(&gateway, &targets, &request).await, first, "{key} {number}");
            used[first] = true;
        }
        assert_eq!(used, [true; 3], "{key}");
    }
}

#[tokio::test]
async fn a_client_keeps_its_target_by_its_address_and_moves_when_that_is_gone() {
    let mut targets = vec![ok(), ok(), ok()];
    let balance = "balance: { by: hash, key: client-address }";
    let gateway = Gateway::start(&config(&[&targets[0], &targets[1], &targets[2]], balance));
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let first = place(&gateway, &targets, request).await;
    for _ in 0..5 {
        assert_eq!(place(&gateway, &targets, request).await, first);
    }
    targets.remove(first);
    let second = place(&gateway, &targets, request).await;
    assert_eq!(place(&gateway, &targets, request).await, second);
}

#[tokio::test]
async fn a_request_without_the_key_goes_anywhere() {
    let targets = [ok(), ok()];
    let balance = "balance: { by: hash, key: header x-tenant }";
    let gateway = Gateway::start(&config(&[&targets[0], &targets[1]], balance));
    let mut client = gateway.client().await;
    within("both to be asked", async {
        while counts(&targets).contains(&0) {
            assert_eq!(client.get("/").await.status, 200);
        }
    })
    .await;
}

fn cookie(response: &Response) -> Option<String> {
    let set = response.field("set-cookie")?;
    Some(set.split(';').next().unwrap().to_owned())
}

#[tokio::test]
async fn a_cookie_keeps_a_client_at_its_target_while_that_is_admitted() {
    let mut targets = vec![ok(), ok(), ok()];
    let more =
        "balance: round-robin, stickiness: { cookie: app-target, max-age: 1d }, health: { slow-start: 0s }";
    let text = config(&[&targets[0], &targets[1], &targets[2]], more);
    let gateway = Gateway::start(&text);
    let response = gateway.get("/").await;
    let first = counts(&targets).iter().position(|count| *count == 1).unwrap();
    let set = response.field("set-cookie").unwrap().to_owned();
    let word = cookie(&response).unwrap();
    assert_eq!(set, format!("{word}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400"));
    let address = targets[first].address().to_string();
    assert!(!set.contains(&address) && !set.contains(&targets[first].address().port().to_string()), "{set}");

    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; {word}\r\n\r\n");
    for _ in 0..5 {
        let response = gateway.client().await.exchange(&request).await;
        assert_eq!((response.status, response.field("set-cookie")), (200, None));
    }
    assert_eq!(counts(&targets)[first], 6);

    // A cookie that names nothing, and one whose target is gone: another one, and another cookie.
    let stranger = "GET / HTTP/1.1\r\nHost: a\r\nCookie: app-target=0123456789abcdef\r\n\r\n";
    assert!(cookie(&gateway.client().await.exchange(stranger).await).is_some());
    targets.remove(first);
    let moved = gateway.client().await.exchange(&request).await;
    assert_eq!(moved.status, 200);
    assert_ne!(cookie(&moved), Some(word.clone()));
    assert!(cookie(&moved).is_some());

    // Before a proxy that is believed, the cookie is for what the client spoke with it.
    let gateway = Gateway::start(&format!("{text}trusted-proxies: [127.0.0.1]\n"));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
    let response = gateway.client().await.exchange(request).await;
    assert!(response.field("set-cookie").unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn targets_of_the_own_zone_are_preferred_and_the_others_help_out() {
    let mut own = vec![ok(), ok()];
    let other = ok();
    let zoned = |target: &Upstream, zone: &str| format!("{{ url: \"{}\", zone: {zone} }}", target.url());
    let list = [zoned(&own[0], "a"), zoned(&own[1], "a"), zoned(&other, "b")].join(", ");
    let text = format!("zone: a\n{}", with_targets(&list, "balance: random"));
    let gateway = Gateway::start(&text);
    let mut client = gateway.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(other.requests().len(), 0);
    drop(own.pop());
    within("the other zone to help", async {
        while other.requests().is_empty() {
            assert_eq!(client.get("/").await.status, 200);
        }
    })
    .await;
    let before = own[0].requests().len();
    within("the own zone to go on", async {
        while own[0].requests().len() == before {
            assert_eq!(client.get("/").await.status, 200);
        }
    })
    .await;
    drop(own.pop());
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
}

/// Answers its first request at once and the second one when the gate is open.
fn held_the_second_time(gate: &Gate) -> Upstream {
    let answer = || Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    Upstream::script([
        vec![Step::ReadHead, answer(), Step::Close],
        vec![Step::ReadHead, Step::Await(gate.clone()), answer(), Step::Close],
    ])
}

#[tokio::test]
async fn a_client_whose_target_has_no_room_is_served_elsewhere_and_comes_back() {
    let gate = Gate::new();
    let (own, other) = (held_the_second_time(&gate), ok());
    let more = "balance: round-robin, stickiness: { cookie: app-target }, concurrency: 1";
    let gateway = Gateway::start(&config(&[&own, &other], more));
    let word = cookie(&gateway.get("/").await).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {word}\r\n\r\n");
    let mut held = gateway.client().await;
    held.send(&request).await;
    own.until("the second request", |seen| seen.connections.len() == 2).await;
    let elsewhere = gateway.client().await.exchange(&request).await;
    assert_eq!((elsewhere.status, elsewhere.field("set-cookie")), (200, None));
    assert_eq!(other.requests().len(), 1);
    gate.open();
    assert_eq!(held.response("GET").await.status, 200);
}

#[tokio::test]
async fn clients_that_stay_are_not_hedged() {
    let slow = Upstream::script([vec![
        Step::ReadHead,
        Step::SendSlowly {
            bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
            piece: 20,
            gap: std::time::Duration::from_millis(50),
        },
        Step::Close,
    ]]);
    let more = "balance: round-robin, retries: { hedge: 1ms }";
    for (more, attempts) in
        [(more.to_owned(), 2), (format!("{more}, stickiness: {{ cookie: app-target }}"), 1)]
    {
        let mut gateway = Gateway::start(&config(&[&slow, &ok()], &more));
        assert_eq!(gateway.get("/").await.status, 200);
        assert_eq!(gateway.record().await.attempts.len(), attempts, "{more}");
    }
}

#[tokio::test]
async fn shares_are_told_as_they_are_given() {
    let targets = [ok(), ok()];
    let shares = |gateway: &mut Gateway| -> Vec<i64> {
        let serving = gateway.server().shared().serving.load();
        let standings = serving.upstreams.get("app").unwrap().standings(std::time::Instant::now());
        standings.iter().map(|standing| (standing.share * 1e3).round() as i64).collect()
    };
    let mut gateway = Gateway::start(&weighted(&targets, &[1, 3], "balance: random"));
    assert_eq!(shares(&mut gateway), [250, 750]);

    let (refused, _socket) = testkit::refused();
    let list = format!(
        "{{ url: \"{}\", zone: a }}, {{ url: \"http://{refused}\", zone: a }}, {{ url: \"{}\", zone: b, weight: 7 }}",
        targets[0].url(),
        targets[1].url()
    );
    let more = "health: { check: { tcp: true, interval: 10ms }, slow-start: 0s }";
    let mut gateway = Gateway::start(&format!("zone: a\n{}", with_targets(&list, more)));
    within("the closed door to be found", async {
        while shares(&mut gateway)[1] != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(shares(&mut gateway), [714, 0, 286], "half of the zone bears half of 70%");
}
