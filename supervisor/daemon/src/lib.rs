//! edgeguardd, the supervisor: it admits, spawns, serves and records.
//!
//! Runs in: daemon. Never links a wasm engine or a model engine, never maps a module, never parses a model.
//!
//! | room | what it does |
//! |---|---|
//! | [`program`], [`startup`] | the command line; from nothing to serving, and back |
//! | [`admit`] | file → verified → granted → native code → admitted |
//! | [`compiler`], [`graphs`], [`worker`] | one for each kind of child, over [`child`] |
//! | [`modules`], [`invoke`] | which module runs where, and one invocation from request to settled account |
//! | [`control`] | the socket |
//! | [`ledger`] | the thread that owns the journal |
//! | [`libraries`] | libraries of engines that are no part of the product |
//! | [`cache`], [`handle`], [`profiles`] | native code kept between runs; paths turned into handles; what policies share |
#![forbid(unsafe_code)]

pub mod admit;
pub mod cache;
pub mod child;
pub mod compiler;
pub mod control;
pub mod counted;
pub mod events;
pub mod graphs;
pub mod handle;
pub mod http;
pub mod invoke;
#[cfg(feature = "learning")]
pub mod learning;
pub mod ledger;
pub mod libraries;
pub mod modules;
pub mod profiles;
pub mod program;
pub mod signed_policy;
pub mod startup;
pub mod trust;
pub mod worker;

/// An error and its causes in one line, each said once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
