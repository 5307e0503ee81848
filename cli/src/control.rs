//! `edgeguard invoke`, `status`, `reload`: the daemon's control socket from the command line.
//!
//! Runs in: CLI, with the user's own rights; the daemon decides by them.

use std::io::IsTerminal as _;
use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use http_body_util::channel::Sender;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::ExitCode;

/// Arguments of `invoke`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Standard input goes to the guest (not from a terminal, unless -i is given); its output comes back as it is made.

Examples:
  edgeguard invoke voice-gate                     run it once
  edgeguard invoke voice-gate < speech.wav        with input
  edgeguard invoke voice-gate --json | jq .ending how it ended and where the time went

Exit code: 0 the guest's own was 0; 1 the module is refused or not there; 5 the sandbox killed its worker;
9 it trapped, reached a limit, or its own code was not 0 (which standard error then names).")]
pub struct InvokeArgs {
    /// The module's name in its policy
    name: String,
    /// Send the terminal's input too
    #[arg(short, long)]
    interactive: bool,
    /// Print one JSON object: stdout, stderr and the ending
    #[arg(long)]
    json: bool,
    /// Say on standard error how it ended and where the time went
    #[arg(long, conflicts_with = "json")]
    timing: bool,
    #[command(flatten)]
    socket: Socket,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print the daemon's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Print the daemon's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

/// Where the daemon listens.
#[derive(Debug, Args)]
pub(crate) struct Socket {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", env = "EDGEGUARD_SOCKET", default_value = "/run/edgeguard/control.sock")]
    socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("cannot reach the daemon at `{path}`: {cause}{hint}")]
    Connect { path: String, cause: std::io::Error, hint: &'static str },
    #[error("the daemon's answer broke off")]
    Http(#[from] hyper::Error),
    #[error("the daemon's answer is not what this version understands: {0}")]
    Answer(String),
    #[error("{0}")]
    Refused(String),
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

/// Runs a module once.
pub fn invoke(args: InvokeArgs) -> ExitCode {
    finish(on_runtime(invoke_once(&args)))
}

/// Prints the daemon's state.
pub fn status(args: StatusArgs) -> ExitCode {
    finish(on_runtime(async {
        let status = ask(&args.socket.socket, Method::GET, "/v1/status").await?;
        crate::output::data(&if args.json { pretty(&status) } else { status_in_words(&status) });
        Ok(ExitCode::Ok)
    }))
}

/// Has the daemon load its policies anew.
pub fn reload(args: ReloadArgs) -> ExitCode {
    finish(on_runtime(async {
        let report = ask(&args.socket.socket, Method::POST, "/v1/reload").await?;
        let refused = report["refused"].as_array().is_some_and(|refused| !refused.is_empty());
        crate::output::data(&if args.json { pretty(&report) } else { reload_in_words(&report) });
        Ok(if refused { ExitCode::Refused } else { ExitCode::Ok })
    }))
}

/// The daemon's signed answer to a nonce, for `audit attest`.
pub(crate) fn attest(socket: &Socket, nonce: &[u8]) -> Result<String, ExitCode> {
    let mut answer = String::new();
    let code = finish(on_runtime(async {
        let path = format!("/v1/journal/attest/{}", hex::encode(nonce));
        let bytes = get(&socket.socket, Method::GET, &path).await?;
        answer = String::from_utf8(bytes.into()).map_err(|error| ControlError::Answer(error.to_string()))?;
        Ok(ExitCode::Ok)
    }));
    if code == ExitCode::Ok { Ok(answer) } else { Err(code) }
}

/// Has the daemon erase names, for `audit erase`: its answer.
pub(crate) fn erase(socket: &Socket, wish: &Value) -> Result<Value, ExitCode> {
    let mut answer = Value::Null;
    let code = finish(on_runtime(async {
        let bytes = post(&socket.socket, Method::POST, "/v1/journal/erase", wish.to_string().into()).await?;
        answer = serde_json::from_slice(&bytes).map_err(|error| ControlError::Answer(error.to_string()))?;
        Ok(ExitCode::Ok)
    }));
    if code == ExitCode::Ok { Ok(answer) } else { Err(code) }
}

fn finish(result: Result<ExitCode, ControlError>) -> ExitCode {
    result.unwrap_or_else(|error| {
        crate::output::say(&format!("error: {}\n", chain(&error)));
        match error {
            ControlError::Refused(_) => ExitCode::Refused,
            _ => ExitCode::Usage,
        }
    })
}

fn on_runtime<F: Future<Output = Result<ExitCode, ControlError>>>(work: F) -> Result<ExitCode, ControlError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A thread that still reads a terminal must not keep the program alive.
    runtime.shutdown_background();
    result
}

async fn invoke_once(args: &InvokeArgs) -> Result<ExitCode, ControlError> {
    let (input, body) = Channel::<Bytes>::new(4);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/modules/{}/invoke", args.name))
        .header(HOST, "edgeguard")
        .header(ACCEPT, "application/vnd.edgeguard.stream")
        .body(body)
        .map_err(|_| ControlError::Refused(format!("`{}` is no module's name", args.name.escape_default())))?;
    // The input waits for the answer: a daemon that refuses reads no more, and writing on would hide what it says.
    let answer = send(&args.socket.socket, request).await?;
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer).await?);
    }
    if args.interactive || !std::io::stdin().is_terminal() {
        tokio::spawn(feed(input));
    } else {
        drop(input);
    }
    let mut kept = args.json.then(Kept::default);
    let ending = read_frames(answer.into_body(), kept.as_mut()).await?;
    if let Some(kept) = kept {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        crate::output::data(&pretty(&serde_json::json!({ "stdout": text(&kept.stdout), "stderr": text(&kept.stderr), "ending": ending })));
    } else if args.timing || ending["code"] != 0 || ending["records"]["denied"].as_u64().is_some_and(|count| count > 0) {
        crate::output::say(&format!("{}\n", ending_in_words(&args.name, &ending)));
    }
    Ok(match (ending["outcome"].as_str(), ending["code"].as_i64()) {
        (_, Some(0)) => ExitCode::Ok,
        (Some("killed"), _) => ExitCode::Killed,
        _ => ExitCode::Guest,
    })
}

/// Standard input into the request's body, until either ends.
async fn feed(mut input: Sender<Bytes>) {
    let mut stdin = tokio::io::stdin();
    let mut chunk = vec![0; 32 * 1024];
    while let Ok(len) = stdin.read(&mut chunk).await {
        let Some(data) = chunk.get(..len).filter(|data| !data.is_empty()) else { return };
        if input.send_data(Bytes::copy_from_slice(data)).await.is_err() {
            return;
        }
    }
}

#[derive(Default)]
struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Passes the guest's output on as it comes, and returns the ending.
async fn read_frames(mut body: Incoming, mut kept: Option<&mut Kept>) -> Result<Value, ControlError> {
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        while let Some(Frame { kind, payload, used }) = Frame::first(&buffer)? {
            match (kind, kept.as_deref_mut()) {
                (1, Some(kept)) => kept.stdout.extend_from_slice(payload),
                (2, Some(kept)) => kept.stderr.extend_from_slice(payload),
                (1, None) => pass(&mut std::io::stdout().lock(), payload)?,
                (2, None) => pass(&mut std::io::stderr().lock(), payload)?,
                (3, _) => return serde_json::from_slice(payload).map_err(|error| ControlError::Answer(error.to_string())),
                (kind, _) => return Err(ControlError::Answer(format!("frame of kind {kind}"))),
            }
            buffer.drain(..used);
        }
        let Some(frame) = body.frame().await else {
            return Err(ControlError::Answer("it ended before the ending; was the daemon stopped?".into()));
        };
        if let Ok(data) = frame?.into_data() {
            buffer.extend_from_slice(&data);
        }
    }
}

/// One frame of the daemon's answer; the kinds stand in its documentation.
struct Frame<'a> {
    kind: u8,
    payload: &'a [u8],
    /// Bytes of the buffer that it takes.
    used: usize,
}

impl<'a> Frame<'a> {
    /// The first frame in the buffer, once it is whole.
    fn first(buffer: &'a [u8]) -> Result<Option<Self>, ControlError> {
        let Some((head, rest)) = buffer.split_first_chunk::<5>() else { return Ok(None) };
        let [kind, len @ ..] = *head;
        let len = u32::from_be_bytes(len) as usize;
        if len > MAX_FRAME {
            return Err(ControlError::Answer(format!("frame of {len} bytes")));
        }
        Ok(rest.get(..len).map(|payload| Self { kind, payload, used: 5 + len }))
    }
}

fn pass(to: &mut impl std::io::Write, payload: &[u8]) -> Result<(), ControlError> {
    to.write_all(payload)?;
    Ok(to.flush()?)
}

async fn ask(socket: &Path, method: Method, path: &str) -> Result<Value, ControlError> {
    let bytes = get(socket, method, path).await?;
    serde_json::from_slice(&bytes).map_err(|error| ControlError::Answer(error.to_string()))
}

async fn get(socket: &Path, method: Method, path: &str) -> Result<Bytes, ControlError> {
    post(socket, method, path, Bytes::new()).await
}

async fn post(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes, ControlError> {
    let body = http_body_util::Full::new(body);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "edgeguard")
        .body(body)
        .map_err(|error| ControlError::Answer(error.to_string()))?;
    let answer = send(socket, request).await?;
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer).await?);
    }
    Ok(answer.into_body().collect().await?.to_bytes())
}

async fn send<B>(socket: &Path, request: Request<B>) -> Result<Response<Incoming>, ControlError>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(|cause| {
        let hint = match cause.kind() {
            std::io::ErrorKind::NotFound => "\nhint: is edgeguardd running? `systemctl status edgeguardd`; another socket: --socket PATH",
            std::io::ErrorKind::PermissionDenied => "\nhint: ask to be named in `admins` or `invokers` of edgeguard.toml",
            std::io::ErrorKind::ConnectionRefused => "\nhint: the socket is there but nobody answers; `systemctl restart edgeguardd`",
            _ => "",
        };
        ControlError::Connect { path: socket.display().to_string(), cause, hint }
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn refusal(answer: Response<Incoming>) -> Result<ControlError, ControlError> {
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = value["error"]["message"].as_str().map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
    Ok(ControlError::Refused(message))
}

fn ending_in_words(name: &str, ending: &Value) -> String {
    let how = match (ending["outcome"].as_str(), ending["code"].as_i64(), ending["detail"].as_str()) {
        (Some("exited"), Some(code), _) => format!("exited with code {code}"),
        (Some("limit"), _, Some(limit)) => format!("was stopped at its limit `{limit}`"),
        (Some("trapped"), _, Some(trap)) => format!("trapped: {trap}"),
        (Some("killed"), _, Some(how)) => format!("lost its worker: {how}"),
        _ => "ended in a way this version does not know".to_owned(),
    };
    let millis = |key: &str| ending[key].as_u64().map(|us| format!("{:.2} ms", us as f64 / 1000.0));
    let parts = [("cold start", "cold_start_us"), ("total", "total_us"), ("run", "run_us"), ("in the model", "engine_us")];
    let times: Vec<_> = parts.iter().filter_map(|(words, key)| millis(key).map(|time| format!("{words} {time}"))).collect();
    // Whoever meets a guest's own words for a refusal learns here where the reason stands.
    let denied = match ending["records"]["denied"].as_u64() {
        None | Some(0) => String::new(),
        Some(count) => {
            let calls = if count == 1 { "1 call was".to_owned() } else { format!("{count} calls were") };
            format!("\nedgeguard: {calls} denied; `edgeguard audit search 'deny and module={name}'` says which")
        }
    };
    format!("edgeguard: {name} {how} ({}); {} records{denied}", times.join(", "), ending["records"]["recorded"])
}

fn status_in_words(status: &Value) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mib = |value: &Value| value.as_u64().map_or("-".into(), |bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0));
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let _ = writeln!(
        text,
        "edgeguardd {} · pid {} · {} resident · up {} s",
        word(&status["version"]),
        status["process"]["pid"],
        mib(&status["process"]["resident"]),
        status["uptime_s"]
    );
    let journal = if status["journal"]["usable"] == true { "takes records" } else { "TAKES NO RECORDS: nothing new begins" };
    let _ = writeln!(text, "journal {journal}");
    let export = &status["export"];
    match export["state"].as_str() {
        Some("stale") => {
            let age = export["age_s"].as_u64().map_or("before this boot".to_owned(), |age| format!("{age} s ago"));
            let _ = writeln!(text, "export  THE EXPORTER IS SILENT, last heard {age}: `systemctl status edgeguard-export`");
        }
        Some("unreadable") => {
            let _ = writeln!(text, "export  cannot be told: the exporter's status is not one ({})", word(&export["problem"]));
        }
        _ => {}
    }
    for sink in export["sinks"].as_array().into_iter().flatten() {
        let state = if sink["delivering"] == true { "delivering" } else { "WAITING" };
        let problem =
            sink["problem"].as_str().filter(|problem| !problem.is_empty()).map_or(String::new(), |problem| format!(": {problem}"));
        let gone = sink["gone"].as_u64().filter(|gone| *gone > 0).map_or(String::new(), |gone| format!(", {gone} entries gone before"));
        let _ = writeln!(
            text,
            "export  {} ({}) {state} · {} frames behind · {} entries acknowledged · checkpoint over {} frames{gone}{problem}",
            word(&sink["name"]),
            word(&sink["kind"]),
            sink["frames_behind"],
            sink["acknowledged"],
            sink["checkpoint_frames"]
        );
    }
    text.push('\n');
    for module in status["modules"].as_array().into_iter().flatten() {
        let counts = &module["invocations"];
        let _ = writeln!(text, "{}  {}", word(&module["name"]), word(&module["state"]));
        if module["state"] == "refused" {
            let _ = writeln!(text, "  {} {}", word(&module["detail"]["code"]), word(&module["detail"]["reason"]));
            continue;
        }
        if let Some(left) = module["suspended_s"].as_u64() {
            let _ = writeln!(
                text,
                "  SUSPENDED for {left} s more: its guests were denied more than the journal has room for; a reload ends it"
            );
        }
        for kind in ["dirs", "graphs"] {
            for grant in module["detail"][kind].as_array().into_iter().flatten() {
                let _ = writeln!(text, "  {:<6} {}", kind.trim_end_matches('s'), word(grant));
            }
        }
        let worker = &module["worker"];
        if worker.is_object() {
            let _ = writeln!(
                text,
                "  worker pid {} · {} private · {} threads",
                worker["process"]["pid"],
                mib(&worker["process"]["private"]),
                worker["process"]["threads"]
            );
        }
        let _ = writeln!(
            text,
            "  runs   {} ok, {} failed ({} at a limit, {} killed)",
            counts["succeeded"], counts["failed"], counts["limited"], counts["killed"]
        );
    }
    for graph in status["graphs"].as_array().into_iter().flatten() {
        let process = &graph["process"];
        if process.is_object() {
            let _ = writeln!(
                text,
                "graph {}  {} by {} · pid {} · {} resident",
                word(&graph["name"]),
                word(&graph["state"]),
                word(&graph["engine"]),
                process["pid"],
                mib(&process["resident"])
            );
        } else {
            // Without a process there is no engine to name and no memory to count.
            let why = if graph["state"] == "standing-by" { "no process until a module wants it" } else { "no process" };
            let _ = writeln!(text, "graph {}  {} · {why}", word(&graph["name"]), word(&graph["state"]));
        }
    }
    for file in status["refused_policy_files"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "\npolicy file {} is refused:\n{}", word(&file["file"]), word(&file["reason"]));
    }
    text
}

fn reload_in_words(report: &Value) -> String {
    let mut lines: Vec<String> =
        report["admitted"].as_array().into_iter().flatten().filter_map(Value::as_str).map(|name| format!("admitted {name}")).collect();
    for refused in report["refused"].as_array().into_iter().flatten() {
        lines.push(format!("refused  {}: {}", refused[0].as_str().unwrap_or("-"), refused[1].as_str().unwrap_or("-")));
    }
    if lines.is_empty() {
        lines.push("no policies".into());
    }
    lines.join("\n") + "\n"
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The error and its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The longest frame the daemon sends.
const MAX_FRAME: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_graph_without_a_process_has_none_in_the_status() {
        let process = json!({ "pid": 7, "resident": 350_000_000 });
        let status = json!({ "modules": [], "graphs": [
            { "name": "chat", "state": "serving", "engine": "llama.cpp 1", "process": process },
            { "name": "later", "state": "standing-by", "engine": null, "process": null },
            { "name": "gone", "state": "down", "engine": null, "process": null },
        ] });
        let text = status_in_words(&status);
        let graphs: Vec<&str> = text.lines().filter(|line| line.starts_with("graph ")).collect();
        insta::assert_snapshot!(graphs.join("\n"), @r"
        graph chat  serving by llama.cpp 1 · pid 7 · 333.8 MiB resident
        graph later  standing-by · no process until a module wants it
        graph gone  down · no process
        ");
    }
}
