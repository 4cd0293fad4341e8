//! What would become of a statement, for whoever asks by HTTP: `EXPLAIN PGSLUICE` in a session that
//! has just begun.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Admin;
use super::reply::{Failure, Reply, to_json};
use crate::session::explain::imagined::{self, Imagined};
use crate::session::explain::{
    CacheSaid, Explained, Explanation, RefusalSaid, RouteSaid, RulingSaid, Target,
};
use crate::session::pins::PinReason;
use crate::upstream::prospects::Prospect;

/// Explains a text as a session would get it explained that has just begun.
pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Reply, Failure> {
    let body = body.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    let asked = Asked::parse(&body)?;
    let shared = &admin.shared;
    if asked.database.is_some_and(|database| database != shared.database) {
        return Err(Failure::not_found("there is no such database here"));
    }
    let users = shared.about.users.list();
    if !users.is_empty() && !users.contains(&asked.whom.user) {
        return Err(Failure::not_found("there is no such user"));
    }
    let explained = imagined::explain(shared, &asked.whom, &asked.sql.into()).await;
    let explanation = explained.map_err(|error| Failure::bad_request(error.to_string()))?;
    Ok(to_json(StatusCode::OK, &of(&explanation)))
}

/// What is asked.
struct Asked {
    sql: String,
    whom: Imagined,
    database: Option<String>,
}

impl Asked {
    fn parse(body: &[u8]) -> Result<Self, Failure> {
        let words = format!("send an object of JSON with sql, user, and of {}", OPTIONS.join(", "));
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| Failure::bad_request(format!("{words}: {error}")))?;
        let fields = document.as_object().ok_or_else(|| Failure::bad_request(&words))?;
        let known = |name: &String| REQUIRED.contains(&&**name) || OPTIONS.contains(&&**name);
        if let Some(unknown) = fields.keys().find(|name| !known(name)) {
            return Err(Failure::bad_request(format!("{words}: there is no {unknown}")));
        }
        let required = |name| {
            let missing = || Failure::bad_request(format!("{words}: {name} is missing"));
            text(fields, name)?.ok_or_else(missing)
        };
        let address = text(fields, "address")?.map(|address| address.parse());
        let address = address.transpose();
        Ok(Self {
            sql: required("sql")?,
            whom: Imagined {
                user: required("user")?,
                application: text(fields, "application_name")?.unwrap_or_default(),
                address: address.map_err(|_| Failure::bad_request("address is no IP address"))?,
            },
            database: text(fields, "database")?,
        })
    }
}

/// The text of a field, if it is there.
fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Failure> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        // The protocol ends texts with it: no client can send one.
        Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text.clone())),
        Some(_) => Err(Failure::bad_request(format!("{name} is no text without zero bytes"))),
    }
}

/// What must be said.
const REQUIRED: [&str; 2] = ["sql", "user"];

/// What may be said.
const OPTIONS: [&str; 3] = ["application_name", "address", "database"];

fn of(explanation: &Explanation) -> Value {
    json!({
        "user": explanation.user,
        "application_name": explanation.application,
        "access": if explanation.is_writer { "read_write" } else { "read_only" },
        "is_admin": explanation.is_admin,
        "transaction": explanation.block,
        "verdict": if explanation.refused.is_none() { "passes" } else { "refused" },
        "refusal": explanation.refused.as_ref().map(refusal),
        "refused_at": explanation.refused_at.map(|at| at + 1),
        "statement_count": explanation.count,
        "statements": explanation.statements.iter().map(statement).collect::<Vec<_>>(),
        "route": route(&explanation.route),
    })
}

fn refusal(said: &RefusalSaid) -> Value {
    let unless_empty = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    json!({
        "reason": said.label,
        "sqlstate": said.sqlstate.as_str(),
        "message": said.message,
        "detail": unless_empty(&said.detail),
        "hint": unless_empty(&said.hint),
    })
}

fn statement(said: &Explained) -> Value {
    let functions = said.functions.iter();
    let functions =
        functions.map(|function| json!({ "name": function.name, "verdict": function.verdict }));
    json!({
        "fingerprint": format!("{:016x}", said.fingerprint),
        "statement": said.statement,
        "kind": said.verb,
        "class": said.class,
        "is_read": said.unproven.is_none(),
        "not_proven": said.unproven.as_ref().map(refusal),
        "not_in_catalog": said.not_in_catalog,
        "functions": functions.collect::<Vec<_>>(),
        "tables": said.tables,
        "writes": said.written,
        "ruling": ruling(&said.ruling),
        "plan": said.plan,
        "cache": cache(said.cache),
        "pin": said.pin.map(PinReason::as_str),
    })
}

fn ruling(said: &RulingSaid) -> Value {
    let rules = said.matched.iter().map(|rule| {
        json!({
            "rule": rule.name,
            "action": rule.action,
            "outcome": rule.outcome,
            "observe_only": rule.is_dry_run,
        })
    });
    let rules: Vec<_> = rules.collect();
    json!({ "verdict": said.verdict, "by": said.by, "rules": rules, "more_rules": said.more })
}

fn cache(said: CacheSaid) -> Value {
    match said {
        CacheSaid::NotAsked => json!({ "outcome": "not_asked" }),
        CacheSaid::Bypass(bypass) => json!({ "outcome": "bypass", "bypass": bypass.as_str() }),
        CacheSaid::Cached { ttl_s, is_stored } => {
            json!({ "outcome": "cached", "ttl_seconds": ttl_s, "is_stored": is_stored })
        }
    }
}

fn route(said: &RouteSaid) -> Value {
    let upstream = |prospect: &Prospect| {
        json!({
            "upstream": prospect.address.to_string(),
            "standing": prospect.standing.label(),
            "replayed": prospect.replayed.to_string(),
            "may_serve": prospect.may_serve,
        })
    };
    let held = match &said.target {
        Target::Held(address) => Some(address),
        _ => None,
    };
    json!({
        "to": said.target.as_str(),
        "connection": held,
        "because": Some(said.because).filter(|because| !because.is_empty()),
        "scope": said.scope,
        "floor": said.floor.map(|floor| floor.to_string()),
        "upstreams": said.upstreams.iter().flatten().map(upstream).collect::<Vec<_>>(),
    })
}
