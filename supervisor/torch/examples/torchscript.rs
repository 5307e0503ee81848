//! `torchscript FILE`: writes a small TorchScript model, for tests that have no Python at hand.

use std::process::ExitCode;

/// One row of 64 numbers in, as many probabilities out.
const TEXT: &std::ffi::CStr =
    c"def forward(self, x: Tensor) -> Tensor:\n    return torch.softmax(torch.relu(torch.matmul(x, self.weight) + 1.0), 1)\n";

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("expected the file to write");
        return ExitCode::from(2);
    };
    let made = edgeguard_torch::sys::make(TEXT, 64, 64).and_then(|model| std::fs::write(file, model).map_err(|error| error.to_string()));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
