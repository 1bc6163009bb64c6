//! The throw-away server itself: it starts, provides separate databases, restarts with its data, and is gone
//! afterwards.

use decisiongraph_store::throwaway::{Server, StopMode};

async fn ask(url: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.map(|row| row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_lives_as_long_as_its_value() {
    let server = Server::start().await.expect("starts");
    let database = server.empty_database().await.expect("a database");
    assert_eq!(ask(database.url(), "SELECT current_database()::text").await.expect("answers"), database.name());
    assert_eq!(ask(database.url(), "SHOW fsync").await.expect("answers"), "on");
    server.restart(StopMode::Immediate).await.expect("restarts");
    assert_eq!(ask(database.url(), "SELECT current_database()::text").await.expect("answers"), database.name());
    let url = database.url().to_owned();
    drop(database);
    ask(&url, "SELECT ''").await.expect_err("the database is dropped");
    let directory = ask(server.admin_url(), "SHOW unix_socket_directories").await.expect("answers");
    assert!(std::path::Path::new(&directory).exists());
    drop(server);
    assert!(!std::path::Path::new(&directory).exists(), "the server's directory is removed");
}
