//! What a text is, found out without a trace of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::session::Shared;
use crate::sql::analyze::{Analysis, Script};
use crate::sql::refusal::Refusal;
use crate::sql::writes::{Classified, Statement};

/// What a text is.
pub(super) struct Look {
    /// What was proven of it.
    pub script: Script,
    /// What each statement is, be it proven or not.
    pub classified: Classified,
}

impl Look {
    /// Looks at a text. At a long one beside the event loop, where it holds up nobody.
    pub(super) async fn at(shared: &Arc<Shared>, text: &Bytes) -> Self {
        if text.len() <= INLINE_BYTES_MAX {
            return Self::now(shared, text);
        }
        let (own, text) = (Arc::clone(shared), text.clone());
        let look = tokio::task::spawn_blocking(move || Self::now(&own, &text));
        // The task ends without a result only when it panics: then nothing is proven.
        look.await.unwrap_or(Self {
            script: Script::One(Analysis::Refused(Refusal::TooTangled)),
            classified: Classified::One(Statement::Refused(Refusal::TooTangled)),
        })
    }

    fn now(shared: &Shared, text: &Bytes) -> Self {
        let (script, classified) = shared.analyzer.look_at(text);
        // Who asks first has the tree made, which takes as long as the text is.
        for statement in classified.statements().iter().take(super::EXPLAINED_MAX) {
            if let Statement::Unproven(unproven) = statement {
                let _ = unproven.tables();
            }
        }
        Self { script, classified }
    }

    /// What was proven of each statement.
    pub(super) fn analyses(&self) -> &[Analysis] {
        match &self.script {
            Script::One(Analysis::Empty) => &[],
            Script::One(analysis) => std::slice::from_ref(analysis),
            Script::Many(analyses) => analyses,
        }
    }

    /// How many statements there are; a text that cannot be read is one.
    pub(super) fn count(&self) -> usize {
        self.analyses().len()
    }
}

/// The longest text that is looked at on the event loop, in bytes.
const INLINE_BYTES_MAX: usize = 4 << 10;
