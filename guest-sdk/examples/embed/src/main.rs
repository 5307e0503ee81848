//! `embed`: how alike the lines of standard input are to the first one, from -1 to 1.
//!
//! Runs in: the guest. Needs the graph `bert` (all-MiniLM-L6-v2) and the directory `/tokenizer` with its `tokenizer.json`, read only.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io;

use edgeguard_guest::Context;
use edgeguard_guest::Graph;
use edgeguard_guest::Port;
use edgeguard_guest::Tensor;
use serde_json::Value;

type Vocabulary = HashMap<String, i64>;

fn main() -> Result<(), Box<dyn Error>> {
    let vocabulary = vocabulary(&fs::read_to_string("/tokenizer/tokenizer.json")?)?;
    let mut context = Graph::open("bert")?.context()?;
    let mut first = None;
    for line in io::stdin().lines() {
        let line = line?;
        let vector = embed(&mut context, &tokens(&line, &vocabulary))?;
        let first = first.get_or_insert_with(|| vector.clone());
        let alike: f32 = first.iter().zip(&vector).map(|(one, other)| one * other).sum();
        println!("{alike:.3} {line}");
    }
    Ok(())
}

/// The sentence's vector: the mean over its tokens, of length 1.
fn embed(context: &mut Context, tokens: &[i64]) -> Result<Vec<f32>, edgeguard_guest::Error> {
    let shape = [1, tokens.len() as u32];
    context.set_input(IDS, &Tensor::new(&shape, tokens)?)?;
    context.set_input(MASK, &Tensor::new(&shape, &vec![1_i64; tokens.len()])?)?;
    context.set_input(TYPES, &Tensor::new(&shape, &vec![0_i64; tokens.len()])?)?;
    context.compute()?;
    let states = context.output::<f32>(STATES)?;
    let mut mean = vec![0.0; WIDTH];
    for state in states.chunks_exact(WIDTH) {
        mean.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
    }
    let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
    Ok(mean.into_iter().map(|value| value / length).collect())
}

/// WordPiece: of each word the longest beginning that has a number, then the longest of what is left.
fn tokens(text: &str, vocabulary: &Vocabulary) -> Vec<i64> {
    let number = |word: &str| vocabulary.get(word).copied();
    let mut tokens: Vec<i64> = number("[CLS]").into_iter().collect();
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let (mut rest, mut mark) = (word, "");
        while !rest.is_empty() && tokens.len() < MAX_TOKENS {
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let longest = ends
                .filter_map(|end| rest.split_at_checked(end))
                .find_map(|(piece, left)| Some((number(&format!("{mark}{piece}"))?, left)));
            let (token, left) = longest.unwrap_or((number("[UNK]").unwrap_or_default(), ""));
            tokens.push(token);
            (rest, mark) = (left, "##");
        }
    }
    tokens.extend(number("[SEP]"));
    tokens
}

fn vocabulary(json: &str) -> Result<Vocabulary, Box<dyn Error>> {
    let tokenizer: Value = serde_json::from_str(json)?;
    let words = tokenizer.pointer("/model/vocab").and_then(Value::as_object).ok_or("`tokenizer.json` has no `model.vocab`")?;
    Ok(words.iter().filter_map(|(word, number)| Some((word.clone(), number.as_i64()?))).collect())
}

const IDS: Port = Port::new(0, "input_ids");
const MASK: Port = Port::new(1, "attention_mask");
const TYPES: Port = Port::new(2, "token_type_ids");
const STATES: Port = Port::new(0, "last_hidden_state");
/// Numbers for each token.
const WIDTH: usize = 384;
/// The model was trained on sentences of up to 256.
const MAX_TOKENS: usize = 255;
