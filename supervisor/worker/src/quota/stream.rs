//! A stream into a file of a directory that has a quota.
//!
//! Runs in: worker, on guest threads.
//! Invariant: what was handed to a write that is still under way stays reserved until the stream says that it is done.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::p2::OutputStream;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::p2::StreamError;
use wasmtime_wasi::p2::StreamResult;

use super::Growth;
use super::Ledger;
use super::Reservation;

/// The stream, and what it has reserved.
pub(crate) struct QuotaStream {
    inner: DynOutputStream,
    ledger: Arc<Ledger>,
    /// Of the write that may be under way on the runtime's helper thread.
    under_way: Option<Reservation>,
}

impl QuotaStream {
    /// As long as it is there, its file is open.
    pub fn new(inner: DynOutputStream, ledger: Arc<Ledger>) -> Self {
        ledger.opened();
        Self { inner, ledger, under_way: None }
    }

    fn reserve(&self, bytes: usize) -> StreamResult<Reservation> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.ledger.reserve(Growth::Bytes(bytes)).map_err(|_| {
            let error = std::io::Error::from(rustix::io::Errno::DQUOT);
            StreamError::LastOperationFailed(error.into())
        })
    }
}

impl Drop for QuotaStream {
    fn drop(&mut self) {
        match self.under_way.take() {
            Some(reservation) => ADRIFT.with_borrow_mut(|adrift| adrift.push((reservation, Arc::clone(&self.ledger)))),
            None => self.ledger.closed(),
        }
    }
}

thread_local! {
    /// Of guests that ended in the middle of a write, until that is done.
    static ADRIFT: RefCell<Vec<(Reservation, Arc<Ledger>)>> = const { RefCell::new(Vec::new()) };
}

/// After a guest's end: waits for writes that it left under way on the runtime's helper thread.
pub(crate) fn settle(runtime: &Runtime) {
    let adrift = ADRIFT.take();
    if adrift.is_empty() {
        return;
    }
    // There is one such thread, and it does one thing after the other. It cannot fail: it was started before the lock.
    let _ = runtime.block_on(runtime.spawn_blocking(|| ()));
    for (_, ledger) in &adrift {
        ledger.closed();
    }
}

#[async_trait]
impl Pollable for QuotaStream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for QuotaStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let reservation = self.reserve(bytes.len())?;
        self.inner.write(bytes)?;
        // Nothing was under way: else the stream had refused.
        self.under_way = Some(reservation);
        Ok(())
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let _reservation = self.reserve(bytes.len())?;
        // It waits for a write under way, and then writes on this thread.
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.under_way = None;
        written
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let permit = self.inner.check_write();
        // 0 says that the write before is not done.
        if !matches!(permit, Ok(0)) {
            self.under_way = None;
        }
        permit
    }

    async fn cancel(&mut self) {
        // It waits until a write under way is done.
        self.inner.cancel().await;
        self.under_way = None;
    }
}
