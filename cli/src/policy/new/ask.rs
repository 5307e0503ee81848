//! Questions on a terminal, and answers that are taken or asked for again.
//!
//! Runs in: command line.
//! Does not: ask without end, read an answer of any length, or take silence for a yes.

use std::io::BufRead;
use std::io::Read as _;
use std::io::Write;

use super::Failed;

/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 8192;
/// How often a question is asked before it is given up.
const TIMES: usize = 3;

/// Asks until an answer is good; an empty line is the usual one.
pub(super) fn until<T>(
    talk: &mut (&mut impl BufRead, &mut impl Write),
    question: &str,
    usual: Option<&str>,
    take: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failed> {
    for _ in 0..TIMES {
        let hint = usual.map(|usual| format!(" [{}]", edgeguard_policy::escape(usual))).unwrap_or_default();
        let answer = answer(talk, &format!("{question}{hint}: "))?;
        match take(if answer.is_empty() { usual.unwrap_or_default() } else { &answer }) {
            Ok(good) => return Ok(good),
            Err(why) => say(talk, &format!("{why}\n"))?,
        }
    }
    Err(Failed::Said("no answer could be used; the same can be said with options, see `--help`".to_owned()))
}

/// Asks for what may be left out; an empty line leaves it out.
pub(super) fn maybe<T>(
    talk: &mut (&mut impl BufRead, &mut impl Write),
    question: &str,
    take: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failed> {
    until(talk, &format!("{question} [none yet]"), None, |text| if text.is_empty() { Ok(None) } else { take(text).map(Some) })
}

fn answer(talk: &mut (&mut impl BufRead, &mut impl Write), prompt: &str) -> Result<String, Failed> {
    say(talk, prompt)?;
    let mut line = Vec::new();
    let read = (&mut *talk.0).take(MAX_ANSWER).read_until(b'\n', &mut line);
    let ended = || Failed::Said("the answers ended before the questions; nothing was written".to_owned());
    match (read, line.strip_suffix(b"\n")) {
        (Ok(_), Some(line)) => {
            std::str::from_utf8(line).map(|text| text.trim().to_owned()).map_err(|_| Failed::Said("an answer is not UTF-8".to_owned()))
        }
        (Ok(_), None) => Err(ended()),
        (Err(error), _) => Err(Failed::Said(format!("cannot read the answer: {error}"))),
    }
}

fn say(talk: &mut (&mut impl BufRead, &mut impl Write), text: &str) -> Result<(), Failed> {
    talk.1.write_all(text.as_bytes()).and_then(|()| talk.1.flush()).map_err(|error| Failed::Said(format!("cannot ask: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    fn ask(answers: &str) -> (Result<u32, Failed>, String) {
        let (mut input, mut out) = (answers.as_bytes(), Vec::new());
        let got =
            until(&mut (&mut input, &mut out), "How many", Some("7"), |text| text.parse().map_err(|_| format!("`{text}` is no number")));
        (got, String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_empty_line_is_the_usual_answer_and_a_wrong_one_is_asked_for_again() {
        assert!(matches!(ask("\n").0, Ok(7)));
        let (got, said) = ask("many\n 12 \n");
        assert!(matches!(got, Ok(12)));
        assert_eq!(said, "How many [7]: `many` is no number\nHow many [7]: ");
    }

    #[test]
    fn nobody_is_asked_without_end_and_no_answer_is_no_yes() {
        assert!(ask("a\nb\nc\n12\n").0.is_err());
        assert!(ask("").0.is_err());
        assert!(ask("12").0.is_err(), "a line that was cut off is no answer");
        assert!(ask(&format!("{}\n", "1".repeat(10_000))).0.is_err());
    }

    #[test]
    fn what_may_be_left_out_is_left_out() {
        let take = |text: &str| text.parse::<u32>().map_err(|e| e.to_string());
        let mut out = Vec::new();
        assert!(matches!(maybe(&mut (&mut &b"\n"[..], &mut out), "Some", take), Ok(None)));
        assert!(matches!(maybe(&mut (&mut &b"3\n"[..], &mut out), "Some", take), Ok(Some(3))));
    }
}
