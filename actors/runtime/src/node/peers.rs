//! Answers of a node to other nodes: from memory, at once.

use super::answers::NodeAnswers;
use super::condition::Condition;
use decisiongraph_protocol::{
    LIVE_SCOPES_MAX, LinksReply, LiveOf, LiveReply, Notice, PeerReply, PeerRequest, Pong, ScopeFilter,
};

impl NodeAnswers {
    /// Answers a peer.
    pub(super) fn peer(&self, request: PeerRequest) -> PeerReply {
        let parts = &self.0;
        match request {
            PeerRequest::Ping { .. } => PeerReply::Pong(Pong {
                node: parts.owner.node.clone(),
                incarnation: parts.owner.incarnation,
                program: parts.versions.program.clone(),
                protocol: parts.versions.protocol,
                uptime_ms: u64::try_from(parts.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
            PeerRequest::Tell(notices) => {
                self.heed(notices);
                PeerReply::Told
            }
            PeerRequest::Live(filter) => PeerReply::Live(self.live(&filter)),
            PeerRequest::Links => {
                let (node, links) = (parts.owner.node.clone(), parts.links.states());
                PeerReply::Links(LinksReply { node, links, unlinked: self.unlinked() })
            }
        }
    }

    fn heed(&self, notices: Vec<Notice>) {
        let mut behind = false;
        for notice in notices {
            match notice {
                Notice::Reconsider { tenant } => behind |= !self.look_again(&tenant),
                Notice::Released { tenants } => {
                    behind |= tenants.iter().filter(|tenant| !self.look_again(tenant)).count() > 0;
                }
            }
        }
        if behind {
            self.0.signals.behind.send();
        }
    }

    /// Reports what this node's workers do, and what stands in the node's way.
    pub(super) fn live(&self, filter: &ScopeFilter) -> LiveReply {
        let parts = &self.0;
        let mut scopes = Vec::new();
        let cells = match &filter.tenant {
            Some(tenant) => parts.tenants.cell(tenant).into_iter().collect(),
            None => parts.tenants.cells(),
        };
        for cell in cells {
            for (place, projection) in cell.scopes.iter().enumerate() {
                if filter.projection.as_deref().is_none_or(|name| name == projection.name()) {
                    let (tenant, projection) = (cell.tenant.clone(), projection.name().to_owned());
                    scopes.push(LiveOf { tenant, projection, target: cell.target(), live: cell.live(place) });
                }
            }
        }
        scopes.truncate(LIVE_SCOPES_MAX);
        LiveReply { node: parts.owner.node.clone(), scopes, findings: Condition::of(&parts.board).findings() }
    }
}
