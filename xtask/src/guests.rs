//! `cargo xtask guests`: the guests, from source to `target/guests/*.wasm`.
//!
//! A guest in Rust needs a standard library for wasm. rustup has one; where rustup cannot fetch it, Debian's `rustc-web` can build
//! one from source. Guests in text form (`tests/guests/*.wat`) need neither.

use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
use wit_component::ComponentEncoder;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Which Rust builds the guests; without it, rustup's where it has the target, else Debian's
    #[arg(long, value_enum)]
    pub toolchain: Option<Toolchain>,
    /// Also the kit's examples
    #[arg(long)]
    pub examples: bool,
}

/// A Rust that has a standard library for [`TARGET`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Toolchain {
    Rustup,
    Debian,
}

/// Builds every guest, and gives their paths.
pub fn run(arguments: &Arguments) -> Result<Vec<PathBuf>> {
    let folder = place::target("guests")?;
    let mut built = Vec::new();
    for name in TEXT_GUESTS {
        let source = place::root().join("tests/guests").join(name).with_extension("wat");
        let module = wat::parse_file(&source).map_err(Failure::at("assemble", &source))?;
        built.push(put(&folder, &format!("{name}.wasm"), &module)?);
    }
    let toolchain = match arguments.toolchain {
        Some(toolchain) => toolchain.ready()?,
        None => Toolchain::find()?,
    };
    for guest in RUST_GUESTS.iter().filter(|guest| arguments.examples || !guest.example) {
        let name = guest.name;
        let module = shell::step(&format!("building {name} for {TARGET}"), || toolchain.build(guest, &[]))?;
        built.push(put(&folder, &format!("{name}.wasm"), &module)?);
        if guest.component {
            let module = shell::step(&format!("building {name} as a component"), || toolchain.build(guest, &["--features", "component"]))?;
            built.push(put(&folder, &format!("{name}.component.wasm"), &component(name, &module)?)?);
        }
    }
    for path in &built {
        let bytes = place::get(path)?;
        println!("{}  {:>8} bytes  {}", place::sha256(&bytes), bytes.len(), place::shown(path));
    }
    Ok(built)
}

impl Toolchain {
    fn find() -> Result<Toolchain> {
        let mut reasons = Vec::new();
        for toolchain in [Toolchain::Rustup, Toolchain::Debian] {
            match toolchain.ready() {
                Ok(ready) => return Ok(ready),
                Err(reason) => reasons.push(format!("  - {reason}")),
            }
        }
        Err(Failure::new(format!("no Rust here can build for {TARGET}\n{}\n{RECIPES}", reasons.join("\n"))))
    }

    /// Makes sure that this toolchain can build, installing what it lacks where that is possible.
    fn ready(self) -> Result<Toolchain> {
        match self {
            Toolchain::Rustup => {
                let installed = shell::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
                if !installed.lines().any(|line| line.trim() == TARGET) {
                    shell::step(&format!("rustup target add {TARGET}"), || {
                        shell::output(Command::new("rustup").args(["target", "add", TARGET]))
                    })?;
                }
            }
            Toolchain::Debian => {
                if !debian_has_all() {
                    if !shell::is_root() {
                        return Err(Failure::new(format!("Debian's packages {} are not installed", DEBIAN_PACKAGES.join(", "))));
                    }
                    shell::step(&format!("apt-get install {}", DEBIAN_PACKAGES.join(" ")), || {
                        let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
                        shell::output(Command::new("apt-get").args(install).args(DEBIAN_PACKAGES).env("DEBIAN_FRONTEND", "noninteractive"))
                    })?;
                }
            }
        }
        Ok(self)
    }

    /// Builds one guest, and gives its bytes.
    fn build(self, guest: &Guest, more: &[&str]) -> Result<Vec<u8>> {
        let name = guest.name;
        let sdk = place::root().join("guest-sdk");
        // Cargo gives programs for wasm one file name whatever their features, so each kind has a folder of its own: else one would
        // be taken for the other as soon as both are built and nothing has changed.
        let kind = if !more.is_empty() {
            "component"
        } else if guest.vectors {
            "vectors"
        } else {
            "core"
        };
        let target = sdk.join("target").join(self.folder()).join(kind);
        let mut cargo = self.cargo();
        cargo.current_dir(&sdk).args(["build", "--quiet", "--locked", "--release", "--target", TARGET, "--package", name]).args(more);
        if self == Toolchain::Debian && guest.vectors {
            // An engine would start threads, and Debian's C library for wasm does not know the word.
            cargo.args(["--features", "threadless-libc"]);
        }
        cargo.arg("--target-dir").arg(&target).env("CARGO_ENCODED_RUSTFLAGS", self.flags(guest).join("\x1f"));
        shell::show(&mut cargo)?;
        let module = place::get(&target.join(TARGET).join("release").join(name).with_extension("wasm"))?;
        match names_a_path_of(&module, &private_paths()) {
            Some(path) => Err(Failure::new(format!(
                "{name} names `{}`, a path of this machine: it would not build the same elsewhere",
                path.display()
            ))),
            None => Ok(module),
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Toolchain::Rustup => "rustup",
            Toolchain::Debian => "debian",
        }
    }

    fn cargo(self) -> Command {
        match self {
            Toolchain::Rustup => {
                let mut cargo = Command::new("cargo");
                for name in FROM_OUTER_CARGO {
                    cargo.env_remove(name);
                }
                cargo
            }
            Toolchain::Debian => {
                let mut cargo = Command::new("/usr/bin/cargo");
                for name in FROM_OUTER_CARGO.iter().chain(&["RUSTUP_TOOLCHAIN"]) {
                    cargo.env_remove(name);
                }
                // Debian's stable compiler builds the standard library from its own source package, which needs the nightly switch.
                cargo.env("PATH", "/usr/bin:/bin").env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
                cargo
            }
        }
    }

    /// The compiler's flags. No path of this machine may end up in a module that is hashed and signed.
    fn flags(self, guest: &Guest) -> Vec<String> {
        let home = env::home_dir().unwrap_or_default();
        let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        let mut flags = vec![remap(&cargo_home, "/cargo"), remap(&place::root(), "/edgeguard")];
        if guest.vectors {
            flags.extend(["-C".to_owned(), "target-feature=+simd128".to_owned()]);
        }
        if self == Toolchain::Debian {
            let linking = ["link-self-contained=no", "linker=wasm-ld", "link-arg=/usr/lib/wasm32-wasi/crt1-command.o"];
            flags.extend(linking.iter().flat_map(|option| ["-C".to_owned(), (*option).to_owned()]));
            flags.extend(["-L".to_owned(), "/usr/lib/wasm32-wasi".to_owned()]);
        }
        flags
    }
}

/// Folders whose names say who built a module, and where.
fn private_paths() -> Vec<PathBuf> {
    // A home of `/`, as some containers have it, would be found in every path.
    env::home_dir().into_iter().chain([place::root()]).filter(|path| path.components().count() > 1).collect()
}

fn names_a_path_of<'a>(module: &[u8], paths: &'a [PathBuf]) -> Option<&'a Path> {
    let names = |path: &&'a PathBuf| {
        let folder = [path.as_os_str().as_encoded_bytes(), b"/"].concat();
        module.windows(folder.len()).any(|bytes| bytes == folder)
    };
    paths.iter().find(names).map(PathBuf::as_path)
}

fn debian_has_all() -> bool {
    DEBIAN_PACKAGES.iter().all(|package| {
        let status = shell::output(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]));
        status.is_ok_and(|status| status == "installed")
    })
}

/// Wraps a core module that was built for the component interface.
fn component(name: &str, module: &[u8]) -> Result<Vec<u8>> {
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER))
        .and_then(|encoder| encoder.encode());
    encoded.map_err(|error| Failure::new(format!("cannot make a component of {name}: {error:#}")))
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    place::put(&path, bytes)?;
    Ok(path)
}

const TARGET: &str = "wasm32-wasip1";
/// A package under `guest-sdk/guests` or `guest-sdk/examples`.
struct Guest {
    name: &'static str,
    /// Built only where examples are asked for.
    example: bool,
    /// Built as a component too.
    component: bool,
    /// Brings an engine of its own, and is built with vector instructions for it.
    vectors: bool,
}

const RUST_GUESTS: &[Guest] = &[
    Guest { name: "voice-gate", example: false, component: true, vectors: false },
    Guest { name: "embed", example: true, component: true, vectors: false },
    Guest { name: "speech", example: true, component: true, vectors: false },
    Guest { name: "file-type", example: true, component: true, vectors: false },
    Guest { name: "chat", example: true, component: true, vectors: false },
    Guest { name: "gullible", example: true, component: true, vectors: false },
    Guest { name: "mobilenet", example: true, component: false, vectors: false },
    Guest { name: "own-engine", example: true, component: false, vectors: true },
];
/// Files under `tests/guests` that the demo signs and runs.
const TEXT_GUESTS: &[&str] = &["hello", "open_outside", "load_bytes", "ask_other_graph"];
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld", "wasi-libc"];
/// What `cargo xtask` hands down and another build must not take for its own.
const FROM_OUTER_CARGO: &[&str] =
    &["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_TARGET_DIR", "RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "CARGO"];
const RECIPES: &str = "\
install one of these, then run this again:
  rustup target add wasm32-wasip1
  sudo apt-get install rustc-web cargo-web rust-web-src lld wasi-libc      (Debian, Ubuntu)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_names_its_builder_is_noticed() {
        let paths = [PathBuf::from("/home/someone"), PathBuf::from("/srv/tree")];
        assert_eq!(names_a_path_of(b"...at /srv/tree/src/main.rs:1", &paths), Some(Path::new("/srv/tree")));
        assert_eq!(names_a_path_of(b"...at /edgeguard/src/main.rs:1, not /home/someoneelse", &paths), None);
    }

    #[test]
    fn every_guest_in_text_form_assembles() {
        for name in TEXT_GUESTS {
            let source = place::root().join("tests/guests").join(name).with_extension("wat");
            assert!(wat::parse_file(&source).is_ok(), "{}", source.display());
        }
    }
}
