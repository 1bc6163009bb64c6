//! One suite for every backend: what [`decisiongraph_store::Store`] promises, said in tests.
//!
//! A test is a function of a fresh database. The list at the end makes one test of it for each backend.

mod backend;
mod fold;
mod log;

mod splits;

/// Makes a test of every function for every backend.
macro_rules! suite {
    ($backend:ident: $($module:ident [$($test:ident),* $(,)?])*) => {
        mod $backend {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(crate::backend::Fresh::$backend().await).await;
                })*
            })*
        }
    };
}

macro_rules! every_backend {
    ($($list:tt)*) => {
        #[cfg(feature = "sqlite")]
        suite! { sqlite: $($list)* }
    };
}

every_backend! {
    splits [any_split_gives_the_same_rows_and_digest]
}
