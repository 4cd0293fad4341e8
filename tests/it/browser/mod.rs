//! The page, as a browser shows it: in front of a real gateway and a real PostgreSQL.

mod driver;
mod page;
mod rules;

use serde_json::Value;

use self::driver::Browser;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;

/// A browser that looks at a gateway which lets everybody in.
struct Seen {
    // Dropped in this order: who looks before who is looked at.
    browser: Browser,
    gateway: Gateway,
    postgres: Postgres,
}

impl Seen {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let postgres = Postgres::start();
        let own = [("AUTH_METHOD", "trust"), ("ADMIN_LISTEN", "127.0.0.1:0")];
        let gateway = Gateway::start(&postgres, &[&own, settings].concat());
        let browser = Browser::start().await;
        browser.open(&format!("http://127.0.0.1:{}/", gateway.admin_port())).await;
        Self { browser, gateway, postgres }
    }

    /// A client by this name, of a program of this name.
    async fn client(&self, user: &str, application: &str) -> Client {
        let mut client = Client::connect(self.gateway.port()).await;
        let login = self.gateway.login(self.postgres.as_superuser());
        let login = crate::support::client::Login { user, ..login };
        client.start(login, &[("application_name", application)]).await.expect("it may come in");
        client
    }

    /// Waits until a table has a row in which all of these stand, and gives its text.
    async fn row(&self, table: &str, words: &[&str]) -> String {
        let script = format!(
            "const row = [...document.querySelectorAll('#{table} tbody tr')].find((row) => \
             {}.every((words) => row.innerText.includes(words))); return row?.innerText ?? ''",
            serde_json::json!(words)
        );
        text(&self.browser.until(&script).await)
    }

    /// Presses the button of the dialog that asks, once it is there.
    async fn answer(&self, value: &str) -> String {
        let question = "return document.querySelector('#ask[open]')?.innerText ?? ''";
        let question = text(&self.browser.until(question).await);
        self.browser.click(&format!("#ask button[value={value}]")).await;
        question
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
