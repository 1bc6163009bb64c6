//! The side table: facts about actors that ractor does not report. The live dump reads it.
//!
//! ```text
//!   node                                one slot per actor, ordered so that a subtree is one range;
//!   node/scopes                         a supervisor writes the slots of its children,
//!   node/scopes/tenant acme             an actor writes its own through its `Vitals`
//!   node/scopes/tenant acme/workers
//! ```
//!
//! Guarantees: a slot exists while its child is on its supervisor's list. A snapshot copies, and holds the table's lock
//! only to collect references. Never keeps a task, a timer or the history of an actor.

use super::child_life::Started;
use super::child_spec::ChildKind;
use super::exit_reason::ExitReason;
use super::handle::SupervisorRef;
use super::path::{PathKey, is_under, segment};
use super::strategy::{Restart, Strategy};
use super::vitals::{Slot, Vitals};
use ractor::ActorCell;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// All actors of a tree, by path. Cheap to clone; clones share the table.
#[derive(Clone, Default)]
pub struct ActorTable {
    slots: Arc<RwLock<BTreeMap<PathKey, Arc<Slot>>>>,
    unended: Arc<Mutex<Vec<Unended>>>,
    watch: Option<Arc<Watch>>,
}

/// A path, and an actor at or below it that was killed and still runs.
type Unended = (Arc<str>, Started);
/// Observer of what supervisors do.
type Watch = dyn Fn(TreeEvent<'_>) + Send + Sync;

/// Action of a supervisor after a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeEvent<'a> {
    /// The supervisor started the child at this path again.
    Restarted(&'a str),
    /// The supervisor at this path gave up: more restarts than allowed.
    GaveUp(&'a str),
}

/// One actor as the dump shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorEntry {
    /// Ids from the root, separated by `/`. A `/` or `%` inside an id is written `%2F`, `%25`.
    pub path: String,
    /// Kind: worker or supervisor.
    pub kind: ChildKind,
    /// Restart type.
    pub restart: Restart,
    /// Strategy of a running supervisor.
    pub strategy: Option<Strategy>,
    /// `starting`, `running`, `waiting` (for its restart), `restarting` (a start failed), `stopped`, or the actor's own
    /// word.
    pub state: String,
    /// ractor's id of the running actor.
    pub actor: Option<String>,
    /// Start time, in milliseconds since 1970.
    pub started_at_unix_ms: Option<u64>,
    /// Time since the start, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// Restarts that a supervisor has spent and may spend.
    pub budget: Option<RestartBudget>,
    /// Number of restarts.
    pub restarts_total: u32,
    /// Reason of the last exit.
    pub last_exit: Option<ExitReason>,
    /// Messages sent through its [`Address`](super::Address) and not yet received.
    pub mailbox_depth: u64,
    /// Message that the actor received last.
    pub last_message: Option<String>,
    /// Present work of the actor.
    pub work: Option<String>,
}

/// A supervisor's restart window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBudget {
    /// Restarts that count now.
    pub in_window: u32,
    /// Restarts allowed within the period; with one more the supervisor gives up.
    pub allowed: u32,
    /// Length of the window in milliseconds.
    pub period_ms: u64,
}

impl ActorEntry {
    /// Returns the last segment of the path.
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Counts the levels below the root.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }
}

impl ActorTable {
    /// Creates a table without actors.
    pub fn new() -> ActorTable {
        ActorTable::default()
    }

    /// Creates a table without actors whose `watch` receives what supervisors do about ended children. `watch` must not
    /// block.
    pub fn watched(watch: impl Fn(TreeEvent<'_>) + Send + Sync + 'static) -> ActorTable {
        ActorTable { watch: Some(Arc::new(watch)), ..ActorTable::default() }
    }

    /// Reports an event to the observer, if there is one.
    pub(super) fn tell(&self, event: TreeEvent<'_>) {
        if let Some(watch) = &self.watch {
            watch(event);
        }
    }

    /// Lists the actors at and below the path `under` (`""`: all) that come after the path `after`. Entries are in tree
    /// order, at most `limit`. To page, hand in the path of the last entry.
    pub fn snapshot(&self, under: &str, after: Option<&str>, limit: usize) -> Vec<ActorEntry> {
        let (under_key, after_key) = (PathKey::new(under), after.map(PathKey::new));
        let from = match after_key {
            Some(key) if key >= under_key => Bound::Excluded(key),
            _ => Bound::Included(under_key),
        };
        let slots = self.read();
        let range = slots.range((from, Bound::Unbounded));
        let found: Vec<_> =
            range.map(|(_, slot)| slot).take_while(|slot| is_under(slot.path(), under)).take(limit).cloned().collect();
        drop(slots);
        let (now, now_unix_ms) = (Instant::now(), unix_ms());
        found.iter().map(|slot| slot.entry(now, now_unix_ms)).collect()
    }

    /// Shows one actor.
    pub fn entry(&self, path: &str) -> Option<ActorEntry> {
        self.slot(path).map(|slot| slot.entry(Instant::now(), unix_ms()))
    }

    /// Returns the running actor at this path.
    pub fn cell(&self, path: &str) -> Option<ActorCell> {
        Some(self.slot(path)?.actor()?.actor().clone())
    }

    /// Returns the running supervisor at this path.
    pub fn supervisor(&self, path: &str) -> Option<SupervisorRef> {
        let slot = self.slot(path)?;
        let running = (slot.kind() == ChildKind::Supervisor).then(|| slot.actor()).flatten()?;
        Some(SupervisorRef::of_cell(running.actor().clone()))
    }

    /// Counts the actors in the table.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// True when the table is empty.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Adds the root.
    pub(super) fn insert_root(&self, name: &str) -> Arc<Slot> {
        let slot = Arc::new(Slot::new(segment(name).into(), ChildKind::Supervisor, Restart::Temporary));
        self.write().insert(PathKey(Arc::clone(slot.path())), Arc::clone(&slot));
        slot
    }

    /// Adds a child below the actor of these vitals. An actor that was replaced meanwhile adds nothing: its slot stays
    /// unlisted.
    pub(super) fn insert(&self, parent: &Vitals, id: &str, kind: ChildKind, restart: Restart) -> Arc<Slot> {
        let path: Arc<str> = format!("{}/{}", parent.path(), segment(id)).into();
        let slot = Arc::new(Slot::new(Arc::clone(&path), kind, restart));
        let mut slots = self.write();
        if slots.get(&PathKey::new(parent.path())).is_some_and(|listed| parent.is_current_of(listed)) {
            slots.insert(PathKey(path), Arc::clone(&slot));
        }
        slot
    }

    /// Removes the slot and everything below it.
    pub(super) fn remove(&self, slot: &Arc<Slot>) {
        let mut slots = self.write();
        let key = PathKey(Arc::clone(slot.path()));
        if slots.get(&key).is_some_and(|listed| Arc::ptr_eq(listed, slot)) {
            slots.remove(&key);
            remove_below(&mut slots, slot.path());
        }
    }

    /// Removes everything below the slot.
    pub(super) fn remove_below(&self, slot: &Arc<Slot>) {
        let mut slots = self.write();
        if slots.get(&PathKey(Arc::clone(slot.path()))).is_some_and(|listed| Arc::ptr_eq(listed, slot)) {
            remove_below(&mut slots, slot.path());
        }
    }

    /// Lists what runs below the slot.
    pub(super) fn running_below(&self, slot: &Slot) -> Vec<(Arc<Slot>, Started)> {
        let slots = self.read();
        let range = slots.range((Bound::Excluded(PathKey(Arc::clone(slot.path()))), Bound::Unbounded));
        let below = range.map(|(_, slot)| slot).take_while(|below| is_under(below.path(), slot.path()));
        below.filter_map(|below| Some((Arc::clone(below), below.actor()?))).collect()
    }

    /// Remembers an actor at or below this path that was killed and does not yield.
    pub(super) fn cannot_end(&self, path: &Arc<str>, life: Started) {
        self.unended.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((Arc::clone(path), life));
    }

    /// Lists the actors at or below this path that were killed and still run.
    pub(super) fn unended(&self, path: &str) -> Vec<Started> {
        let mut unended = self.unended.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        unended.retain(|(_, life)| !life.is_gone());
        unended.iter().filter(|(of, _)| is_under(of, path)).map(|(_, life)| life.clone()).collect()
    }

    fn slot(&self, path: &str) -> Option<Arc<Slot>> {
        self.read().get(&PathKey::new(path)).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PathKey, Arc<Slot>>> {
        self.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PathKey, Arc<Slot>>> {
        self.slots.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl std::fmt::Debug for ActorTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorTable").field("actors", &self.len()).finish()
    }
}

fn remove_below(slots: &mut BTreeMap<PathKey, Arc<Slot>>, path: &Arc<str>) {
    let range = slots.range((Bound::Excluded(PathKey(Arc::clone(path))), Bound::Unbounded));
    let below: Vec<_> = range.map(|(key, _)| Arc::clone(&key.0)).take_while(|key| is_under(key, path)).collect();
    for key in below {
        slots.remove(&PathKey(key));
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::vitals::ACTOR_BYTES;
    use super::*;

    /// Actors of the measured table, as ten thousand tenants have.
    const MANY: usize = 60_000;
    /// Most memory per entry with its path, in bytes.
    const ENTRY_BYTES_MAX: usize = 500;

    struct Tree {
        table: ActorTable,
        lives: Vec<(Arc<Slot>, Vitals)>,
    }

    impl Tree {
        fn new() -> Tree {
            let table = ActorTable::new();
            let root = table.insert_root("node");
            let vitals = root.begin(&table);
            Tree { table, lives: vec![(root, vitals)] }
        }

        fn add(&mut self, parent: usize, id: &str) -> usize {
            let slot = self.table.insert(&self.lives[parent].1, id, ChildKind::Worker, Restart::Permanent);
            let vitals = slot.begin(&self.table);
            self.lives.push((slot, vitals));
            self.lives.len() - 1
        }

        fn paths(&self, under: &str, after: Option<&str>, limit: usize) -> Vec<String> {
            self.table.snapshot(under, after, limit).into_iter().map(|entry| entry.path).collect()
        }
    }

    #[test]
    fn a_subtree_is_whole_and_nothing_else_and_pages() {
        let mut tree = Tree::new();
        for tenant in ["acme", "acme corp", "acme!", "a/b"] {
            let tenant = tree.add(0, tenant);
            tree.add(tenant, "workers");
            tree.add(tenant, "coordinator");
        }
        assert_eq!(tree.paths("node/acme", None, 10), ["node/acme", "node/acme/coordinator", "node/acme/workers"]);
        assert_eq!(tree.paths("node/a%2Fb", None, 1), ["node/a%2Fb"]);
        assert_eq!(tree.paths("nod", None, 10), [""; 0]);
        let (all, mut paged) = (tree.paths("", None, 100), Vec::new());
        assert_eq!(all.len(), 13);
        while let page @ [_, ..] = tree.paths("", paged.last().map(String::as_str), 2).as_slice() {
            paged.extend_from_slice(page);
        }
        assert_eq!(paged, all);
        let subtree = tree.paths("node/acme", Some("node/acme/coordinator"), 10);
        assert_eq!(subtree, ["node/acme/workers"], "a page of a subtree ends with it");
    }

    #[test]
    fn removing_takes_the_subtree_and_leaves_the_neighbours() {
        let mut tree = Tree::new();
        let acme = tree.add(0, "acme");
        tree.add(acme, "workers");
        let corp = tree.add(0, "acme corp");
        tree.add(corp, "workers");
        tree.table.remove(&tree.lives[acme].0);
        assert_eq!(tree.paths("", None, 10), ["node", "node/acme corp", "node/acme corp/workers"]);
    }

    #[test]
    fn an_actor_that_was_replaced_adds_and_removes_nothing() {
        let mut tree = Tree::new();
        let old = tree.add(0, "scopes");
        let slot = Arc::clone(&tree.lives[old].0);
        let new = slot.begin(&tree.table);
        tree.add(old, "late child of the old one");
        assert_eq!(tree.table.len(), 2);
        tree.lives[old].1.state("old");
        new.state("new");
        assert_eq!(tree.table.entry("node/scopes").map(|entry| entry.state).as_deref(), Some("new"));
        let detached = Arc::new(Slot::new("node/scopes".into(), ChildKind::Worker, Restart::Permanent));
        tree.table.remove(&detached);
        assert_eq!(tree.table.len(), 2);
    }

    #[test]
    fn an_entry_survives_its_json() {
        let mut tree = Tree::new();
        let x = tree.add(0, "x");
        tree.lives[x].1.working_on("batch 7");
        tree.lives[x].1.received("wake");
        let entry = tree.table.entry("node/x").unwrap();
        assert_eq!((entry.work.as_deref(), entry.last_message.as_deref()), (Some("batch 7"), Some("wake")));
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<ActorEntry>(&json).unwrap(), entry);
    }

    #[test]
    fn sixty_thousand_entries_are_small_and_quickly_copied() {
        let mut tree = Tree::new();
        for n in 0..MANY / 6 {
            let tenant = tree.add(0, &format!("scopes-tenant-{n:06}"));
            for child in ["coordinator", "workers", "worker context_graph", "worker trace_summary", "worker precedents"]
            {
                tree.add(tenant, child);
            }
        }
        // Two counted references and the path; a map's node is at least half full.
        let path = 16 + "node/scopes/tenant 00000000/workers/worker precedent_index".len();
        let each = ACTOR_BYTES + 2 * 16 + path + 2 * (size_of::<PathKey>() + size_of::<Arc<Slot>>());
        let asked = Instant::now();
        let entries = tree.table.snapshot("", None, usize::MAX);
        let took = asked.elapsed();
        println!("{each} bytes an entry; {} entries copied in {took:?}", entries.len());
        assert_eq!(entries.len(), MANY + 1);
        assert!(each <= ENTRY_BYTES_MAX, "{each} bytes an entry");
        // A bound for an unoptimised build on a busy machine.
        assert!(took.as_secs() < 5, "{took:?}");
    }
}
