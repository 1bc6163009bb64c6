//! A real PostgreSQL server that lives as long as a test run. To come.
