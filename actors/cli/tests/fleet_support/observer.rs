//! The view that the database has of the cluster, read without any proxy. All times come from its clock, in seconds.

use decisiongraph_projections::TenantId;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

/// A separate session, opened again when it is lost.
pub struct Observer {
    url: std::sync::Mutex<String>,
    client: Mutex<Option<Client>>,
}

impl Observer {
    pub fn of(url: &str) -> Observer {
        Observer { url: std::sync::Mutex::new(url.to_owned()), client: Mutex::default() }
    }

    /// Reads from another server from now on.
    pub async fn turn_to(&self, url: &str) {
        *self.url.lock().expect("not poisoned") = url.to_owned();
        *self.client.lock().await = None;
    }

    /// Returns the rows, or none while the database is away.
    pub async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Option<Vec<Row>> {
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            let url = self.url.lock().expect("not poisoned").clone();
            let (fresh, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
            tokio::spawn(connection);
            *client = Some(fresh);
        }
        match client.as_ref()?.query(sql, params).await {
            Ok(rows) => Some(rows),
            Err(error) if error.as_db_error().is_some_and(|db| !db.code().code().starts_with("57")) => {
                panic!("{sql}: {error:?}")
            }
            Err(_) => {
                *client = None;
                None
            }
        }
    }

    pub async fn now(&self) -> f64 {
        let rows = self.rows("SELECT extract(epoch FROM clock_timestamp())::float8", &[]).await;
        rows.expect("the database answers")[0].get(0)
    }

    /// Returns the nodes whose lease runs.
    pub async fn live(&self) -> Option<Vec<String>> {
        let sql = "SELECT node FROM dg_node WHERE protocol IS NOT NULL AND expires_at > clock_timestamp() ORDER BY 1";
        Some(self.rows(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    /// Counts the live nodes that speak this protocol version.
    pub async fn of_protocol(&self, version: u32) -> i64 {
        let sql = "SELECT count(*) FROM dg_node WHERE protocol = $1 AND expires_at > clock_timestamp()";
        let version = i32::try_from(version).expect("small");
        self.rows(sql, &[&version]).await.expect("the database answers")[0].get(0)
    }

    /// Returns the incarnation of the node that is a live member.
    pub async fn incarnation(&self, node: &str) -> Option<String> {
        let sql = "SELECT incarnation::text FROM dg_node WHERE node = $1 AND expires_at > clock_timestamp()";
        self.rows(sql, &[&node]).await?.first().map(|row| row.get(0))
    }

    /// Returns each scope's tenant and its owner, if the owner's lease runs.
    pub async fn owners(&self) -> Option<Vec<(String, Option<String>)>> {
        let sql = "SELECT s.tenant_id, n.node FROM dg_scope s LEFT JOIN dg_node n ON n.node = s.owner_node \
                   AND n.incarnation = s.owner_incarnation AND n.expires_at > clock_timestamp() ORDER BY s.tenant_id, s.projection";
        Some(self.rows(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Returns the tenants of which this node owns every scope.
    pub async fn tenants_of(&self, node: &str) -> Vec<TenantId> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (tenant, owner) in self.owners().await.unwrap_or_default() {
            if owner.as_deref() == Some(node) {
                *counts.entry(tenant).or_default() += 1;
            }
        }
        let mut whole: Vec<TenantId> = counts
            .into_iter()
            .filter(|(_, count)| *count == 3)
            .map(|(tenant, _)| TenantId::new(tenant).expect("an id"))
            .collect();
        whole.sort();
        whole
    }

    /// Returns, for each scope of these tenants, the time from `since` to the first commit by another owner than
    /// `life`.
    pub async fn taken_over(
        &self,
        life: &str,
        tenants: &[TenantId],
        since: f64,
        within: Duration,
    ) -> Result<Vec<Duration>, String> {
        let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let sql = "SELECT tenant_id, projection, extract(epoch FROM updated_at)::float8 FROM dg_scope \
                   WHERE tenant_id = ANY($1) AND owner_incarnation::text <> $2 \
                     AND updated_at > to_timestamp($3::float8)";
        let mut first: HashMap<(String, String), Duration> = HashMap::new();
        let end = Instant::now() + within;
        while first.len() < tenants.len() * 3 {
            for row in self.rows(sql, &[&names, &life, &since]).await.unwrap_or_default() {
                let at: f64 = row.get(2);
                first.entry((row.get(0), row.get(1))).or_insert(Duration::from_secs_f64((at - since).max(0.0)));
            }
            if Instant::now() > end {
                return Err(format!("not taken over within {within:?}: only {first:?}\n{}", self.picture().await));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(first.into_values().collect())
    }

    /// Returns the end of the lease of this incarnation; none when its row is gone.
    pub async fn lease_end(&self, life: &str) -> Option<f64> {
        let sql = "SELECT extract(epoch FROM expires_at)::float8 FROM dg_node WHERE incarnation::text = $1";
        self.rows(sql, &[&life]).await?.first().map(|row| row.get(0))
    }

    /// Returns the time of this incarnation's last commit to a scope that it still owns.
    pub async fn last_commit(&self, life: &str) -> Option<f64> {
        let sql = "SELECT extract(epoch FROM max(updated_at))::float8 FROM dg_scope WHERE owner_incarnation::text = $1";
        self.rows(sql, &[&life]).await?[0].get(0)
    }

    /// Returns the sum of all cursors. It grows with every commit that applies events.
    pub async fn progress(&self) -> i64 {
        let rows = self.rows("SELECT coalesce(sum(cursor_seq), 0)::bigint FROM dg_scope", &[]).await;
        rows.map_or(0, |rows| rows[0].get(0))
    }

    /// Describes everything that explains a missed expectation.
    pub async fn picture(&self) -> String {
        let nodes =
            "SELECT concat_ws(' ', 'node', node, incarnation, expires_at - clock_timestamp()) FROM dg_node ORDER BY 1";
        let scopes = "SELECT concat_ws(' ', 'scope', tenant_id, projection, owner_node, owner_incarnation, 'epoch', epoch, 'cursor', \
                      cursor_seq, 'of', (SELECT max(log_seq) FROM dg_event_log e WHERE e.tenant_id = s.tenant_id), updated_at) \
                      FROM dg_scope s ORDER BY 1";
        let sessions = "SELECT concat_ws(' ', 'session', pid, state, xact_start, wait_event, left(query, 80)) FROM pg_stat_activity \
                        WHERE datname = current_database() ORDER BY 1";
        let mut lines = Vec::new();
        for sql in [nodes, scopes, sessions] {
            let rows = self.rows(sql, &[]).await.unwrap_or_default();
            lines.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        lines.join("\n")
    }
}
