//! What a guest may ask for when tokens are chosen.
//!
//! Runs in: language host.
//! Invariant: numbers reach the engine only where it says that it can do with them; whatever is out of bounds is refused by name, and nothing is bent.

use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::MAX_GRAMMAR;
use edgeguard_wire::language::Sampling;
use edgeguard_wire::tensor::NnCode;

use crate::error::nn;
use crate::sys::Chain;

/// llama.cpp's own defaults (`common_params_sampling`).
const DEFAULT: Chain = Chain {
    penalty_last: 64,
    penalty_repeat: 1.0,
    penalty_frequency: 0.0,
    penalty_presence: 0.0,
    top_k: 40,
    top_p: 0.95,
    min_p: 0.05,
    temperature: 0.8,
    // As llama.cpp has it, this number stands for a seed drawn at random.
    seed: u32::MAX,
};

/// Brackets within brackets of a grammar: its parser calls itself for each.
const MAX_DEPTH: usize = 64;

/// The most repetitions that a grammar may ask for in one place: each is written out.
const MAX_REPEAT: u32 = 256;

/// The chain of samplers for these options.
///
/// # Errors
/// `InvalidArgument`, with the option that is out of bounds.
pub fn chain(sampling: &Sampling) -> Result<Chain, LanguageError> {
    let number = |name: &str, found: Option<f32>, default: f32, low: f32, high: f32| match found {
        None => Ok(default),
        Some(value) if value.is_finite() && value >= low && value <= high => Ok(value),
        Some(value) => Err(nn(NnCode::InvalidArgument, format!("`{name}` is {value}, expected {low} to {high}"))),
    };
    let top_k = match sampling.top_k {
        None => DEFAULT.top_k,
        Some(k) => i32::try_from(k).map_err(|_| nn(NnCode::InvalidArgument, format!("`top_k` is {k}, expected at most {}", i32::MAX)))?,
    };
    if let Some(grammar) = &sampling.grammar {
        check_grammar(grammar)?;
    }
    Ok(Chain {
        penalty_repeat: number("repeat_penalty", sampling.repeat_penalty, DEFAULT.penalty_repeat, 0.01, 100.0)?,
        penalty_frequency: number("frequency_penalty", sampling.frequency_penalty, DEFAULT.penalty_frequency, -100.0, 100.0)?,
        penalty_presence: number("presence_penalty", sampling.presence_penalty, DEFAULT.penalty_presence, -100.0, 100.0)?,
        top_k,
        top_p: number("top_p", sampling.top_p, DEFAULT.top_p, 0.0, 1.0)?,
        min_p: number("min_p", sampling.min_p, DEFAULT.min_p, 0.0, 1.0)?,
        temperature: number("temperature", sampling.temperature, DEFAULT.temperature, 0.0, 100.0)?,
        seed: sampling.seed.unwrap_or(DEFAULT.seed),
        penalty_last: DEFAULT.penalty_last,
    })
}

/// What llama.cpp's parser of grammars does not bound itself: brackets within brackets, and repetitions, each of which it writes out. Those in texts, classes of
/// characters and comments do not count, so these are told apart as that parser does.
fn check_grammar(grammar: &str) -> Result<(), LanguageError> {
    let refuse = |why: String| Err(nn(NnCode::InvalidArgument, format!("grammar {why}")));
    if grammar.len() > MAX_GRAMMAR {
        return refuse(format!("has {} bytes, expected at most {MAX_GRAMMAR}", grammar.len()));
    }
    if grammar.contains('\0') {
        return refuse("has a zero byte".into());
    }
    let mut depth = 0_usize;
    let mut characters = grammar.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => skip(&mut characters, '"'),
            '[' => skip(&mut characters, ']'),
            '#' => while characters.next().is_some_and(|character| !matches!(character, '\r' | '\n')) {},
            // Tokens by name or number: within their brackets quotes would stand for themselves.
            '<' => return refuse("names a token".into()),
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            '{' => {
                let inside: String = characters.by_ref().take_while(|character| *character != '}').take(64).collect();
                let fits = |digits: &str| {
                    digits.trim_ascii().is_empty() || digits.trim_ascii().parse::<u32>().is_ok_and(|count| count <= MAX_REPEAT)
                };
                if inside.len() >= 64 || !inside.split(',').all(fits) {
                    return refuse(format!("repeats `{}` times, expected at most {MAX_REPEAT}", inside.escape_debug()));
                }
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return refuse(format!("has more than {MAX_DEPTH} brackets within each other"));
        }
    }
    Ok(())
}

/// Goes on behind the next `end` that no backslash stands before.
fn skip(characters: &mut std::str::Chars<'_>, end: char) {
    while let Some(character) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn refused(sampling: Sampling) -> String {
        chain(&sampling).unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_is_the_engines_default() {
        assert_eq!(chain(&Sampling::default()).unwrap(), DEFAULT);
    }

    #[test]
    fn numbers_out_of_bounds_are_refused_by_name() {
        assert_eq!(refused(Sampling { temperature: Some(f32::NAN), ..Sampling::default() }), "`temperature` is NaN, expected 0 to 100");
        assert_eq!(refused(Sampling { temperature: Some(-1.0), ..Sampling::default() }), "`temperature` is -1, expected 0 to 100");
        assert_eq!(refused(Sampling { top_p: Some(1.5), ..Sampling::default() }), "`top_p` is 1.5, expected 0 to 1");
        assert_eq!(refused(Sampling { min_p: Some(f32::INFINITY), ..Sampling::default() }), "`min_p` is inf, expected 0 to 1");
        assert!(refused(Sampling { repeat_penalty: Some(0.0), ..Sampling::default() }).contains("`repeat_penalty` is 0"));
        assert!(refused(Sampling { presence_penalty: Some(1e30), ..Sampling::default() }).contains("`presence_penalty`"));
        assert!(refused(Sampling { frequency_penalty: Some(-1e30), ..Sampling::default() }).contains("`frequency_penalty`"));
        assert!(refused(Sampling { top_k: Some(u32::MAX), ..Sampling::default() }).contains("`top_k`"));
    }

    #[test]
    fn a_grammar_that_would_exhaust_its_parser_is_refused() {
        let grammar = |text: String| refused(Sampling { grammar: Some(text), ..Sampling::default() });
        assert!(grammar("x".repeat(MAX_GRAMMAR + 1)).contains("bytes, expected at most"));
        assert!(grammar(format!("root ::= {}\"a\"{}", "(".repeat(65), ")".repeat(65))).contains("brackets within each other"));
        assert!(grammar("root ::= \"a\"{1,99999}".into()).contains("repeats `1,99999` times"));
        assert!(grammar("root ::= \"a\"{99999999999999}".into()).contains("repeats"));
        assert!(grammar("root ::= \"\\\"\" [\"] (\"a\"){999} # \"".into()).contains("repeats `999` times"));
        assert!(grammar("root ::= \"a\"{#}\n1,99999}".into()).contains("repeats"));
        assert!(grammar("root ::= <[1]>".into()).contains("names a token"));
        assert!(grammar("root ::= \"\0\"".into()).contains("zero byte"));
        let fine = Sampling {
            grammar: Some("root ::= (\"yes\" | \"no\"){1,256} \"{ name: 1000}((((\" [^<{(\"\\\\] # {1000}".into()),
            ..Sampling::default()
        };
        assert!(chain(&fine).is_ok());
    }
}
