//! What the demo prints: chapters, the commands as one would type them, what they said, and what was shown by it.

use std::io::IsTerminal;

/// Standard output, with colours where there is a terminal that wants them (no-color.org).
#[derive(Debug)]
pub struct Screen {
    colour: bool,
    chapters: usize,
}

impl Screen {
    /// Looks whether there is a terminal.
    pub fn new() -> Screen {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        Screen { colour: wanted && !dumb && std::io::stdout().is_terminal(), chapters: 0 }
    }

    /// Opens a numbered chapter.
    pub fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!("\n{}", self.painted(BOLD, &format!("{}. {title}", self.chapters)));
    }

    /// Opens an unnumbered part of a chapter.
    pub fn part(&self, title: &str) {
        println!("\n   {}", self.painted(BOLD, title));
    }

    /// A sentence of the demo's own.
    pub fn say(&self, text: &str) {
        println!("   {text}");
    }

    /// A command, as it was run in the demo's folder.
    pub fn command(&self, words: &[&str]) {
        println!("   {}", self.painted(CYAN, &format!("$ edgeguard {}", words.join(" "))));
    }

    /// What a program said.
    pub fn answer(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   {} {}", self.painted(DIM, "|"), line.trim_end());
        }
    }

    /// What has been shown. Printed only after it was checked.
    pub fn shown(&self, text: &str) {
        println!("   {} {text}", self.painted(GREEN, "ok:"));
    }

    /// A line of the closing table.
    pub fn row(&self, what: &str, value: &str) {
        println!("   {what:<44} {}", self.painted(BOLD, value));
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    }
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const GREEN: &str = "\x1b[32m";
