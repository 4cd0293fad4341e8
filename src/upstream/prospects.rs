//! Who could serve a read now, for who asks without wanting a connection.

use super::config::Address;
use super::upstreams::Upstreams;
use crate::lsn::Lsn;
use crate::topology::standing::Standing;

/// An upstream, and whether it could serve.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// Where it is.
    pub address: Address,
    /// What it may be used for.
    pub standing: Standing,
    /// What it has replayed; on a primary zero or what it had as a standby.
    pub replayed: Lsn,
    /// Whether it is a replica that may serve a read with the floor asked for.
    pub may_serve: bool,
}

impl Upstreams {
    /// All upstreams, replicas first, before a read with this floor.
    #[must_use]
    pub fn prospects(&self, floor: Lsn) -> Vec<Prospect> {
        let prospect = |member: &super::member::Member| {
            let candidate = member.candidate();
            Prospect {
                address: member.address().clone(),
                standing: match self.members.is_primary(member) {
                    // Believed until it is seen.
                    true => Standing::Primary,
                    false => member.standing(),
                },
                replayed: candidate.replayed,
                may_serve: candidate.may_serve(floor),
            }
        };
        self.replicas_first().map(prospect).collect()
    }
}
