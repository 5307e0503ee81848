//! Single values: paths, names, words, digests, sizes, durations and counts, each held against its bounds.
//!
//! Runs in: daemon and command line.

use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::document::Found;
use crate::document::Table;
use crate::document::shorten;
use crate::moment;
use crate::paths;
use crate::resolve::Resolver;
use crate::suggest;
use crate::units;

impl Resolver<'_> {
    /// A path in plain form.
    pub(crate) fn path(&mut self, table: &Table<'_>, key: &str) -> Option<Found<PathBuf>> {
        let path = paths::absolute("path", table.text(key), self.source, self.found)?;
        Some(Found { value: PathBuf::from(path.value), span: path.span })
    }

    pub(crate) fn name<T, E: Display>(&mut self, text: Found<&str>, what: &str, make: fn(&str) -> Result<T, E>) -> Option<Found<T>> {
        match make(text.value) {
            Ok(value) => Some(Found { value, span: text.span }),
            Err(why) => {
                let help = "take letters, digits and `-`, beginning with a letter or a digit";
                self.report(Code::BadName, format!("{what} name is malformed"), &text.span, why.to_string(), help);
                None
            }
        }
    }

    /// One of a few words; a word without a value is known, and not served by this version.
    pub(crate) fn word<T: Copy>(&mut self, text: &Found<&str>, words: &[(&str, Option<T>)]) -> Option<T> {
        let served: Vec<String> = words.iter().filter(|(_, v)| v.is_some()).map(|(w, _)| format!("`{w}`")).collect();
        let served = served.join(", ");
        match words.iter().find(|(word, _)| *word == text.value) {
            Some((_, Some(value))) => Some(*value),
            Some((word, None)) => {
                self.report(
                    Code::NotServed,
                    format!("this version does not serve `{word}`"),
                    &text.span,
                    "known, but not served",
                    format!("served by this version: {served}"),
                );
                None
            }
            None => {
                let near = suggest::nearest(text.value, words.iter().map(|(w, _)| *w));
                let label = near.map_or_else(|| "not one of the words allowed here".to_owned(), |n| format!("did you mean `{n}`?"));
                self.report(
                    Code::UnknownWord,
                    format!("unknown word `{}`", shorten(text.value)),
                    &text.span,
                    label,
                    format!("allowed here: {served}"),
                );
                None
            }
        }
    }

    pub(crate) fn sha256(&mut self, text: Found<&str>) -> Option<Found<[u8; 32]>> {
        let mut value = [0; 32];
        if hex::decode_to_slice(text.value, &mut value).is_ok() {
            return Some(Found { value, span: text.span });
        }
        let label = match text.value.chars().find(|c| !c.is_ascii_hexdigit()) {
            _ if text.value.starts_with("sha256:") => "has a prefix".to_owned(),
            Some(c) => format!("`{}` is no hexadecimal digit", c.escape_default()),
            None => format!("{} digits where 64 are expected", text.value.len()),
        };
        self.report(Code::Sha256, "digest is malformed", &text.span, label, "write the 64 digits that `sha256sum FILE` prints");
        None
    }

    pub(crate) fn size(&mut self, table: &Table<'_>, key: &str, (least, most): (u64, u64)) -> Option<Found<u64>> {
        let text = table.text(key)?;
        match units::size(text.value) {
            Ok(value) => {
                let bounds = format!("{} to {}", units::show_size(least), units::show_size(most));
                self.within(key, (least..=most).contains(&value), &text.span, &bounds).then_some(Found { value, span: text.span })
            }
            Err(why) => {
                self.report(
                    Code::Size,
                    format!("`{key}` is no size"),
                    &text.span,
                    why,
                    "write a whole number and one of `B`, `KiB`, `MiB`, `GiB`, as in `\"64 MiB\"`",
                );
                None
            }
        }
    }

    pub(crate) fn duration(&mut self, table: &Table<'_>, key: &str, (least, most): (Duration, Duration)) -> Option<Found<Duration>> {
        let text = table.text(key)?;
        match units::duration(text.value) {
            Ok(value) => {
                let bounds = format!("{} to {}", units::show_duration(least), units::show_duration(most));
                self.within(key, (least..=most).contains(&value), &text.span, &bounds).then_some(Found { value, span: text.span })
            }
            Err(why) => {
                let help = "write a whole number and one of `us`, `ms`, `s`, `min`, `h`, `d`, as in `\"500 ms\"`";
                self.report(Code::Duration, format!("`{key}` is no duration"), &text.span, why, help);
                None
            }
        }
    }

    /// A number in bounds; where the key is absent, the default, which stands at the section's header.
    pub(crate) fn count(&mut self, table: &Table<'_>, key: &str, (least, most): (u32, u32), default: Option<u32>) -> Option<Found<u32>> {
        if !table.has(key) {
            return default.map(|value| Found { value, span: table.span.clone() });
        }
        let number = table.integer(key)?;
        let value = u32::try_from(number.value).ok().filter(|v| (least..=most).contains(v));
        self.within(key, value.is_some(), &number.span, &format!("{least} to {most}")).then_some(())?;
        Some(Found { value: value?, span: number.span })
    }

    /// A version: a number in bounds of 64 bits.
    pub(crate) fn version_number(&mut self, table: &Table<'_>, key: &str) -> Option<Found<u64>> {
        let (least, most) = bounds::VERSION;
        let number = table.integer(key)?;
        let value = u64::try_from(number.value).ok().filter(|v| (least..=most).contains(v));
        self.within(key, value.is_some(), &number.span, &format!("{least} to {most}")).then_some(())?;
        Some(Found { value: value?, span: number.span })
    }

    /// Seconds since 1970.
    pub(crate) fn moment(&mut self, table: &Table<'_>, key: &str) -> Option<Found<i64>> {
        let written = table.time(key)?;
        match moment::seconds(written.value) {
            Ok(value) => Some(Found { value, span: written.span }),
            Err(why) => {
                let help = "write the date, the time of day and the offset, as in `2027-01-01T00:00:00Z`";
                self.report(Code::Moment, format!("`{key}` is no moment"), &written.span, why, help);
                None
            }
        }
    }

    fn within(&mut self, key: &str, good: bool, span: &Range<usize>, bounds: &str) -> bool {
        if !good {
            self.report(
                Code::OutOfBounds,
                format!("`{key}` is out of bounds"),
                span,
                format!("must be {bounds}"),
                "choose a value within these bounds",
            );
        }
        good
    }

    pub(crate) fn report(
        &mut self,
        code: Code,
        message: impl Into<String>,
        span: &Range<usize>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.push(Diagnostic::new(code, message).at(self.source, span.clone(), label).help(help));
    }
}
