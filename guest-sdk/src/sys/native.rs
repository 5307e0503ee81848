//! No host: what a native build of a guest gets, so that its unit tests and documentation build where they are written.

use crate::error::Call;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::graph::Port;
use crate::sys::Reading;
use crate::tensor::ElementType;

/// Uninhabited: no native build ever opens a graph.
#[derive(Debug)]
pub(crate) enum Graph {}

/// Uninhabited, as the graph it would come from.
#[derive(Debug)]
pub(crate) enum Context {}

impl Graph {
    pub(crate) fn load_by_name(_name: &str) -> Result<Graph> {
        let detail = Some("this is a native build; build the guest for `wasm32-wasip1`".to_owned());
        Err(Error::Host { call: Call::LoadByName, code: Code::UnsupportedOperation, detail })
    }

    pub(crate) fn context(&self) -> Result<Context> {
        match *self {}
    }
}

impl Context {
    pub(crate) fn set_input(&mut self, _port: Port, _element: ElementType, _dimensions: &[u32], _data: &[u8]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn compute(&mut self) -> Result<()> {
        match *self {}
    }

    pub(crate) fn output(&self, _port: Port, _element: ElementType, _into: &mut [u8]) -> Result<Reading> {
        match *self {}
    }
}

/// Uninhabited, as the graph.
#[derive(Debug)]
pub(crate) enum Language {}

impl Language {
    pub(crate) fn open(name: &str, _options: &str) -> Result<Language> {
        match Graph::load_by_name(name)? {}
    }

    pub(crate) fn prompt(&mut self, _text: &str) -> Result<()> {
        match *self {}
    }

    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        match *self {}
    }
}
