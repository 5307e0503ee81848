//! Bodies of requests and answers, counted and no longer than they may be.
//!
//! Runs in: worker, on guest threads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use hyper::body::SizeHint;
use wasmtime_wasi_http::Error;

/// What came of one body so far.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Bytes that went through.
    pub bytes: AtomicU64,
    /// It was longer than it may be, and is cut.
    pub over: AtomicBool,
    /// Whoever writes it has ended: what it has not written yet will never come.
    pub last: AtomicBool,
    /// It ended without having been finished.
    pub broken: AtomicBool,
}

/// A body with its account.
#[derive(Debug)]
pub(crate) struct Counted<B> {
    inner: B,
    account: Arc<Account>,
    left: u64,
    /// The error that says it is too long.
    too_long: fn(Option<u64>) -> Error,
    most: u64,
}

impl<B> Counted<B> {
    /// Of a request.
    pub fn request(inner: B, account: Arc<Account>, most: u64) -> Self {
        Self { inner, account, left: most, too_long: Error::HttpRequestBodySize, most }
    }

    /// Of an answer.
    pub fn response(inner: B, account: Arc<Account>, most: u64) -> Self {
        Self { inner, account, left: most, too_long: Error::HttpResponseBodySize, most }
    }
}

impl<B: Body<Data = Bytes, Error: Into<Error>> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() && self.account.last.load(Relaxed) {
            self.account.broken.store(true, Relaxed);
            return Poll::Ready(Some(Err(Error::HttpResponseIncomplete)));
        }
        let Some(frame) = ready!(polled).transpose().map_err(Into::into)? else { return Poll::Ready(None) };
        let len = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left.checked_sub(len) else {
            self.account.over.store(true, Relaxed);
            return Poll::Ready(Some(Err((self.too_long)(Some(self.most)))));
        };
        self.left = left;
        self.account.bytes.fetch_add(len, Relaxed);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
