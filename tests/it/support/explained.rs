//! What `EXPLAIN PGSLUICE` says, for tests to read.

use super::client::Client;
use super::messages::{Message, columns, query, rows, tags};

/// The facts, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told(pub(crate) Vec<(String, String)>);

impl Told {
    /// Of a whole reply.
    pub(crate) fn of(reply: &[Message]) -> Self {
        let shape = tags(reply).replace('D', "");
        assert_eq!(shape, "TCZ", "{reply:?}");
        assert_eq!(columns(&reply[0].1), ["item", "value"]);
        Self::of_rows(reply)
    }

    /// Of the rows of a reply.
    pub(crate) fn of_rows(reply: &[Message]) -> Self {
        let fact = |row: Vec<Option<String>>| {
            let mut values = row.into_iter().map(|value| value.expect("no NULL"));
            (values.next().expect("an item"), values.next().expect("a value"))
        };
        Self(rows(reply).into_iter().map(fact).collect())
    }

    /// The first value of an item; empty where there is none.
    pub(crate) fn get(&self, item: &str) -> &str {
        self.all(item).first().copied().unwrap_or_default()
    }

    /// All values of an item.
    pub(crate) fn all(&self, item: &str) -> Vec<&str> {
        let of_item = self.0.iter().filter(|(name, _)| name == item);
        of_item.map(|(_, value)| value.as_str()).collect()
    }
}

/// Asks for an explanation.
pub(crate) async fn explain(client: &mut Client, sql: &str) -> Told {
    Told::of(&client.exchange(&query(&format!("EXPLAIN PGSLUICE {sql}"))).await)
}
