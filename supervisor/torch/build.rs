//! Compiles the C++ between libtorch and this crate, where the feature `libtorch` asks for it.

fn main() {
    println!("cargo::rerun-if-changed=src/sys/torch.cpp");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    #[cfg(feature = "libtorch")]
    libtorch();
}

#[cfg(feature = "libtorch")]
fn libtorch() {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file("src/sys/torch.cpp").flag_if_supported("-fvisibility=hidden").warnings(false);
    match std::env::var_os("LIBTORCH").map(std::path::PathBuf::from) {
        Some(folder) => {
            build.include(folder.join("include")).include(folder.join("include/torch/csrc/api/include"));
            println!("cargo::rustc-link-search=native={}", folder.join("lib").display());
            println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{}", folder.join("lib").display());
            println!("cargo::rustc-link-arg-tests=-Wl,-rpath,{}", folder.join("lib").display());
        }
        None => {
            build.include("/usr/include/torch/csrc/api/include");
        }
    }
    build.compile("edgeguard_torch");
    for library in ["torch", "torch_cpu", "c10"] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}
