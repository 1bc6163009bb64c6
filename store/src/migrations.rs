//! The migrations of this program, and the choice of those that a database lacks.
//!
//! Two ranges of numbers, each with its own history: upstream's, and from [`FORK_FROM`] on those of a fork. A number
//! that upstream adds therefore never collides with a fork's, and it is applied whichever of the two came first.
//!
//! *Guarantees.* An applied migration was not edited: its checksum is compared. A migration is not applied twice.
//!
//! *Never here:* statements. Each backend reads the table of applied migrations and writes to it.

use crate::{Result, SchemaStatus, StoreError};
use decisiongraph_projections::Category;
use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// First number of a fork's migrations. Upstream stays below it.
const FORK_FROM: i32 = 10_001;

/// The table of applied migrations. Its name and columns are those of the library that wrote it first.
pub(crate) const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), applied_on \
                                         VARCHAR(255), checksum VARCHAR(255))";
/// The statement that reads it: number, name, checksum.
pub(crate) const READ_HISTORY: &str = "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version";

/// A migration of this program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Migration {
    /// Number: the order in which migrations are applied.
    pub version: i32,
    /// Name behind the number.
    pub name: &'static str,
    /// Statements.
    pub sql: &'static str,
}

/// A migration that a database has.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Number.
    pub version: i32,
    /// Name behind the number.
    pub name: String,
    /// Checksum of number, name and statements.
    pub checksum: String,
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V{}__{}", self.version, self.name)
    }
}

impl Migration {
    /// Computes the checksum that is stored beside an applied migration.
    pub fn checksum(&self) -> String {
        let mut hasher = SipHasher13::new();
        self.name.hash(&mut hasher);
        self.version.hash(&mut hasher);
        self.sql.hash(&mut hasher);
        hasher.finish().to_string()
    }

    /// Returns the name of the index that this migration builds, when it does nothing else. An administrator may have
    /// built it before, without holding up appends.
    pub fn only_index(&self) -> Option<&'static str> {
        let mut lines = self.sql.lines().filter(|line| !line.starts_with("--") && !line.trim().is_empty());
        let (statement, rest) = (lines.next()?, lines.next());
        let single = rest.is_none() && statement.find(';') == Some(statement.len() - 1);
        statement.strip_prefix("CREATE INDEX ").filter(|_| single)?.split(' ').next()
    }

    fn is(&self, applied: &Applied) -> bool {
        self.version == applied.version && self.name == applied.name && self.checksum() == applied.checksum
    }
}

fn newest(versions: impl Iterator<Item = i32>) -> i32 {
    versions.filter(|version| *version < FORK_FROM).max().unwrap_or(0)
}

fn is_missing(migration: &Migration, applied: &[Applied]) -> bool {
    !applied.iter().any(|applied| applied.version == migration.version)
}

/// Compares a database with this program.
pub(crate) fn status(known: &[Migration], applied: &[Applied], serves_from: Option<i64>) -> SchemaStatus {
    let database = newest(applied.iter().map(|applied| applied.version)).into();
    let of_fork = known.iter().filter(|migration| migration.version >= FORK_FROM && is_missing(migration, applied));
    SchemaStatus {
        database,
        program: newest(known.iter().map(|migration| migration.version)).into(),
        // Before that table existed, a schema served only its own version.
        serves_from: serves_from.unwrap_or(database),
        fork_lacks: of_fork.map(ToString::to_string).collect(),
    }
}

/// Chooses the migrations to apply, in order.
///
/// # Errors
/// `version_mismatch` for a history that is not this program's: it has a migration that this program lacks or that was
/// edited, or it lacks one in its middle. A fork's migration that this program lacks is none of its business.
pub(crate) fn pending<'k>(known: &'k [Migration], applied: &[Applied]) -> Result<Vec<&'k Migration>> {
    let mismatch = |message: String| Err(StoreError::new(Category::VersionMismatch, message));
    for applied in applied {
        match known.iter().find(|migration| migration.version == applied.version) {
            Some(migration) if migration.is(applied) => {}
            None if applied.version >= FORK_FROM => {}
            _ => {
                let Applied { version, name, .. } = applied;
                return mismatch(format!("the applied migration {version} ({name}) is not this program's"));
            }
        }
    }
    let pending: Vec<&Migration> = known.iter().filter(|migration| is_missing(migration, applied)).collect();
    let database = newest(applied.iter().map(|applied| applied.version));
    match pending.first() {
        Some(gap) if gap.version < database => {
            mismatch(format!("the database has migration {database} and lacks {gap}, which comes before it"))
        }
        _ => Ok(pending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SchemaFit;

    const fn migration(version: i32, name: &'static str) -> Migration {
        Migration { version, name, sql: "SELECT 1" }
    }

    const FIRST: Migration = migration(1, "first");
    const SECOND: Migration = migration(2, "second");
    const OURS: Migration = migration(FORK_FROM, "ours");

    fn applied(migrations: &[Migration]) -> Vec<Applied> {
        let of = |migration: &Migration| Applied {
            version: migration.version,
            name: migration.name.to_owned(),
            checksum: migration.checksum(),
        };
        migrations.iter().map(of).collect()
    }

    #[test]
    fn upstream_and_fork_go_on_in_either_order() {
        let program = [FIRST, SECOND, OURS];
        for (has, lacks, fit, needs) in [
            (vec![], vec![&FIRST, &SECOND, &OURS], SchemaFit::Behind, "2 and V10001__ours"),
            (vec![FIRST], vec![&SECOND, &OURS], SchemaFit::Behind, "2 and V10001__ours"),
            (vec![FIRST, SECOND], vec![&OURS], SchemaFit::Behind, "2 and V10001__ours"),
            (vec![FIRST, OURS], vec![&SECOND], SchemaFit::Behind, "2"),
            (vec![FIRST, SECOND, OURS], vec![], SchemaFit::Same, "2"),
        ] {
            let has = applied(&has);
            assert_eq!(pending(&program, &has), Ok(lacks));
            let status = status(&program, &has, None);
            assert_eq!((status.fit(), status.needed().as_str()), (fit, needs), "{has:?}");
        }
    }

    #[test]
    fn a_program_without_the_fork_works_beside_it_and_a_newer_schema_stays_newer() {
        let has = applied(&[FIRST, SECOND, OURS]);
        assert_eq!(pending(&[FIRST, SECOND], &has), Ok(vec![]));
        assert_eq!(status(&[FIRST, SECOND], &has, None).fit(), SchemaFit::Same);
        let older = [FIRST, OURS];
        assert_eq!(status(&older, &has, Some(1)).fit(), SchemaFit::ServesOlder);
        assert_eq!(status(&older, &has, Some(2)).fit(), SchemaFit::TooNew);
        assert_eq!(status(&older, &applied(&[FIRST, SECOND]), Some(1)).fit(), SchemaFit::Behind);
    }

    #[test]
    fn an_index_alone_may_be_there_already() {
        let of = |sql| Migration { version: 1, name: "one", sql }.only_index();
        assert_eq!(of("-- Why.\nCREATE INDEX starts ON log (a) WHERE b = 0;\n"), Some("starts"));
        for more in ["CREATE INDEX a ON b (c);\nSELECT 1;", "CREATE INDEX a ON b (c); SELECT 1;", "SELECT 1;", ""] {
            assert_eq!(of(more), None, "{more}");
        }
    }

    #[test]
    fn an_edited_an_unknown_and_a_forgotten_migration_are_refused() {
        let program = [FIRST, SECOND, OURS];
        let edited = |version: i32, name| Migration { version, name, sql: "SELECT 2" };
        for (has, expected) in [
            (vec![edited(1, "first")], "the applied migration 1 (first) is not this program's"),
            (vec![FIRST, edited(FORK_FROM, "ours")], "the applied migration 10001 (ours) is not this program's"),
            (vec![FIRST, migration(2, "other")], "the applied migration 2 (other) is not this program's"),
            (vec![FIRST, SECOND, migration(3, "third")], "the applied migration 3 (third) is not this program's"),
            (vec![SECOND, OURS], "the database has migration 2 and lacks V1__first, which comes before it"),
        ] {
            let refused = pending(&program, &applied(&has)).expect_err(expected);
            assert_eq!((refused.category, refused.message.as_str()), (Category::VersionMismatch, expected));
        }
    }

    /// Checksums that databases have stored. An edit of a landed migration would make every one of them refuse to work.
    #[test]
    fn a_landed_migration_is_never_edited() {
        #[cfg(feature = "postgres")]
        is_as_it_landed(
            POSTGRES,
            &[
                7554441886987787199,
                6283253119261234303,
                5822811200172096442,
                5826903914439567262,
                1856159516216471042,
                17505140759635044684,
                4024045215570078554,
                10446324560271945375,
                2075636617883129306,
                10846680891702594971,
                11687896237285512950,
                485718126535302830,
                602322979468675765,
            ],
        );
        #[cfg(feature = "sqlite")]
        is_as_it_landed(
            SQLITE,
            &[
                16322381004392284905,
                2818802920994043810,
                17027648265242231351,
                13046492016541206190,
                15170355945755611498,
                9876592483199058307,
                11782436389972538310,
                4474484912354398712,
                421395662003513463,
                3566005678100821022,
                2093911806648737654,
                10716483174563641809,
                11725602971009370878,
                15448734631159396369,
                4135369975091019545,
                7901677645197603198,
                15345592243587033897,
            ],
        );
    }

    fn is_as_it_landed(known: &[Migration], checksums: &[u64]) {
        assert!(known.len() >= checksums.len(), "a landed migration is gone");
        for (migration, checksum) in known.iter().zip(checksums) {
            assert_eq!(migration.checksum(), checksum.to_string(), "{migration} was edited");
        }
    }
}
