//! `file-type`: what kind of file standard input is, by its content.
//!
//! Runs in: the guest. Needs the graph `magika` (standard_v3_3). It looks at the first and the last 1024 bytes, without the white space around.

use std::error::Error;
use std::io;
use std::io::Read;

use edgeguard_guest::Graph;
use edgeguard_guest::Port;
use edgeguard_guest::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content)?;
    let mut context = Graph::open("magika")?.context()?;
    context.set_input(BYTES, &Tensor::new(&[1, 2 * ENDS as u32], &features(&content))?)?;
    context.compute()?;
    let scores = context.output::<f32>(SCORES)?;
    let best = scores.iter().zip(LABELS.lines()).max_by(|(one, _), (other, _)| one.total_cmp(other));
    let (score, label) = best.ok_or("the model gave no scores")?;
    println!("{label} {:.0} %", score * 100.0);
    Ok(())
}

/// The first and the last bytes as numbers; where there are none stands a number that no byte has.
fn features(content: &[u8]) -> [i32; 2 * ENDS] {
    let mut features = [NOTHING; 2 * ENDS];
    let (first, last) = features.split_at_mut(ENDS);
    let near_start = &content[..content.len().min(BLOCK)];
    first.iter_mut().zip(near_start.trim_ascii_start()).for_each(|(to, &byte)| *to = byte.into());
    let near_end = &content[content.len().saturating_sub(BLOCK)..];
    last.iter_mut().rev().zip(near_end.trim_ascii_end().iter().rev()).for_each(|(to, &byte)| *to = byte.into());
    features
}

const BYTES: Port = Port::new(0, "bytes");
const SCORES: Port = Port::new(0, "target_label");
const ENDS: usize = 1024;
const BLOCK: usize = 4096;
const NOTHING: i32 = 256;
/// What the scores are of, in their order: the model's own list.
const LABELS: &str = include_str!("labels.txt");
