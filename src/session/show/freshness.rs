//! How fresh reads were, and what failovers have lost: `freshness`, `lost_commits`.

use std::time::{Duration, SystemTime};

use super::utc::utc;
use super::{Shared, View, cell};
use crate::freshness::losses::LostCommit;
use crate::upstream::upstreams::Served;
use crate::wire::backend::{Column, Row};

pub(super) fn columns() -> Vec<Column> {
    vec![Column::text("name"), Column::number("count")]
}

pub(super) fn lost_commit_columns() -> Vec<Column> {
    let text = ["lsn", "at", "user", "application", "fingerprint"].map(Column::text);
    text.into_iter().chain([Column::number("timeline")]).collect()
}

/// The reads by who served them, then what was captured, and what of it was lost.
pub(super) fn rows(shared: &Shared) -> Vec<Row> {
    let counts = shared.upstreams.freshness_counts();
    let served = Served::ALL.map(Served::label).into_iter().zip(counts.served);
    let lost = shared.upstreams.lost_commits().1;
    let rest = [("captured", counts.captured), ("lost_commits", lost)];
    served.chain(rest).map(|(name, count)| vec![cell(name), cell(count)]).collect()
}

/// One row a commit, oldest first. Of other users' the details are not shown.
pub(super) fn lost_commit_rows(view: &View<'_>) -> Vec<Row> {
    let row = |lost: &LostCommit| lost_commit_row(lost, view.shows(&lost.commit.user));
    view.shared.upstreams.lost_commits().0.iter().map(row).collect()
}

fn lost_commit_row(lost: &LostCommit, is_shown: bool) -> Row {
    let commit = &lost.commit;
    vec![
        cell(commit.lsn),
        cell(utc(SystemTime::UNIX_EPOCH + Duration::from_millis(commit.at_ms))),
        cell(&commit.user),
        is_shown.then(|| commit.application.to_string()),
        is_shown.then(|| format!("{:016x}", commit.fingerprint)),
        cell(lost.timeline),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::losses::Commit;
    use crate::lsn::Lsn;

    #[test]
    fn of_others_lost_commits_the_details_are_not_told() {
        let commit = Commit {
            lsn: Lsn::from_u64(0x16_B374_D848),
            at_ms: 951_782_400_999,
            user: "ann".into(),
            application: "app".into(),
            fingerprint: 0xbeef,
        };
        let lost = LostCommit { commit, timeline: 2, began_at: Lsn::ZERO };
        let told = |is_shown| {
            let row = lost_commit_row(&lost, is_shown);
            assert_eq!(row.len(), lost_commit_columns().len());
            row.into_iter()
                .map(|cell| cell.unwrap_or_else(|| "NULL".to_owned()))
                .collect::<Vec<_>>()
        };
        let (at, fingerprint) = ("2000-02-29 00:00:00 UTC", "000000000000beef");
        assert_eq!(told(true), ["16/B374D848", at, "ann", "app", fingerprint, "2"]);
        assert_eq!(told(false), ["16/B374D848", at, "ann", "NULL", "NULL", "2"]);
    }
}
