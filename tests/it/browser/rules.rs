//! Rules on the page: checked, simulated, loaded, reported.

use serde_json::json;

use super::{Seen, text};
use crate::support::client::Client;
use crate::support::http::get;
use crate::support::messages::sqlstate;

#[tokio::test]
async fn rules_are_loaded_from_the_page_and_decide() {
    let seen = Seen::start(&[("CACHE_TTL_SECONDS", "0")]).await;
    let browser = &seen.browser;
    let mut client = seen.client("ann", "legacy").await;
    assert_eq!(code(&mut client, "SELECT 1 AS secret").await, None);
    seen.row("rules-table", &["no rules"]).await;

    browser.click("#editor summary").await;
    edit(&seen, RULES).await;
    browser.click("#load").await;
    let question = seen.answer("yes").await;
    assert!(question.contains("10 lines added, 0 lines removed"), "{question}");
    assert!(question.contains("+     - name: no_secrets"), "{question}");
    outcome(&seen, "Loaded: 2 rules; added: no_secrets, observe_dual").await;
    assert_eq!(code(&mut client, "SELECT 4 AS secret").await.as_deref(), Some("42501"));
    assert_eq!(code(&mut client, "SELECT 5 AS dual").await, None);
    assert_eq!(code(&mut client, "SELECT 6 AS dual").await, None);
    seen.row("rules-table", &["observe_dual", "dry run", "2\t0\t2"]).await;
    seen.row("rules-table", &["no_secrets", "enforced", "1\t1\t0"]).await;

    browser.click("#report summary").await;
    seen.row("report-table", &["observe_dual", "would have", "select ? as dual", "legacy"]).await;
    browser.run(CATCH_FILE).await;
    browser.click("#report-csv").await;
    browser.until("return window.saved !== undefined").await;
    let saved = text(&browser.run("return window.saved.text()").await);
    assert!(saved.starts_with("rule,") && saved.contains("\nno_secrets,deny,"), "{saved}");
}

#[tokio::test]
async fn rules_are_checked_and_simulated_on_the_page_before_they_are_loaded() {
    let seen = Seen::start(&[("CACHE_TTL_SECONDS", "0")]).await;
    let browser = &seen.browser;
    let mut client = seen.client("ann", "legacy").await;
    assert_eq!(code(&mut client, "SELECT 1 AS dual").await, None);
    assert_eq!(code(&mut client, "SELECT 2 AS secret").await, None);

    browser.click("#editor summary").await;
    edit(&seen, &RULES.replace("action: deny", "action: deny\n      oops: 1")).await;
    browser.click("#simulate").await;
    outcome(&seen, "Not usable").await;
    let problem = text(&browser.run("return document.querySelector('.problems').innerText").await);
    assert!(problem.contains("line 7, rule no_secrets: ") && problem.contains("oops"), "{problem}");
    let marked = "return document.querySelector('#gutter .wrong').textContent.trim()";
    assert_eq!(browser.run(marked).await, "7");
    browser.click(".problems button").await;
    let selected = "const text = document.activeElement;\
                    return text.value.slice(text.selectionStart, text.selectionEnd)";
    assert_eq!(browser.run(selected).await, "      oops: 1");
    edit(&seen, "traffic_control: {rules: oops}").await;
    browser.click("#load").await;
    outcome(&seen, "Not usable").await;
    // The browser says it of the answers; nothing else is wrong.
    let told = browser.console().await;
    assert!(told.iter().all(|line| line.contains("400 (Bad Request)")), "{told:?}");

    edit(&seen, RULES).await;
    browser.click("#simulate").await;
    outcome(&seen, "The rules are usable. Of 2 statements").await;
    seen.row("differences", &["denied", "no_secrets", "ann", "legacy", "select ? as secret"]).await;
    browser.click("#load").await;
    let question = seen.answer("no").await;
    assert!(question.contains("Of 2 statements") && question.contains("1 denied"), "{question}");
    assert_eq!(get(seen.gateway.admin_port(), "/rules").await.json()["rules"], json!([]));
    assert_eq!(code(&mut client, "SELECT 3 AS secret").await, None);
    assert_eq!(browser.console().await, [""; 0]);
}

const RULES: &str = "traffic_control:
  rules:
    - name: no_secrets
      priority: 10
      match: {query_regex: secret}
      action: deny
    - name: observe_dual
      observe_only: true
      match: {query_regex: dual}
      action: deny
";

/// Keeps the file that the page makes, which a browser without a window does not save.
const CATCH_FILE: &str = "const made = URL.createObjectURL;\
     URL.createObjectURL = (blob) => { window.saved = blob; return made.call(URL, blob); };";

async fn edit(seen: &Seen, rules: &str) {
    // Once those in force are there to be changed.
    seen.browser.until("return !document.getElementById('rules-text').readOnly").await;
    let rules = json!(rules);
    let script = format!(
        "const text = document.getElementById('rules-text'); text.value = {rules};\
         text.dispatchEvent(new Event('input'))"
    );
    seen.browser.run(&script).await;
}

/// Waits until the editor says this, with nothing that goes on.
async fn outcome(seen: &Seen, words: &str) {
    let words = json!(words);
    let script = format!(
        "return document.getElementById('outcome').innerText.startsWith({words}) \
         && !document.querySelector('button:disabled')"
    );
    seen.browser.until(&script).await;
}

/// The code of the error that a statement ends with.
async fn code(client: &mut Client, sql: &str) -> Option<String> {
    let reply = client.query(sql).await;
    reply.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| sqlstate(body))
}
