//! OpenVINO's libraries, out of its Python package: those that compute ONNX and the library's own format on the processor, and no more.

use std::fs;
use std::path::PathBuf;

use super::UNPACKED;
use super::kept;
use super::take;
use super::unpack;
use crate::failure::Result;
use crate::place;
use crate::shell;

/// Finds or fetches the libraries, and returns their folder.
pub fn openvino() -> Result<PathBuf> {
    let folder = place::target("engines")?.join("openvino");
    if !FILES.iter().all(|(name, sha256)| kept(&folder.join(name), sha256).is_some()) {
        shell::step(&format!("fetching package {PACKAGE}"), || {
            let scratch = unpack(PACKAGE, WHEEL)?;
            for (name, sha256) in FILES {
                take(&scratch.join(UNPACKED).join("openvino/libs").join(name), sha256, &folder.join(name))?;
            }
            // A scratch folder that stays does no harm.
            let _ = fs::remove_dir_all(scratch);
            Ok(())
        })?;
    }
    for (name, sha256) in FILES {
        println!("{sha256}  {}", place::shown(&folder.join(name)));
    }
    Ok(folder)
}

/// The names of the libraries.
pub fn openvino_files() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().map(|(name, _)| name)
}

/// The package is one for each processor and each Python; this is the one for x86-64 and 3.11.
const PACKAGE: &str = "openvino==2026.4.1";
const WHEEL: &str = "2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf";

/// The interface, what it lies on, the processor's part, and the readers of ONNX and of the library's own format.
const FILES: [(&str, &str); 6] = [
    ("libopenvino_c.so.2641", "d2d0836d422b21fc5da2739af0d6035df3fc6dd5e4756402eb848974edecf8a5"),
    ("libopenvino.so.2641", "9b9a80ac1f18e07b13ed54459d9a865bcfe9dc170dbf8fe740c2974b85ecedc1"),
    ("libopenvino_intel_cpu_plugin.so", "6599e3dd300d047b5ed72f8e48101c5f312c25321f35f57f803641ff8372900b"),
    ("libopenvino_ir_frontend.so.2641", "554e9fd3d4a0fbc587c14379464b2324e24b8ea736cfb749ad2cd9e74dfc09e0"),
    ("libopenvino_onnx_frontend.so.2641", "82d499f5b5e8514def7aaa1ecd5a9f570542d33ae9d00a0077f707cccd0e0192"),
    ("libtbb.so.12", "ac9518497a4f2cb6729792730f145ee58367316031511923fef263c9ac81ca61"),
];
