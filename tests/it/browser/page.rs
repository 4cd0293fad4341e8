//! What the page shows, how, and what its buttons do.

use super::{Seen, text};
use crate::support::files::Folder;
use crate::support::http::get;
use crate::support::messages::{query, sqlstate};

#[tokio::test]
async fn the_page_shows_what_goes_on_and_runs_no_text_of_others() {
    let folder = Folder::new();
    let rules = format!(
        "traffic_control: {{rules: [{{name: '{EVIL}', observe_only: true, match: {{query_regex: \
         dual}}, action: deny}}]}}"
    );
    let rules = folder.write("rules.yml", &rules);
    let seen = Seen::start(&[("RULES_FILE", &rules), ("CACHE_TTL_SECONDS", "0")]).await;
    let browser = &seen.browser;
    let mut client = seen.client(EVIL, EVIL).await;
    client.query("INSERT INTO t VALUES (1)").await;
    client.query("SELECT 'dual'").await;
    client.query("PREPARE p AS SELECT 1").await;

    browser.until("return document.getElementById('state').innerText === 'ready'").await;
    // Until there is a rate to show between two looks.
    let rate = "return document.querySelector('.tile .value')?.innerText.match(/[1-9]/) !== null";
    loop {
        client.query("SELECT 40 + 2").await;
        if browser.run(rate).await == true {
            break;
        }
    }
    let row = seen.row("statements", &["select ? + ?"]).await;
    assert!(row.contains(EVIL), "by whom: {row}");
    let row = seen.row("refusals", &["INSERT statements are not allowed"]).await;
    assert!(row.contains(EVIL) && row.contains("write"), "{row}");
    seen.row("rules-table", &[EVIL, "deny", "dry run"]).await;
    seen.row("sessions", &[EVIL, "active", "sql prepared: prepare p as select ?"]).await;
    let upstream = format!("127.0.0.1:{}", seen.postgres.port());
    let row = seen.row("upstreams", &[&upstream, "primary", "1 of 5"]).await;
    assert!(row.contains("read only"), "{row}");

    browser.click("#report summary").await;
    browser.click("#editor summary").await;
    browser.until(&format!("return {TEXT}.value.includes('{EVIL}')")).await;
    for (width, colours) in [(1280, "light"), (360, "light"), (360, "dark"), (1280, "dark")] {
        browser.show(width, colours).await;
        let wide = browser.run("return document.scrollingElement.scrollWidth").await;
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
        let back =
            text(&browser.run("return getComputedStyle(document.body).backgroundColor").await);
        let is_dark = !back.starts_with("rgb(2");
        assert_eq!(is_dark, colours == "dark", "{back}");
        assert_eq!(text(&browser.run(FAINT).await), "", "text that is hard to read, {colours}");
    }
    assert_eq!(text(&browser.run(NAMELESS).await), "", "fields and buttons without a name");
    let ran = "return window.ran === 1 || document.querySelector('img') !== null";
    assert_eq!(browser.run(ran).await, false);
    let elsewhere = "return performance.getEntriesByType('resource').map((one) => one.name)\
                     .filter((name) => !name.startsWith(location.origin)).join()";
    assert_eq!(browser.run(elsewhere).await, "");
    assert_eq!(browser.console().await, [""; 0], "errors, or what the policy forbids");
}

/// What would run if it were put on the page as anything but text. No longer than a name may be.
const EVIL: &str = "<img src=x onerror=window.ran=1>";

const TEXT: &str = "document.getElementById('rules-text')";

/// Texts whose colour is less than 4.5 apart from what is behind them, as
/// <https://www.w3.org/TR/WCAG22/#contrast-minimum> counts it.
const FAINT: &str = "
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => parts(colour).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((all, value, at) => all + value * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (one) => {
      for (; one; one = one.parentElement) {
        const colour = getComputedStyle(one).backgroundColor;
        if (parts(colour)[3] !== 0) return colour;
      }
    };
    const apart = (one) => {
      const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const all = [...document.querySelectorAll('body *')].filter((one) => hasText(one) && one.checkVisibility());
    return all.filter((one) => apart(one) < 4.5).map((one) => `${one.tagName} ${one.className} ${apart(one)}`).join();";

/// Fields and buttons that a screen reader could not name.
const NAMELESS: &str = "
    const name = (one) => one.ariaLabel || [...(one.labels ?? [])].map((label) => label.innerText).join('')
      || (one.tagName === 'BUTTON' && one.textContent);
    return [...document.querySelectorAll('button, input, select, textarea')].filter((one) => !name(one))
      .map((one) => one.outerHTML).join();";

#[tokio::test]
async fn a_statement_is_cancelled_and_the_cache_reset_once_that_is_confirmed() {
    let seen = Seen::start(&[]).await;
    let browser = &seen.browser;
    let port = seen.gateway.admin_port();
    let mut reader = seen.client("ann", "report").await;
    reader.query("SELECT 1").await;
    reader.query("SELECT 2").await;
    let mut sleeper = seen.client("bob", "nightly").await;
    sleeper.send(&query("SELECT pg_sleep(600)")).await;

    seen.row("sessions", &["bob", "nightly", "active"]).await;
    browser.click("#sessions td button").await;
    assert!(seen.answer("no").await.contains("of bob (nightly)"));
    browser.click("#reset").await;
    assert!(seen.answer("no").await.contains("Drop every reply"));
    seen.row("sessions", &["bob", "active"]).await;
    assert_eq!(get(port, "/cache").await.json()["entries"], 2);

    browser.click("#sessions td button").await;
    seen.answer("yes").await;
    let reply = sleeper.until_ready().await;
    let error = reply.iter().find(|(tag, _)| *tag == b'E').expect("an error");
    assert_eq!(sqlstate(&error.1), "57014");
    seen.row("sessions", &["bob", "idle"]).await;

    browser.click("#reset").await;
    seen.answer("yes").await;
    let told = "return document.getElementById('told').innerText.includes('2 replies dropped')";
    browser.until(told).await;
    seen.row("cache", &["replies held", "0"]).await;
    assert_eq!(get(port, "/cache").await.json()["entries"], 0);
    assert_eq!(browser.console().await, [""; 0]);
}

#[tokio::test]
async fn the_page_asks_for_the_token_and_tells_what_does_not_answer() {
    let seen = Seen::start(&[("ADMIN_TOKEN", TOKEN)]).await;
    let browser = &seen.browser;
    let asks = "return document.querySelector('#login').open";
    let wrong = "return !document.querySelector('#login-wrong').hidden && document.querySelector('#login').open";

    browser.until(asks).await;
    assert_eq!(browser.run(wrong).await, false);
    assert_eq!(browser.run("return document.querySelectorAll('td').length").await, 0);
    browser.write("#token", "another token of tests").await;
    browser.click("#login button").await;
    browser.until(wrong).await;
    browser.write("#token", TOKEN).await;
    browser.click("#login button").await;
    seen.row("upstreams", &["primary"]).await;
    assert_eq!(browser.run(asks).await, false);
    let gone = "return !document.getElementById('gone').hidden";
    assert_eq!(browser.run(gone).await, false);
    // It is kept while the tab is, and nowhere beyond.
    assert_eq!(browser.run("return localStorage.length + document.cookie.length").await, 0);

    let Seen { browser, gateway, mut postgres } = seen;
    postgres.cluster.kill();
    let alarm = "return document.getElementById('alarms').innerText.includes('Not ready: ')";
    browser.until(alarm).await;
    let state = "return document.getElementById('state').innerText";
    assert_eq!(browser.run(state).await, "not ready");
    drop(gateway);
    browser.until(gone).await;
    assert_eq!(browser.run(state).await, "no answer");
}

const TOKEN: &str = "0123456789abcdef-a-token";
