//! Answers of a node to other nodes: at once, from memory or from the end of its journal.

use super::answers::NodeAnswers;
use super::condition::Condition;
use decisiongraph_engine::seal::memory_check;
use decisiongraph_projections::Category;
use decisiongraph_projections::seal::base64;
use decisiongraph_protocol::{
    AdminError, LIVE_SCOPES_MAX, LinksReply, LiveOf, LiveReply, Notice, PeerReply, PeerRequest, Pong, ScopeFilter,
    SealMemoryReply,
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

    /// Tells what the journal of this node remembers of a log, and which key signs here.
    pub(super) async fn seal_memory(&self, origin: Option<&str>) -> Result<SealMemoryReply, AdminError> {
        let Some(sealing) = self.0.engine.sealing() else { return Ok(SealMemoryReply::default()) };
        sealing.refresh_keys();
        let mut keys = sealing.keys.verifiers("a/b").into_iter().map(|key| base64(&key.public));
        let (key, former_key) = (keys.next(), keys.next());
        let Some(origin) = origin else { return Ok(SealMemoryReply { newest: None, key, former_key }) };
        let newest = memory_check::newest_line(sealing, origin).await;
        let newest = newest.map_err(|fault| AdminError::new(Category::Storage, format!("its journal: {fault}")))?;
        Ok(SealMemoryReply { newest, key, former_key })
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
