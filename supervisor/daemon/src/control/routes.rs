//! The requests, as a table: method, path, right, handler.
//!
//! Runs in: daemon.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::Limited;
use http_body_util::combinators::BoxBody;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::header::CONTENT_TYPE;

use edgeguard_audit::Erase;

use super::Control;
use super::metrics;
use super::peer::Peer;
use super::status;
use super::stream;
use crate::events;
use crate::invoke::InvokeError;
use crate::ledger::Erasing;

/// Every answer.
pub type Answer = Response<BoxBody<Bytes, Infallible>>;

#[derive(Clone, Copy)]
enum Right {
    Ask,
    Administer,
    Invoke,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Metrics,
    Status,
    Attest,
    Erase,
    Reload,
    Invoke,
}

/// `{name}` stands for one path segment.
const ROUTES: &[(Method, &str, Right, Route)] = &[
    (Method::GET, "/metrics", Right::Ask, Route::Metrics),
    (Method::GET, "/v1/status", Right::Ask, Route::Status),
    (Method::GET, "/v1/journal/attest/{name}", Right::Ask, Route::Attest),
    (Method::POST, "/v1/journal/erase", Right::Administer, Route::Erase),
    (Method::POST, "/v1/reload", Right::Administer, Route::Reload),
    (Method::POST, "/v1/modules/{name}/invoke", Right::Invoke, Route::Invoke),
];

/// Answers one request.
///
/// # Errors
/// None: whatever goes wrong is an answer.
pub async fn answer(control: Arc<Control>, peer: Peer, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let matching: Vec<_> = ROUTES.iter().filter_map(|row| matches(row.1, &path).map(|name| (row, name))).collect();
    let Some((row, name)) = matching.iter().find(|(row, _)| row.0 == *request.method()) else {
        return Ok(no_route(&path, request.method(), &matching.iter().map(|(row, _)| row.0.as_str()).collect::<Vec<_>>()));
    };
    let allowed = match row.2 {
        Right::Ask => peer.may_ask,
        Right::Administer => peer.may_administer,
        Right::Invoke => peer.may_invoke,
    };
    if !allowed {
        control.modules.gate().ledger.note(events::control_refused(peer.uid, &format!("{} {path}", request.method())));
        let message = format!("user {} may not do this; root names it in `admins` or `invokers` of edgeguard.toml", peer.uid);
        return Ok(error(StatusCode::FORBIDDEN, "not-permitted", &message));
    }
    Ok(match row.3 {
        Route::Metrics => text(StatusCode::OK, "text/plain; version=0.0.4", metrics::render(&control).await),
        Route::Status => text(StatusCode::OK, JSON, super::json(&status::status(&control).await)),
        Route::Attest => attest(&control, name).await,
        Route::Erase => match whole_body(request).await {
            Ok(body) => erase(&control, &body, peer.uid).await,
            Err(refusal) => refusal,
        },
        Route::Reload => match empty_body(request).await {
            Ok(()) => {
                control.modules.gate().ledger.lift_suspensions();
                text(StatusCode::OK, JSON, super::json(&control.modules.load().await))
            }
            Err(refusal) => refusal,
        },
        Route::Invoke => match stream::invoke(&control, name, peer.uid, request).await {
            Ok(answer) => answer,
            Err(failure) => invoke_error(&failure),
        },
    })
}

/// What only the daemon that writes the journal can say of it; `nonce` is the asker's, in hex.
async fn attest(control: &Control, nonce: &str) -> Answer {
    let Some(nonce) = hex::decode(nonce).ok().filter(|nonce| edgeguard_audit::NONCE_LEN.contains(&nonce.len())) else {
        return error(StatusCode::BAD_REQUEST, "bad-nonce", "the last part of the path is a nonce of 16 to 64 bytes in hex");
    };
    match control.modules.gate().ledger.attest(nonce).await {
        Ok(note) => text(StatusCode::OK, "text/plain; charset=utf-8", note),
        Err(failure) => error(StatusCode::SERVICE_UNAVAILABLE, "journal", &failure.to_string()),
    }
}

/// The body of a request that erases names.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    under: Vec<String>,
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

async fn erase(control: &Control, body: &[u8], by: u32) -> Answer {
    let wish: Wish = match serde_json::from_slice(body) {
        Ok(wish) => wish,
        Err(cause) => {
            let shape = r#"{"names": ["…"], "under": ["…"], "reason": "…", "dry_run": true}"#;
            return error(StatusCode::BAD_REQUEST, "bad-body", &format!("expected `{shape}`, of which `reason` must be there: {cause}"));
        }
    };
    let what = Erase { names: wish.names, under: wish.under };
    let nothing = what.names.iter().chain(&what.under).any(String::is_empty);
    if what.is_empty() || nothing || wish.reason.trim().is_empty() {
        return error(StatusCode::BAD_REQUEST, "bad-body", "expected names or paths that are not empty, and a reason that is not");
    }
    match control.modules.gate().ledger.erase(Erasing { what, reason: wish.reason, by, dry_run: wish.dry_run }).await {
        Ok(erased) => text(StatusCode::OK, JSON, super::json(&erased)),
        Err(failure) => error(StatusCode::SERVICE_UNAVAILABLE, "journal", &failure.to_string()),
    }
}

/// The segment that stands for `{name}`, or an empty one when the pattern has none.
fn matches<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    match pattern.split_once("{name}") {
        None => (pattern == path).then_some(""),
        Some((before, after)) => {
            let name = path.strip_prefix(before)?.strip_suffix(after)?;
            (!name.is_empty() && !name.contains('/')).then_some(name)
        }
    }
}

fn no_route(path: &str, method: &Method, known: &[&str]) -> Answer {
    if known.is_empty() {
        let list = ROUTES.iter().map(|row| format!("{} {}", row.0, row.1)).collect::<Vec<_>>().join(", ");
        return error(StatusCode::NOT_FOUND, "no-such-path", &format!("`{}` is not served; there are: {list}", crate::child::escape(path)));
    }
    let allow = known.join(", ");
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", &format!("`{path}` takes {allow}, not {method}"));
    if let Ok(value) = allow.parse() {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}

/// A request that needs no body may have a small one, which is read and ignored.
async fn empty_body(request: Request<Incoming>) -> Result<(), Answer> {
    whole_body(request).await.map(drop)
}

/// A small body.
async fn whole_body(request: Request<Incoming>) -> Result<Bytes, Answer> {
    let read = tokio::time::timeout(std::time::Duration::from_secs(5), Limited::new(request.into_body(), MAX_BODY).collect()).await;
    match read {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            &format!("this request takes a body of at most {MAX_BODY} bytes; more came"),
        )),
        Err(_) => Err(error(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body did not come to its end within 5 s")),
    }
}

fn invoke_error(failure: &InvokeError) -> Answer {
    let (status, code) = match failure {
        InvokeError::Unknown(_) => (StatusCode::NOT_FOUND, "no-such-module"),
        InvokeError::Serves { .. } | InvokeError::NoService(_) => (StatusCode::CONFLICT, "module-serves"),
        InvokeError::Refused { .. } => (StatusCode::FORBIDDEN, "module-refused"),
        InvokeError::Busy(_) | InvokeError::Replaced(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        InvokeError::Suspended { .. } => (StatusCode::TOO_MANY_REQUESTS, "module-suspended"),
        InvokeError::Worker { .. } | InvokeError::Child { .. } => (StatusCode::BAD_GATEWAY, "no-worker"),
        InvokeError::Pipes(_) => (StatusCode::INTERNAL_SERVER_ERROR, "no-pipes"),
        InvokeError::Ledger(_) => (StatusCode::INSUFFICIENT_STORAGE, "journal-closed"),
    };
    error(status, code, &crate::chain(failure))
}

/// An error as JSON: `{"error": {"code": …, "message": …}}`.
pub fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    text(status, JSON, serde_json::json!({ "error": { "code": code, "message": message } }).to_string())
}

fn text(status: StatusCode, content_type: &'static str, mut body: String) -> Answer {
    if content_type == JSON {
        body.push('\n');
    }
    let mut answer = Response::new(BoxBody::new(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    answer
}

const JSON: &str = "application/json";
const MAX_BODY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_name_is_one_segment_and_never_empty() {
        let pattern = "/v1/modules/{name}/invoke";
        assert_eq!(matches(pattern, "/v1/modules/voice-gate/invoke"), Some("voice-gate"));
        assert_eq!(matches(pattern, "/v1/modules//invoke"), None);
        assert_eq!(matches(pattern, "/v1/modules/a/b/invoke"), None);
        assert_eq!(matches("/metrics", "/metrics/x"), None);
    }
}
