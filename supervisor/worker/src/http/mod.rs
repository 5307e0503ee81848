//! Modules that serve HTTP: one connection, one request, one fresh instance.
//!
//! Runs in: worker, on guest threads.
//! Invariant: no byte of a request is interpreted outside this confined process, and none reaches a guest before [`edgeguard_http_head`] found that it can be
//! understood in one way only. A guest that fails leaves the client an answer without detail, or, when its own had begun, one that breaks off; never one
//! that looks whole and is not.

mod body;
mod connection;
pub(crate) mod link;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use edgeguard_audit::Outcome as Recorded;
use edgeguard_audit::boottime_ns;
use edgeguard_http_head::Head;
use edgeguard_http_head::MAX_FIELDS;
use edgeguard_http_head::Refused;
use edgeguard_wire::worker::Http;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Timing;
use http_body_util::BodyExt as _;
use http_body_util::Empty;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use self::body::Account;
use self::body::Counted;
use self::connection::Connection;
use crate::deadline::Deadline;
use crate::guest::Guest;
use crate::guest::LAST_OUTPUT;
use crate::guest::nanos;
use crate::guest::outcome;
use crate::limits::Stop;
use crate::record::Pending;

/// One request, from the first byte to the record of it.
pub(crate) struct Exchange<'r> {
    pub service: &'r ProxyPre<Guest>,
    pub limits: Http,
    pub deadline: Deadline,
}

/// An answer of the guest, or the code that it gave instead.
type Answer = Result<Response<WasiBody>, ErrorCode>;

impl Exchange<'_> {
    /// Reads the request, runs an instance for it, and sends what that answers.
    pub async fn run(&self, store: &mut Store<Guest>, connection: OwnedFd, timing: &mut Timing) -> Outcome {
        let began = boottime_ns();
        let (head, connection) = match self.head(connection).await {
            Ok(read) => read,
            Err(outcome) => return outcome,
        };
        let (asked, answered) = (Arc::<Account>::default(), Arc::<Account>::default());
        let (service, request, answer, verdict) = Once::new(Arc::clone(&answered), self.limits.response_body);
        let status = Rc::clone(&service.status);
        let mut serving = http1::Builder::new();
        serving.keep_alive(false).half_close(true).max_headers(MAX_FIELDS).max_buf_size(hyper_buffer(&self.limits));
        let mut client = Client { serving: Box::pin(serving.serve_connection(TokioIo::new(connection), service)), gone: false };

        // The head is there already, so this waits for nothing but hyper.
        let request = client.beside(request).await;
        let ended = match request {
            Ok(Ok(request)) => {
                let request = request.map(|body| Counted::request(body, Arc::clone(&asked), self.limits.request_body));
                let guest = self.guest(store, request, answer, timing);
                let guest = client.until(guest, &answered);
                timeout_at(self.deadline.0.into(), guest).await.unwrap_or_else(|_| Err(Stop(Limit::Deadline).into()))
            }
            // hyper did not take what was taken before.
            _ => return Outcome::Refused(StatusCode::BAD_REQUEST.as_u16()),
        };

        // Whatever the guest has not written by now will never come: what hyper has not sent yet goes out, and a body that was not finished breaks off.
        answered.last.store(true, Relaxed);
        let hit = store.data().budget.hit();
        let outcome = match ended {
            Ok(()) => None,
            Err(error) => Some(outcome(&error, hit)),
        };
        let _ = verdict.send(match &outcome {
            Some(Outcome::Limit(Limit::Deadline)) => StatusCode::GATEWAY_TIMEOUT,
            Some(Outcome::Limit(_)) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        });
        let patience = self.deadline.0.max(Instant::now() + LAST_OUTPUT);
        let _ = timeout_at(patience.into(), client.end()).await;

        let sent = *status.borrow();
        let whole = sent.is_some_and(|sent| sent.by_guest) && !answered.broken.load(Relaxed);
        let outcome = match outcome {
            _ if answered.over.load(Relaxed) => Outcome::Limit(Limit::ResponseBody),
            Some(outcome) => outcome,
            None => Outcome::Exited(i32::from(!whole)),
        };
        record(began, &head, sent, &asked, &answered, &outcome);
        outcome
    }

    /// The head, within its time. What is no request is answered here, and no instance is made for it.
    async fn head(&self, connection: OwnedFd) -> Result<(Head, Connection), Outcome> {
        let unusable = |error: io::Error| Outcome::Trapped(format!("cannot use the connection: {error}"));
        let mut connection = Connection::new(connection).map_err(unusable)?;
        let patience = self.deadline.0.min(Instant::now() + self.limits.read_timeout);
        let most = usize::try_from(self.limits.request_head).unwrap_or(usize::MAX);
        let refused = match timeout_at(patience.into(), connection.head(most, self.limits.request_body)).await {
            Ok(Ok(Some(Ok(head)))) => return Ok((head, connection)),
            Ok(Ok(Some(Err(Refused(status))))) => status,
            // It left, or it broke: there is nobody to tell.
            Ok(Ok(None) | Err(_)) => return Err(Outcome::Refused(0)),
            Err(_) => StatusCode::REQUEST_TIMEOUT.as_u16(),
        };
        let said = StatusCode::from_u16(refused).unwrap_or(StatusCode::BAD_REQUEST);
        let answer = format!("HTTP/1.1 {said}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let writing = tokio::io::AsyncWriteExt::write_all(&mut connection, answer.as_bytes());
        let _ = tokio::time::timeout(LAST_OUTPUT, writing).await;
        Err(Outcome::Refused(refused))
    }

    /// Makes the instance and hands it the request.
    async fn guest(
        &self,
        store: &mut Store<Guest>,
        request: Request<Counted<Incoming>>,
        answer: oneshot::Sender<Answer>,
        timing: &mut Timing,
    ) -> wasmtime::Result<()> {
        let began = Instant::now();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let answer = store.data_mut().http().new_response_outparam(answer)?;
        let instance = self.service.instantiate_async(&mut *store).await?;
        timing.instantiate_ns = nanos(began.elapsed());
        let end = instance.wasi_http_incoming_handler().call_handle(&mut *store, request, answer).await;
        timing.run_ns = nanos(began.elapsed()).saturating_sub(timing.instantiate_ns);
        end
    }
}

/// hyper's buffer: it holds the head, and some of the body.
fn hyper_buffer(limits: &Http) -> usize {
    usize::try_from(limits.request_head).unwrap_or(usize::MAX).saturating_add(16 << 10).min(1 << 20)
}

/// What hyper does for one client.
struct Client<F> {
    serving: Pin<Box<F>>,
    gone: bool,
}

impl<F: Future> Client<F> {
    /// Goes on with the client until this has come. `Err`: the client was done before.
    async fn beside<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, ()> {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            self.gone = self.gone || self.serving.as_mut().poll(cx).is_ready();
            match wanted.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(Ok(value)),
                Poll::Pending if self.gone => Poll::Ready(Err(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Goes on with the client until the guest has ended, or has answered more than it may. A client that leaves ends nobody's work.
    async fn until(&mut self, guest: impl Future<Output = wasmtime::Result<()>>, answered: &Account) -> wasmtime::Result<()> {
        let mut guest = pin!(guest);
        poll_fn(|cx| {
            self.gone = self.gone || self.serving.as_mut().poll(cx).is_ready();
            if answered.over.load(Relaxed) {
                return Poll::Ready(Err(Stop(Limit::ResponseBody).into()));
            }
            guest.as_mut().poll(cx)
        })
        .await
    }

    /// Sends what is left to send.
    async fn end(&mut self) {
        if !self.gone {
            self.serving.as_mut().await;
            self.gone = true;
        }
    }
}

/// The status line that went out.
#[derive(Debug, Clone, Copy)]
struct Sent {
    status: StatusCode,
    by_guest: bool,
}

/// Serves one request: hands it on, and waits for its answer.
struct Once {
    waiting: RefCell<Option<Waiting>>,
    answered: Arc<Account>,
    most: u64,
    status: Rc<RefCell<Option<Sent>>>,
}

struct Waiting {
    request: oneshot::Sender<Request<Incoming>>,
    answer: oneshot::Receiver<Answer>,
    /// What is said for a guest that has ended without an answer.
    verdict: oneshot::Receiver<StatusCode>,
}

impl Once {
    fn new(
        answered: Arc<Account>,
        most: u64,
    ) -> (Self, oneshot::Receiver<Request<Incoming>>, oneshot::Sender<Answer>, oneshot::Sender<StatusCode>) {
        let (request, requested) = oneshot::channel();
        let (answers, answer) = oneshot::channel();
        let (judge, verdict) = oneshot::channel();
        let waiting = RefCell::new(Some(Waiting { request, answer, verdict }));
        (Self { waiting, answered, most, status: Rc::default() }, requested, answers, judge)
    }
}

impl Service<Request<Incoming>> for Once {
    type Response = Response<WasiBody>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let waiting = self.waiting.take();
        let (answered, most, status) = (Arc::clone(&self.answered), self.most, Rc::clone(&self.status));
        Box::pin(async move {
            // A second request on one connection: there is none, since it is not kept alive.
            let Some(Waiting { request: asks, mut answer, verdict }) = waiting else { return Err(io::ErrorKind::Unsupported.into()) };
            asks.send(request).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            let verdict = async { verdict.await.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) };
            let answer = tokio::select! {
                biased;
                Ok(answer) = &mut answer => answer.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR),
                verdict = verdict => Err(verdict),
            };
            let (sent, response) = match answer {
                Ok(response) => {
                    let response = response.map(|body| Counted::response(body, answered, most).boxed_unsync());
                    (Sent { status: response.status(), by_guest: true }, response)
                }
                Err(code) => {
                    let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
                    *response.status_mut() = code;
                    (Sent { status: code, by_guest: false }, response)
                }
            };
            status.replace(Some(sent));
            Ok(response)
        })
    }
}

/// The record of the request: what was asked, how long its body was, and with which status and how long a body it was answered.
fn record(began: u64, head: &Head, sent: Option<Sent>, asked: &Account, answered: &Account, outcome: &Outcome) {
    let Some(call) = edgeguard_audit::call_id(INCOMING_HANDLER, "handle") else { return };
    let mut pending = Pending::begun(call, began);
    pending.text(format!("{} {}", head.method, head.target).as_bytes());
    pending.handle = sent.map_or(0, |sent| sent.status.as_u16().into());
    pending.n_in = u32::try_from(asked.bytes.load(Relaxed)).unwrap_or(u32::MAX);
    pending.n_out = u32::try_from(answered.bytes.load(Relaxed)).unwrap_or(u32::MAX);
    match outcome {
        Outcome::Exited(0) => pending.end(Recorded::Ok, 0),
        Outcome::Exited(_) | Outcome::Refused(_) => pending.end(Recorded::Error, 1),
        Outcome::Trapped(_) => pending.end(Recorded::Trapped, 0),
        Outcome::Limit(_) => pending.end(Recorded::Limit, 0),
    }
}

/// What the host calls, and therefore records itself.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler";
