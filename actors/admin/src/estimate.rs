//! Estimates of a generation's size: from a sample of the live generation, or without one from figures of mixed
//! workloads.

use decisiongraph_projections::rows::{Identity, Row, Value};
use decisiongraph_projections::{Density, Projection, TenantId};
use decisiongraph_store::{Generation, ReadView, Result, RowOrder};
use futures_util::StreamExt as _;

/// Rows per table in a sample, roughly.
const SAMPLE_ROWS: usize = 4_000;
/// Places that the sample should cover. Rows of one place come together, and their number differs from place to place.
const SAMPLE_PLACES: usize = 150;
/// Rows after which a sample ends, with the chunk that is read then.
const SAMPLE_ROWS_MAX: usize = 100_000;
/// Bytes per row besides its texts: headers, integers, hashes.
const ROW_BYTES: f64 = 70.0;
/// Bytes per row in each index.
const INDEX_BYTES: f64 = 60.0;

/// Size of a generation: rows and bytes, with indexes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Rows of all tables.
    pub rows: f64,
    /// Bytes of these rows, with indexes.
    pub bytes: f64,
}

/// Estimates the size of a projection over this many events, from its density over mixed workloads.
pub fn assumed(projection: &dyn Projection, events: u64) -> Size {
    let Density { rows_per_event, bytes_per_row } = projection.density();
    let rows = (events as f64 * rows_per_event).ceil();
    Size { rows, bytes: rows * bytes_per_row }
}

/// Estimates the size of an existing generation from the first rows of each table by their identities.
pub async fn sampled(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<Size> {
    let mut size = Size { rows: 0.0, bytes: 0.0 };
    for (index, table) in projection.tables().iter().enumerate() {
        let mut stream = view.rows(tenant, projection, generation, index, RowOrder::Key).await?;
        let (mut reach, mut texts, mut all) = (Reach::default(), 0_usize, false);
        while !reach.is_enough() {
            let Some(chunk) = stream.next().await.transpose()? else {
                all = true;
                break;
            };
            chunk.iter().for_each(|keyed| reach.add(keyed.key));
            texts += chunk.iter().map(|keyed| text_bytes(&keyed.row)).sum::<usize>();
        }
        let count = if all { reach.rows as f64 } else { reach.count() };
        let indexes = 1 + table.hashed.len();
        let each = texts as f64 / reach.rows.max(1) as f64 + ROW_BYTES + indexes as f64 * INDEX_BYTES;
        size = Size { rows: size.rows + count, bytes: size.bytes + count * each };
    }
    Ok(size)
}

/// Reach of the first rows in the order of identities. Places and hashes are spread evenly, so it tells the number of
/// all rows.
#[derive(Default)]
struct Reach {
    rows: usize,
    places: usize,
    /// Rows of the places before the last place.
    before: usize,
    last: Option<Identity>,
}

impl Reach {
    fn add(&mut self, identity: Identity) {
        if self.last.is_none_or(|last| last.place() != identity.place()) {
            self.places += 1;
            self.before = self.rows;
        }
        self.rows += 1;
        self.last = Some(identity);
    }

    fn is_enough(&self) -> bool {
        self.rows >= SAMPLE_ROWS && (self.places >= SAMPLE_PLACES || self.rows >= SAMPLE_ROWS_MAX)
    }

    /// Estimates the number of all rows.
    fn count(&self) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let part = |number: f64, of: f64| (number / of).max(f64::MIN_POSITIVE);
        // All rows of the last place, of which the end may be missing.
        let within = (self.rows - self.before) as f64 / part(last.hash() as f64, u128::MAX as f64);
        match last.place() {
            // After a single place, the number of other places is unknown.
            Some(place) if self.before > 0 => {
                (self.before as f64 + within) / part(f64::from(place), f64::from(u32::MAX))
            }
            _ => within,
        }
    }
}

fn text_bytes(row: &Row) -> usize {
    row.0.iter().filter_map(Value::as_str).map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::catalogue;
    use decisiongraph_projections::rows::Table;

    fn told(table: &Table, keys: impl Iterator<Item = String>) -> f64 {
        let mut identities: Vec<Identity> = keys.map(|key| table.key_of(0, &key)).collect();
        identities.sort_unstable();
        let mut reach = Reach::default();
        for identity in identities {
            reach.add(identity);
            if reach.is_enough() {
                break;
            }
        }
        assert!(reach.rows <= SAMPLE_ROWS_MAX);
        reach.count()
    }

    #[test]
    fn the_first_rows_say_how_many_there_are() {
        let [_, edges] = catalogue::CONTEXT_GRAPH.tables() else { panic!("two tables") };
        let edge = |trace: String, n: i32| format!("trace_observed_input:trace:{trace}:input:{n}:e{n}");
        let near = |told: f64, rows: f64| assert!((0.75 * rows..1.33 * rows).contains(&told), "{told} of {rows}");
        // First each edge in its own place, then eight edges of a trace in one place. Last, the edges of a hundred
        // consecutive traces in one place.
        let uuid = |n: i32| format!("{:08x}-7e5b-4cc3-98c4-dc0c0c07398f", (n as u32).wrapping_mul(0x9e37_79b1));
        near(told(edges, (0..200_000).map(|n| edge(uuid(n), n))), 200_000.0);
        near(told(edges, (0..400_000).map(|n| edge(format!("{}", n / 8), n))), 400_000.0);
        near(told(edges, (0..400_000).map(|n| edge(format!("{:05}", n / 8), n))), 400_000.0);
        // For these, the first five places alone would give a wrong number, up to five times the real one.
        for of in ["f", "k", "l", "m", "q"] {
            near(told(edges, (0..200_000).map(|n| edge(format!("{of}{:05}", n / 8), n))), 200_000.0);
        }
        // All rows in one place.
        let letters = |n: i32| n.to_string().bytes().map(|digit| char::from(digit + 49)).collect::<String>();
        let named = |n| format!("trace_observed_input:trace:{}:input:an input:an event", letters(n));
        near(told(edges, (0..300_000).map(named)), 300_000.0);
        assert_eq!(Reach::default().count(), 0.0);
    }
}
