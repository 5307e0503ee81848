//! Whether this crate is tested at all.

#[test]
fn where_everything_is_tested_the_host_on_libtorch_is_too() {
    assert!(
        cfg!(feature = "libtorch") || std::env::var_os("CI").is_none(),
        "under CI nothing is left out: install libtorch (Debian: `libtorch-dev`) and build with `--features edgeguard-torch/libtorch`"
    );
}
