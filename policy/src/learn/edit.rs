//! A policy's text changed line by line: what is not meant stays as it was, to the space.
//!
//! Runs in: command line.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

use toml_edit::Document;
use toml_edit::Item;
use toml_edit::Table;
use toml_edit::Value;

use super::LearnError;
use super::MARK;
use super::plan::Fate;
use super::plan::Plan;
use super::word;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::units::show_size;

/// The text without the lines that an earlier learning wrote.
pub(super) fn without_marks(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let marked = |line: &str| line.trim_start().starts_with(MARK);
    let header = lines.iter().position(|line| !line.starts_with("#:")).unwrap_or(0);
    // The blank line behind the header that was written is its own.
    if lines.get(header).is_some_and(|line| marked(line)) {
        let end = lines.iter().skip(header).position(|line| !marked(line)).map_or(lines.len(), |n| header + n);
        if lines.get(end).is_some_and(|line| line.trim().is_empty()) {
            lines.remove(end);
        }
    }
    let kept: String = lines.into_iter().filter(|line| !marked(line)).collect();
    format!("{}\n", kept.trim_end())
}

/// Changes to lines, by their number from 0.
#[derive(Default)]
struct Changes {
    before: BTreeMap<usize, Vec<String>>,
    out: BTreeSet<usize>,
}

/// The text with the plan carried out. `base` is the text of the policy that was observed, from which sections are taken over.
pub(super) fn apply(base: &str, text: &str, plan: &Plan) -> Result<String, LearnError> {
    let document = Document::parse(text).map_err(|_| LearnError::Changed)?;
    let root = document.as_table();
    let mut changes = Changes::default();
    let mut words: Vec<(Range<usize>, &'static str)> = Vec::new();
    let line = |offset: usize| text.get(..offset).unwrap_or(text).matches('\n').count();
    let lines_of = |span: &Range<usize>| line(span.start)..line(span.end.saturating_sub(1).max(span.start)) + 1;

    for (name, fates) in [("dir", &plan.dirs), ("graph", &plan.graphs)] {
        for (table, fate) in tables(root, name, fates.len())?.into_iter().zip(fates) {
            let span = whole(table).ok_or(LearnError::Layout(name))?;
            changes.note(lines_of(&span), fate);
            if let (true, Some(access)) = (fate.keep, fate.access) {
                let at = table.get("access").and_then(Item::span).ok_or(LearnError::Layout(name))?;
                words.push((at, word(access)));
                // What is only read has no quota.
                let quota = ["files", "bytes"].into_iter().filter_map(|key| table.get_key_value(key)).filter(|_| access == Access::Read);
                for (key, value) in quota {
                    let from = key.span().ok_or(LearnError::Layout(name))?.start;
                    let to = value.span().ok_or(LearnError::Layout(name))?.end;
                    changes.out.extend(lines_of(&(from..to)));
                }
            }
        }
    }
    if let Some(env) = root.get("env") {
        let table = env.as_table().filter(|table| !table.is_dotted()).ok_or(LearnError::Layout("env"))?;
        changes.note(lines_of(&whole(table).ok_or(LearnError::Layout("env"))?), &plan.env);
    }
    if let Some(args) = root.get("module").and_then(Item::as_table).and_then(|module| module.get("args")) {
        let span = args.span().ok_or(LearnError::Layout("args"))?;
        changes.note(lines_of(&span), &plan.args);
    }

    let mut taken = String::new();
    let source = Document::parse(base).map_err(|_| LearnError::Changed)?;
    for (_, index, why) in &plan.new_graphs {
        let list = source.as_table().get("graph").and_then(Item::as_array_of_tables);
        let span = list.and_then(|list| list.get(*index)).and_then(whole).ok_or(LearnError::Layout("graph"))?;
        taken.push('\n');
        marked(&mut taken, why);
        taken.push_str(base.get(span).ok_or(LearnError::Changed)?.trim_end());
        taken.push('\n');
    }

    // Words first: they change no line's number.
    let mut text = text.to_owned();
    words.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    for (span, word) in words {
        let word = format!("\"{word}\"");
        if text.get(span.clone()).is_none_or(|old| old.contains('\n')) {
            return Err(LearnError::Layout("access"));
        }
        text.replace_range(span, &word);
    }
    Ok(changes.write(&text, plan, &taken))
}

impl Changes {
    fn note(&mut self, lines: Range<usize>, fate: &Fate) {
        self.before.entry(lines.start).or_default().extend(fate.why.iter().cloned());
        if !fate.keep {
            self.out.extend(lines);
        }
    }

    fn write(&self, text: &str, plan: &Plan, taken: &str) -> String {
        let mut out = String::new();
        let directives = text.lines().take_while(|line| line.starts_with("#:")).count();
        for (number, line) in text.lines().enumerate() {
            if number == directives {
                marked(&mut out, &plan.header);
                out.push('\n');
            }
            marked(&mut out, self.before.get(&number).into_iter().flatten());
            match self.out.contains(&number) {
                true => marked(&mut out, [&format!("  {line}")]),
                false => out.push_str(&format!("{line}\n")),
            }
        }
        for (grant, why) in &plan.new_dirs {
            out.push('\n');
            marked(&mut out, why);
            out.push_str(&dir(grant));
        }
        out.push_str(taken);
        if !plan.footer.is_empty() {
            out.push('\n');
            marked(&mut out, &plan.footer);
        }
        out
    }
}

fn marked<'a>(out: &mut String, lines: impl IntoIterator<Item = &'a String>) {
    for line in lines {
        out.push_str(format!("{MARK} {line}").trim_end());
        out.push('\n');
    }
}

/// The sections of a list, as many as the policy has.
fn tables<'t>(root: &'t Table, name: &'static str, count: usize) -> Result<Vec<&'t Table>, LearnError> {
    let found: Vec<&Table> = match root.get(name) {
        None => Vec::new(),
        Some(Item::ArrayOfTables(list)) => list.iter().collect(),
        Some(_) => return Err(LearnError::Layout(name)),
    };
    if found.len() == count { Ok(found) } else { Err(LearnError::Layout(name)) }
}

/// From a section's header to the end of its last value.
fn whole(table: &Table) -> Option<Range<usize>> {
    let header = table.span()?;
    let mut end = header.end;
    for (_, item) in table.iter() {
        let inner = match item {
            Item::Table(inner) => whole(inner)?,
            _ => item.span()?,
        };
        end = end.max(inner.end);
    }
    Some(header.start..end)
}

/// Text as TOML writes it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().trim().to_owned()
}

fn dir(grant: &DirGrant) -> String {
    let host = grant.host.to_str().unwrap_or_default();
    let mut text = format!("[[dir]]\nguest = {}\nhost = {}\naccess = \"{}\"\n", quoted(&grant.guest), quoted(host), word(grant.access));
    text.extend(grant.quota.files.map(|files| format!("files = {files}\n")));
    text.extend(grant.quota.bytes.map(|bytes| format!("bytes = \"{}\"\n", show_size(bytes))));
    text
}
