//! A task whose life is bound to its owner's.

use tokio::task::{AbortHandle, JoinHandle};

/// A task that ends when its guard is dropped.
pub struct Guard(AbortHandle);

impl<T> From<JoinHandle<T>> for Guard {
    fn from(task: JoinHandle<T>) -> Guard {
        Guard(task.abort_handle())
    }
}

impl<T> From<&JoinHandle<T>> for Guard {
    fn from(task: &JoinHandle<T>) -> Guard {
        Guard(task.abort_handle())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
