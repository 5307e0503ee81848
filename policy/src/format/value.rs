//! How one value is written: as it was, with lists and inline tables spaced in one way.
//!
//! Runs in: command line.
//! Does not: touch what is between quotes, or a list that holds comments.

use toml_edit::Array;
use toml_edit::InlineTable;
use toml_edit::Value;

/// Longest line that a list is put on, in characters.
const WIDTH: usize = 100;
const INDENT: &str = "    ";

/// The text of a value that begins `column` characters into its line.
pub(super) fn written(value: &Value, column: usize) -> String {
    let short = on_one_line(value);
    match (value, short) {
        (Value::Array(list), Some(short)) if !fits(&short, column) && !list.is_empty() => broken(list),
        (_, Some(short)) => short,
        // Comments inside: as it was written.
        (_, None) => {
            let mut plain = value.clone();
            plain.decor_mut().clear();
            plain.to_string().trim().to_owned()
        }
    }
}

fn fits(text: &str, column: usize) -> bool {
    !text.contains('\n') && text.chars().count() + column <= WIDTH
}

/// The value on one line; nothing if it holds a comment, or a dotted key, which would be another way to say the same.
fn on_one_line(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(v) => v.display_repr().into_owned(),
        Value::Integer(v) => v.display_repr().into_owned(),
        Value::Float(v) => v.display_repr().into_owned(),
        Value::Boolean(v) => v.display_repr().into_owned(),
        Value::Datetime(v) => v.display_repr().into_owned(),
        Value::Array(list) => {
            if list.iter().any(commented) || list.trailing().as_str().is_none_or(|text| text.contains('#')) {
                return None;
            }
            let entries: Option<Vec<String>> = list.iter().map(on_one_line).collect();
            format!("[{}]", entries?.join(", "))
        }
        Value::InlineTable(table) => inline(table)?,
    })
}

fn inline(table: &InlineTable) -> Option<String> {
    if table.trailing().as_str().is_none_or(|text| text.contains('#')) {
        return None;
    }
    let mut entries = Vec::new();
    for (name, value) in table.iter() {
        let key = table.key(name)?;
        let decor = key.leaf_decor();
        let comment =
            [decor.prefix(), decor.suffix()].into_iter().flatten().any(|text| text.as_str().is_none_or(|text| text.contains('#')));
        let dotted = value.as_inline_table().is_some_and(InlineTable::is_dotted);
        if comment || dotted || commented(value) {
            return None;
        }
        entries.push(format!("{} = {}", key.display_repr(), on_one_line(value)?));
    }
    Some(if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) })
}

/// One entry a line, with a comma behind the last.
fn broken(list: &Array) -> String {
    let lines: Vec<String> = list.iter().filter_map(on_one_line).map(|entry| format!("{INDENT}{entry},\n")).collect();
    format!("[\n{}]", lines.concat())
}

/// Whether there is a comment before or behind a value.
fn commented(value: &Value) -> bool {
    let decor = value.decor();
    [decor.prefix(), decor.suffix()].into_iter().flatten().any(|text| text.as_str().is_none_or(|text| text.contains('#')))
}
