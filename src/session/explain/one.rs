//! One statement by itself: what it is, what it touches, what was found of it.

use super::check::CheckedOne;
use super::{Explained, FunctionSaid, RefusalSaid};
use crate::error::GatewayError;
use crate::session::Session;
use crate::session::runnable::Runnable;
use crate::session::statements::shown;
use crate::sql::Call;
use crate::sql::ast::TableName;
use crate::sql::catalog::CatalogVerdict;
use crate::sql::fingerprint::Fingerprint;
use crate::sql::functions::{self, FunctionVerdict};
use crate::sql::writes::Statement;
use crate::sql::writes::effects::Written;

impl Session {
    /// Explains one statement of a text.
    pub(super) fn explain_one(&self, statement: &Statement, checked: &CheckedOne) -> Explained {
        let (runnable, calls, tables) = match statement {
            Statement::Read(read) => {
                (Some(Runnable::Read(read.clone())), read.calls(), read.known_tables())
            }
            Statement::Unproven(unproven) => {
                let runnable = Runnable::Unproven(unproven.clone());
                (Some(runnable), unproven.calls(), unproven.tables())
            }
            Statement::Refused(_) => (None, &[][..], None),
        };
        let fingerprint = runnable.as_ref().map(Runnable::fingerprint);
        let written = match runnable.as_ref().map(|runnable| self.to_be_written(runnable)) {
            Some(None) => Some(Vec::new()),
            Some(Some(Written::Named(tables))) => Some(names(&tables)),
            Some(Some(Written::Unknown)) | None => None,
        };
        Explained {
            fingerprint: fingerprint.map_or(0, Fingerprint::id),
            statement: shown(fingerprint.map_or("", |fingerprint| fingerprint.text())),
            verb: statement.verb(),
            class: statement.class().as_str(),
            unproven: checked
                .unproven
                .clone()
                .map(|refusal| RefusalSaid::of(&GatewayError::Refused(refusal))),
            not_in_catalog: checked.not_in_catalog.clone(),
            functions: calls.iter().map(|call| self.function(call)).collect(),
            tables: tables.map(names),
            written,
            ruling: checked.ruling.clone(),
            plan: checked.plan(),
            cache: checked.cache,
            pin: checked.pin,
        }
    }

    /// What is known of a function.
    fn function(&self, call: &Call) -> FunctionSaid {
        let snapshot = self.shared.catalog.as_ref().map(|catalog| catalog.snapshot());
        let own = || match &snapshot {
            Some(snapshot) if snapshot.knows(&call.name) => match snapshot.verdict(&call.name) {
                CatalogVerdict::Harmless => "harmless",
                CatalogVerdict::Volatile => "volatile",
                CatalogVerdict::Denied => "denied",
            },
            _ => "unknown",
        };
        let is_shadowed = snapshot.as_ref().is_some_and(|own| own.shadows_builtin(&call.name));
        let verdict = match functions::builtin(&call.name) {
            _ if !call.is_builtin || is_shadowed => own(),
            FunctionVerdict::Pure => "pure",
            FunctionVerdict::Uncacheable(bypass) => bypass.as_str(),
            FunctionVerdict::Refused => "refused",
            FunctionVerdict::Unknown => own(),
        };
        FunctionSaid { name: call.name.clone(), verdict }
    }
}

fn names(tables: &[TableName]) -> Vec<String> {
    let name = |table: &TableName| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    tables.iter().map(name).collect()
}
