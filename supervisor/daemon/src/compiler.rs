//! The throw-away compiler: wasm in, native code out, then gone.
//!
//! Runs in: daemon.
//! Does not: look into the native code. It goes from one sealed memfd to the next.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use edgeguard_attest::VerifiedModule;
use edgeguard_sandbox::Role;
use edgeguard_wire::Dialogue;
use edgeguard_wire::compile::FromCompile;
use edgeguard_wire::compile::ToCompile;
use edgeguard_wire::worker::ModuleKind;

use crate::child::Child;
use crate::child::ChildError;
use crate::events;
use crate::ledger::Ledger;
use crate::ledger::LedgerError;

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler process failed.
    #[error("the compiler did not finish")]
    Child(#[from] ChildError),
    /// The module does not compile.
    #[error("the module does not compile: {0}")]
    Module(String),
    /// The compiler answered another question.
    #[error("the compiler answered another question than the one it was asked")]
    WrongAnswer,
    /// Passing bytes in memory failed.
    #[error("cannot pass the module in memory")]
    Memory(#[source] std::io::Error),
    /// The journal takes no records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Native code as it came back.
#[derive(Debug)]
pub struct Compiled {
    /// What it was made from.
    pub kind: ModuleKind,
    /// The code.
    pub code: Vec<u8>,
}

/// Runs compilers.
#[derive(Debug)]
pub struct Compiler {
    program: PathBuf,
    /// The engine's fingerprint.
    pub fingerprint: [u8; 32],
}

impl Compiler {
    /// Finds the program and asks it for its engine's fingerprint.
    ///
    /// # Errors
    /// The program does not start, or cannot confine itself on this host.
    pub async fn new(libexec: &Path, ledger: &Ledger) -> Result<Self, CompileError> {
        let program = libexec.join("edgeguard-compile");
        let (child, mut dialogue) = start(&program, ledger).await?;
        child.send(&ToCompile::Describe, &[])?;
        let answer = child.recv_within(&mut dialogue, STARTUP).await?;
        child.reap().await;
        match answer {
            FromCompile::Described { fingerprint } => Ok(Self { program, fingerprint }),
            _ => Err(CompileError::WrongAnswer),
        }
    }

    /// Compiles the very bytes that were verified.
    ///
    /// # Errors
    /// [`CompileError::Module`] is the module's fault, all others are ours or the host's.
    pub async fn compile(&self, name: &str, module: &VerifiedModule, ledger: &Ledger) -> Result<Compiled, CompileError> {
        let began = Instant::now();
        let input = edgeguard_sandbox::sealed_memfd("module", module.bytes()).map_err(CompileError::Memory)?;
        let output = edgeguard_sandbox::memfd("native-code").map_err(CompileError::Memory)?;
        let (child, mut dialogue) = start(&self.program, ledger).await?;
        child.send(&ToCompile::Compile, &[input.as_fd(), output.as_fd()])?;
        let answer = child.recv_within(&mut dialogue, COMPILE).await;
        child.kill();
        let exit = child.reap().await;
        ledger.note(events::process_exited(child.pid(), "compile", name, exit, None));
        let digest = module.digest().to_string();
        match answer? {
            FromCompile::Compiled { kind, len } => {
                let code = collect(output, len).map_err(CompileError::Memory)?;
                ledger.note(events::compile_finished(name, &digest, code.len(), began.elapsed()));
                tracing::info!(module = name, bytes = code.len(), ms = began.elapsed().as_millis(), "compiled");
                Ok(Compiled { kind, code })
            }
            FromCompile::Failed { reason } => {
                let reason = crate::child::escape(&reason);
                ledger.note(events::compile_failed(name, &digest, &reason));
                Err(CompileError::Module(reason))
            }
            _ => Err(CompileError::WrongAnswer),
        }
    }
}

/// Starts a compiler, looks at it, and records what confines it.
async fn start(program: &Path, ledger: &Ledger) -> Result<(Child, Dialogue), CompileError> {
    let child = Child::spawn(Role::Compile, program)?;
    let mut dialogue = Dialogue::new();
    let FromCompile::Confined(report) = child.recv_within(&mut dialogue, STARTUP).await? else {
        return Err(CompileError::WrongAnswer);
    };
    child.look()?;
    ledger.record(events::process_started(child.pid(), "compile", "", &report)).await?;
    Ok((child, dialogue))
}

/// Seals the output before it is read: the compiler is gone, but nobody needs to believe that.
fn collect(output: OwnedFd, len: u64) -> std::io::Result<Vec<u8>> {
    edgeguard_sandbox::seal(&output)?;
    let code = edgeguard_sandbox::read_sealed(&output, MAX_CODE)?;
    if code.len() as u64 != len || code.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("compiler said {len} bytes, wrote {}", code.len())));
    }
    Ok(code)
}

/// How long a child may take to confine itself. It is milliseconds; a machine under full load gets some patience.
pub const STARTUP: Duration = Duration::from_secs(10);

/// How long one compilation may take.
const COMPILE: Duration = Duration::from_secs(300);

/// The most native code one module may become.
const MAX_CODE: u64 = 1 << 30;
