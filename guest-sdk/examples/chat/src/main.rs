//! `chat`: answers each line of standard input, piece by piece, as the model writes it.
//!
//! Runs in: the guest. Needs the graph `chat`: any language model that goes on with a text. One that was trained on turns of its own wants them in [`prompt`].

use std::error::Error;
use std::io;
use std::io::Write;

use edgeguard_guest::language::Model;
use edgeguard_guest::language::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let mut model = Model::open("chat", &Options::default().temperature(0.0).tokens(64))?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lines() {
        let mut answer = model.ask(&prompt(&line?))?;
        // The model would go on to invent the next question.
        while let Some(piece) = answer.next_piece()?.filter(|piece| !piece.contains(&b'\n')) {
            // Whoever reads sees each piece when it is there.
            out.write_all(&piece)?;
            out.flush()?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// What comes before an answer: the form is shown by two.
fn prompt(question: &str) -> String {
    format!(
        "Question: What is the capital of Italy?\nAnswer: Rome\nQuestion: What colour is snow?\nAnswer: white\nQuestion: {question}\nAnswer:"
    )
}
