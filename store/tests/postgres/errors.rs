//! Servers that refuse: the error has the category and the address, never the password.

use crate::fold::append_all;
use crate::log::{started, tenant};
use crate::raw::Fresh;
use decisiongraph_projections::Category;
use decisiongraph_store::throwaway::{PASSWORD, PASSWORD_ROLE, Server, StopMode, shared};
use decisiongraph_store::{AppendMode, StoreError, StoreOptions, postgres};

async fn refused(url: &str) -> StoreError {
    match postgres::open(url, StoreOptions::default()).await {
        Ok(_) => panic!("{url} opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_unauthorized_and_not_told() {
    let server = shared().await.expect("a server");
    let Some(at) = server.host_port() else { return };
    let url = |password: &str| format!("postgres://{PASSWORD_ROLE}:{password}@{at}/postgres");
    let wrong = refused(&url("wr0ng-s3cret")).await;
    assert_eq!(wrong.category, Category::Unauthorized);
    assert!(!wrong.transient);
    assert!(wrong.message.contains(&format!("{PASSWORD_ROLE}@{at}/postgres")), "{wrong}");
    assert!(!format!("{wrong:?}").contains("wr0ng"), "{wrong}");
    let missing = refused(&format!("postgres://{PASSWORD_ROLE}@{at}/postgres")).await;
    assert_eq!(missing.category, Category::Unauthorized, "{missing}");
    postgres::open(&url(&PASSWORD.replace(' ', "%20")), StoreOptions::default()).await.expect("the right one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_named() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let error = refused(&format!("postgres://u:s3cret@127.0.0.1:{port}/d")).await;
    assert_eq!((error.category, error.transient), (Category::Unavailable, true));
    assert!(error.message.contains(&format!("u@127.0.0.1:{port}/d")), "{error}");
    assert!(!error.message.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let options = StoreOptions { connect_timeout: std::time::Duration::from_millis(300), ..StoreOptions::default() };
    let error = match postgres::open(&format!("postgres://u@127.0.0.1:{port}/d"), options).await {
        Ok(_) => panic!("nobody is there"),
        Err(error) => error,
    };
    assert_eq!((error.category, error.transient), (Category::Unavailable, true), "{error}");
    drop(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_and_a_bad_url_are_told_apart() {
    let server = shared().await.expect("a server");
    let error = refused(&server.url_of("dg_nowhere")).await;
    assert_eq!((error.category, error.transient), (Category::Unavailable, false));
    assert!(error.message.contains("dg_nowhere"), "{error}");
    let error = refused("postgres://h/d?sslmode=sometimes").await;
    assert_eq!(error.category, Category::InvalidArgument, "{error}");
    let error = refused("postgres://h:notaport/d").await;
    assert_eq!(error.category, Category::InvalidArgument, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_that_the_server_has_not_is_refused() {
    let server = shared().await.expect("a server");
    for mode in ["require", "verify-full"] {
        let error = refused(&format!("{}?sslmode={mode}", server.url_of("postgres"))).await;
        assert_eq!(error.category, Category::Unavailable, "{error}");
        assert!(error.message.contains("sslmode"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_stores_nothing() {
    let fresh = Fresh::new().await;
    let read_only = format!("ALTER DATABASE {} SET default_transaction_read_only = on", fresh.database.name());
    fresh.client().await.batch_execute(&read_only).await.expect("set");
    let store = fresh.again().await;
    let error = store.append(&tenant(), &[started("a")], AppendMode::Each).await.expect_err("read-only");
    assert_eq!((error.category, error.transient), (Category::Storage, false));
    assert!(error.message.contains("read-only"), "{error}");
    let view = store.view().await.expect("a view");
    assert_eq!(view.tenants().await.expect("reads go on"), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_used_again_when_it_is_back() {
    let server = Server::start().await.expect("a server of its own");
    let database = server.fresh_database().await.expect("a database");
    let store = postgres::open(database.url(), StoreOptions::default()).await.expect("a store");
    let before = append_all(&store, &tenant(), &[started("a")]).await[0];
    let history = store.sample_high_water().await.expect("a sample").history;
    server.stop(StopMode::Immediate).await.expect("stops");
    let error = store.sample_high_water().await.expect_err("away");
    assert_eq!((error.category, error.transient), (Category::Unavailable, true), "{error}");
    server.start_again().await.expect("is back");
    // Each pooled connection may be found lost once.
    let mut sample = store.sample_high_water().await;
    for _ in 0..StoreOptions::default().pool_size {
        if sample.is_ok() {
            break;
        }
        sample = store.sample_high_water().await;
    }
    let sample = sample.expect("the same store goes on");
    assert_ne!(sample.history, history, "a restart is another history");
    assert!(sample.sequence >= before, "what was acknowledged is there");
    let view = store.view().await.expect("a view");
    assert_eq!(view.last_log_seq(&tenant(), None).await.expect("an answer"), before);
}

/// The index of a large log is built by an administrator while others append. The migration leaves it as it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_built_beforehand_is_accepted() {
    let fresh = crate::raw::Fresh::new().await;
    let client = fresh.client().await;
    let index = async || {
        let row = client.query_one("SELECT to_regclass('dg_event_log_start')::oid", &[]).await.expect("a row");
        row.get::<_, Option<u32>>(0)
    };
    let built = index().await.expect("an index");
    for there in [true, false] {
        for statement in crate::backend::Blank::Postgres.to_one_row_per_change() {
            client.batch_execute(statement).await.expect(statement);
        }
        client.batch_execute("DELETE FROM refinery_schema_history WHERE version >= 16").await.expect("older");
        if !there {
            client.batch_execute("DROP INDEX dg_event_log_start").await.expect("drops");
        }
        let applied = fresh.again().await.migrate().await.expect("migrates");
        assert!(applied.contains(&"V16__starts".to_owned()), "{applied:?}");
        let now = index().await.expect("an index");
        assert_eq!(now == built, there);
    }
}
