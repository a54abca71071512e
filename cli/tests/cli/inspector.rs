//! `listen --ui`, in a real browser.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Instant,
};

use crate::{
    browser::Browser,
    listen::{ACCEPTED, curl, github, run, send},
    listening::Listening,
    round_trip::keygen,
    session::Session,
    upstream::Upstream,
};

/// A server with an inspector, and the address of the page.
pub(crate) fn start<'s>(session: &'s Session, arguments: &str) -> (Listening<'s>, String) {
    let arguments = format!("github --secret-file github.secret --ui {arguments}");
    let mut listening = Listening::json(session, &arguments);
    let page = listening.object()["inspector"].as_str().unwrap().to_owned();
    (listening, page)
}

/// A request that is sent as it is.
pub(crate) fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: api.example.com\r\n{headers}\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

const MARKUP: &str = "<script>document.title='owned'</script>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inspector_shows_requests_as_they_come_and_sends_them_again() {
    let Some(browser) = Browser::start(false).await else {
        return;
    };
    let session = Session::new();
    keygen(&session, "github");
    let upstream = Upstream::start(ACCEPTED);
    let (listening, page) = start(&session, &format!("--forward {}", upstream.url));
    browser.client.goto(&page).await.unwrap();
    browser
        .until("document.getElementById('state').textContent === 'live'")
        .await;
    browser
        .until("document.getElementById('empty').textContent === 'No requests yet.'")
        .await;

    // Arrival.
    let body = r#"{"id":"evt_1","amount":1.50,"to":{"name":"Ada"},"tags":["a","b"]}"#;
    let good = post("/hooks/transfer?a=1", &github(&session, body), body);
    assert!(send(listening.address(), &good).starts_with("HTTP/1.1 201"));
    browser.element("#rows .verdict.verified").await;
    send(listening.address(), &good);
    browser.element("#rows .verdict.duplicate").await;

    // Bytes that would be markup, in a body, a header and the target.
    let hostile = format!("{{\"note\":\"{MARKUP}\"}}");
    let mark = "X-Mark: <img src=x onerror=\"document.title='owned'\">\u{202e}\r\n";
    let headers = format!("{mark}{}", github(&session, "another body"));
    let refused = post("/a?b=%3Cb%3E'\"&<i>", &headers, &hostile);
    let answer = send(listening.address(), &refused);
    assert!(
        answer.starts_with("HTTP/1.1 401") || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    let headers = format!("{mark}{}", github(&session, &format!("{hostile}\n")));
    let refused = post("/a?b=%3Cb%3E'", &headers, &hostile);
    assert!(send(listening.address(), &refused).starts_with("HTTP/1.1 401"));
    browser.element("#rows .verdict.refused").await;
    let refused_row = "#rows li:has(.refused) .row";
    browser.click(refused_row).await;
    assert_eq!(browser.text(".cause code").await, "signature_invalid");
    browser
        .until("document.querySelector('pre.json').innerText.includes('<script>')")
        .await;
    let head = browser.text("#details div.code").await;
    assert!(head.contains("x-mark: <img src=x onerror="), "{head}");
    assert!(head.contains("\\u{202e}"), "{head}");
    assert_eq!(
        browser.client.title().await.unwrap(),
        "countersign · github"
    );
    let made = browser
        .script("return document.querySelectorAll('#details script, #details img, #rows i').length")
        .await;
    assert_eq!(made, 0);
    browser.picture("refused-light").await;
    // The policy would stop a script that got through.
    let ran = browser
        .script(
            "const script = document.createElement('script');
             try { script.textContent = \"document.title = 'owned'\" } catch { return 'refused' }
             document.body.append(script); return document.title",
        )
        .await;
    assert_eq!(ran, "refused");

    // Details of a verified request; its body in each view.
    browser.click("#rows li:has(.verified) .row").await;
    browser
        .until("document.querySelector('#details header.verified') !== null")
        .await;
    let json = browser.text("pre.json").await;
    assert!(json.contains("\"amount\": 1.50,\n"), "{json}");
    browser
        .script("document.querySelector('input.hex').click()")
        .await;
    assert!(
        browser
            .text(".hex pre")
            .await
            .starts_with("00000000  7b 22 69 64")
    );
    browser
        .script("document.querySelector('input.json').click()")
        .await;
    let grey = browser.text("#details div.code .uncovered").await;
    assert_eq!(grey, "POST", "GitHub covers the body alone");
    browser.picture("verified-light").await;

    // Replay, and many at once.
    assert_eq!(upstream.seen().len(), 1);
    browser.click("[data-action=replay]").await;
    browser
        .until("document.getElementById('answer').innerText.includes('Accepted: 1 of 1')")
        .await;
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].head, seen[0].head, "names of headers too");
    assert_eq!(seen[1].body, seen[0].body);
    browser.click("[data-action=copies]").await;
    browser
        .until("document.getElementById('answer').innerText.includes('Accepted: 8 of 8')")
        .await;
    assert_eq!(upstream.seen().len(), 10);
    browser.click("[data-action=sign]").await;
    browser
        .until("document.getElementById('answer').innerText.includes('signed again')")
        .await;
    assert_eq!(upstream.seen().len(), 11);
    browser.picture("replayed-light").await;

    // The archive and the command that the page offers work.
    let har = session.stdout(&format!("curl -sS '{page}requests/1/har'"));
    session.file("one.har", har);
    let verified = session.run("countersign verify github --secret-file github.secret one.har");
    assert!(verified.contains("\nverified\n"), "{verified}");
    let command = browser
        .script("return document.getElementById('curl').textContent")
        .await;
    let command = command.as_str().unwrap().replacen("curl ", "curl -sS ", 1);
    session.stdout(&command);
    browser
        .until("document.querySelectorAll('#rows .duplicate').length === 2")
        .await;

    // Filter and search.
    browser.click("#filter label:has([value=refused])").await;
    browser
        .until("document.querySelectorAll('#rows .row').length === 1")
        .await;
    browser.click("#filter label:has([value=''])").await;
    let search = browser.element("#search").await;
    search.send_keys("TRANSFER ada").await.unwrap();
    browser
        .until("document.querySelectorAll('#rows .row').length === 3")
        .await;
    browser
        .until("document.getElementById('count').textContent === '3 of 4 requests'")
        .await;
    search.send_keys(" nowhere").await.unwrap();
    browser
        .until("document.getElementById('empty').textContent === 'No request matches.'")
        .await;
    search.clear().await.unwrap();
    browser
        .script(
            "document.getElementById('search').dispatchEvent(new Event('input', {bubbles: true}))",
        )
        .await;
    browser
        .until("document.querySelectorAll('#rows .row').length === 4")
        .await;

    // By keyboard.
    search.send_keys("\u{E015}").await.unwrap();
    browser.until("document.activeElement.dataset.id === '5' || document.activeElement.dataset.id === '4'").await;
    let row = browser.client.active_element().await.unwrap();
    row.send_keys("\u{E015}").await.unwrap();
    browser
        .until("document.querySelector('#rows li:nth-child(2) .row').hasAttribute('aria-current')")
        .await;
    let row = browser.client.active_element().await.unwrap();
    row.send_keys("\u{E007}").await.unwrap();
    browser.until("document.activeElement.id === 'title'").await;
    browser
        .client
        .active_element()
        .await
        .unwrap()
        .send_keys("/")
        .await
        .unwrap();
    browser
        .until("document.activeElement.id === 'search'")
        .await;

    // Each control has a name.
    let nameless = browser
        .script(
            "return [...document.querySelectorAll('button, input, a, summary')].filter((it) =>
               !(it.innerText || it.ariaLabel || it.labels?.[0]?.innerText || it.labels?.[0]?.textContent)
             ).map((it) => it.outerHTML)",
        )
        .await;
    assert_eq!(nameless, serde_json::json!([]));
    browser.end().await;

    let Some(browser) = Browser::start(true).await else {
        return;
    };
    browser.client.goto(&page).await.unwrap();
    browser.click("#rows li:has(.verified) .row").await;
    browser.element("#details header.verified").await;
    browser.picture("verified-dark").await;
    browser.click(refused_row).await;
    browser.element("#details header.refused").await;
    browser.picture("refused-dark").await;
    // A message of many parts.
    let scheme = "http-message-signatures";
    keygen(&session, scheme);
    let arguments = format!("{scheme} --secret-file {scheme}.secret --ui");
    let mut other = Listening::json(&session, &arguments);
    let other_page = other.object()["inspector"].as_str().unwrap().to_owned();
    run(
        &session,
        &curl(&session, scheme, &other.url),
        "--http2-prior-knowledge",
    );
    assert_eq!(other.object()["verified"], true);
    browser.client.goto(&other_page).await.unwrap();
    browser.click("#rows .row").await;
    let marked = "return [...document.querySelectorAll('.message mark')].map((mark) => mark.title)";
    browser.element(".message mark").await;
    let marked = browser.script(marked).await.to_string();
    for part in [
        "method",
        "authority",
        "path",
        "query",
        "time",
        "nonce",
        "header content-type",
    ] {
        assert!(marked.contains(part), "{part}: {marked}");
    }
    let head = "return [...document.querySelectorAll('#details div.code .covered')].map((it) => it.innerText)";
    let covered = browser.script(head).await.to_string();
    assert!(
        covered.contains("/hooks") && covered.contains("content-type"),
        "{covered}"
    );
    assert!(!covered.contains("user-agent"), "{covered}");
    browser.picture("message-dark").await;
    browser.client.set_window_size(420, 900).await.unwrap();
    browser.picture("narrow-dark").await;
    browser.end().await;
    let (said, code) = listening.stop();
    assert_eq!(code, Some(0), "{said}");
}

/// With curl, as a page of another site could ask a browser to.
#[test]
fn only_the_page_itself_may_ask() {
    let session = Session::new();
    keygen(&session, "github");
    let upstream = Upstream::start(ACCEPTED);
    let (mut listening, page) = start(&session, &format!("--forward {}", upstream.url));
    let good = post("/", &github(&session, "{}"), "{}");
    send(listening.address(), &good);
    listening.object();
    let status = |arguments: &str| {
        session.stdout(&format!(
            "curl -sS -o answer -w '%{{http_code}}' {arguments}"
        ))
    };
    let origin = page.rsplitn(3, '/').nth(2).unwrap();
    let host = origin.strip_prefix("http://").unwrap();
    assert_eq!(status(&page), "200");
    let html = std::fs::read_to_string(session.path().join("answer")).unwrap();
    let token = html.split("name=\"token\" content=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    assert_eq!(status(&format!("{origin}/")), "404");
    assert_eq!(status(&format!("-H 'host: rebound.example' {page}")), "421");
    assert_eq!(
        status(&format!("-H 'origin: https://a.example' {page}requests/1")),
        "403"
    );
    assert_eq!(
        status(&format!("-H 'sec-fetch-site: cross-site' {page}")),
        "403"
    );
    let replay = format!("--data '{{\"copies\":1,\"sign_again\":false}}' {page}requests/1/replay");
    let token = format!("-H 'x-countersign-token: {token}'");
    assert_eq!(status(&replay), "403", "no origin, no token");
    assert_eq!(
        status(&format!("-H 'origin: {origin}' {replay}")),
        "403",
        "no token"
    );
    assert_eq!(status(&format!("{token} {replay}")), "403", "no origin");
    assert_eq!(upstream.seen().len(), 1);
    let ours = format!("{token} -H 'origin: {origin}'");
    assert_eq!(status(&format!("{ours} {replay}")), "200");
    assert_eq!(upstream.seen().len(), 2);
    let elsewhere = replay.replace("\"copies\":1", "\"copies\":1,\"to\":\"http://127.0.0.1:1\"");
    assert_eq!(
        status(&format!("{ours} {elsewhere}")),
        "400",
        "no other server can be named"
    );
    let many = replay.replace("\"copies\":1", "\"copies\":257");
    assert_eq!(status(&format!("{ours} {many}")), "400");
    let head = session.stdout(&format!("curl -sS -o answer -D - {page}"));
    for line in [
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "default-src 'none'; script-src 'sha256-",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("unsafe"), "{head}");
    // The port is on loopback alone, whatever address the server listens on.
    assert!(host.starts_with("127.0.0.1:"), "{host}");
}

/// The oldest go when there is no room.
#[test]
fn at_most_64_mib_are_in_memory() {
    let session = Session::new();
    keygen(&session, "github");
    let (mut listening, page) = start(&session, "");
    session.stdout("head -c 24M /dev/zero > long");
    let signed = github(&session, "{}");
    let url = listening.url.clone();
    for n in 1..=8 {
        session.stdout(&format!(
            "curl -sS -o answer -H '{signed}' --data-binary @long {url}/{n}"
        ));
        let object = listening.object();
        assert_eq!(object["body_bytes"], 24 * 1024 * 1024, "{object}");
    }
    let events = session.output(&format!("curl -sSN --max-time 2 {page}events"));
    let events = String::from_utf8(events.stdout).unwrap();
    let first = events
        .lines()
        .next()
        .unwrap()
        .strip_prefix("data: ")
        .unwrap();
    let first: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(
        (first["here"].as_u64(), first["dropped"].as_u64()),
        (Some(2), Some(6))
    );
    let gone = session.stdout(&format!("curl -sS {page}requests/6"));
    assert_eq!(gone, "this request is not here any more\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_stay_responsive() {
    const THREADS: usize = 4;
    const EACH: usize = 2500;
    let Some(browser) = Browser::start(false).await else {
        return;
    };
    let session = Session::new();
    keygen(&session, "github");
    let (listening, page) = start(&session, "");
    browser.client.goto(&page).await.unwrap();
    browser
        .until("document.getElementById('state').textContent === 'live'")
        .await;
    let address = listening.address().to_owned();
    let sending: Vec<_> = (0..THREADS)
        .map(|thread| {
            let address = address.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let mut answer = vec![0; 64 * 1024];
                for n in 0..EACH {
                    let request = format!(
                        "GET /load/{thread}/{n} HTTP/1.1\r\nHost: a\r\nX-Number: {thread}-{n}\r\n\r\n"
                    );
                    stream.write_all(request.as_bytes()).unwrap();
                    let mut read = 0;
                    while !answer[..read].ends_with(b"}") {
                        read += stream.read(&mut answer[read..]).unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in sending {
        thread.join().unwrap();
    }
    browser
        .until("document.getElementById('count').textContent === '10,000 requests'")
        .await;
    let rows = browser
        .script("return document.querySelectorAll('#rows .row').length")
        .await;
    assert!(rows.as_u64().unwrap() <= 1000, "{rows}");
    // A search through all of them, and the choice of one.
    let started = Instant::now();
    let search = browser.element("#search").await;
    search.send_keys("/load/2/1234").await.unwrap();
    browser
        .until("document.querySelectorAll('#rows .row').length === 1")
        .await;
    browser.click("#rows .row").await;
    browser
        .until("document.querySelector('#details h2').innerText.includes('/load/2/1234')")
        .await;
    let took = started.elapsed();
    assert!(took.as_secs() < 30, "{took:?}");
    println!("10,000 requests: search and choice took {took:?}");
    search.clear().await.unwrap();
    browser
        .script(
            "document.getElementById('search').dispatchEvent(new Event('input', {bubbles: true}))",
        )
        .await;
    browser
        .until("document.querySelectorAll('#rows .row').length === 200")
        .await;
    browser
        .script("document.getElementById('older').click()")
        .await;
    browser
        .until("document.querySelectorAll('#rows .row').length === 400")
        .await;
    // Frames are drawn while requests go on coming. A busy machine may hold up some of them, and the
    // page holds up all.
    let started = Instant::now();
    loop {
        let longest = browser
            .client
            .execute_async(
                "const done = arguments[0]; let last = performance.now(), longest = 0, frames = 0;
                 const frame = (now) => {
                   longest = Math.max(longest, now - last); last = now;
                   ++frames < 60 ? requestAnimationFrame(frame) : done(longest);
                 };
                 requestAnimationFrame(frame);",
                Vec::new(),
            )
            .await
            .unwrap();
        if longest.as_f64().unwrap() < 2000.0 {
            break;
        }
        assert!(started.elapsed().as_secs() < 60, "{longest}");
    }
    browser.picture("ten-thousand-light").await;
    browser.end().await;
    drop(listening);
}
