//! The policies that the demo writes, as an operator would.

use std::path::Path;
use std::path::PathBuf;

use super::house::House;
use crate::failure::Result;
use crate::models::Model;

/// One module's policy.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The module's name; its file is `modules/NAME.wasm`.
    pub name: &'a str,
    /// Whether it may read the recordings, as `/audio`.
    pub audio: bool,
    /// The model behind its graph `vad`, if it has one.
    pub graph: Option<&'a Model>,
}

impl Policy<'_> {
    /// The file's text. Paths in it are absolute, as the daemon wants them.
    pub fn text(&self, house: &House) -> String {
        let path = |name: &str| house.path(name).display().to_string();
        let mut text = format!(
            "version = 1\n\n[module]\nname = {:?}\npath = {:?}\nmode = \"command\"\n\n[[module.signer]]\nkey = {:?}\n",
            self.name,
            path(&format!("modules/{}.wasm", self.name)),
            path("keys/acme.pub")
        );
        if self.audio {
            text.push_str(&format!("\n[[dir]]\nguest = \"/audio\"\nhost = {:?}\naccess = \"read\"\n", path("audio")));
        }
        if let Some(model) = self.graph {
            text.push_str(&format!(
                "\n[[graph]]\nname = \"vad\"\nmodel = {:?}\nsha256 = {:?}\nencoding = \"onnx\"\ntarget = \"cpu\"\n",
                path(&model_name(&model.path)),
                model.sha256
            ));
        }
        text.push_str("\n[limits]\nmemory = \"64 MiB\"\ndeadline = \"20 s\"\ninstances = 2\noutput = \"1 MiB\"\n");
        text
    }

    /// Puts it where the daemon of this folder finds it at its next reload.
    pub fn write(&self, house: &House, folder: &str) -> Result<PathBuf> {
        house.write(&format!("{folder}/policy.d/{}.toml", self.name), self.text(house).as_bytes())
    }
}

/// Where a model lies in the house.
pub fn model_name(model: &Path) -> String {
    format!("models/{}", model.file_name().unwrap_or_default().to_string_lossy())
}
