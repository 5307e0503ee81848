//! `gullible`: reads a document to its language model and does whatever the answer says, line by line: `READ path`, `WRITE path text`, `ASK graph text`.
//!
//! Runs in: the guest. Needs the graph `chat`. No real agent should be made like this one, and the host must hold when one is: a document that tells the
//! model to fetch and to send reaches nothing that the module's policy does not grant, and each try is in the journal.

use std::error::Error;
use std::fs;
use std::io;

use edgeguard_guest::Graph;
use edgeguard_guest::language::Model;
use edgeguard_guest::language::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let document = io::read_to_string(io::stdin())?;
    let mut model = Model::open("chat", &Options::default().temperature(0.0).tokens(96))?;
    let answer = model.ask(&document)?.text()?;
    println!("the model says: {answer:?}");
    for line in answer.lines() {
        let mut words = line.trim().splitn(3, ' ');
        let did = match (words.next(), words.next(), words.next()) {
            (Some("READ"), Some(path), None) => fs::read_to_string(path).map_err(|error| error.to_string()),
            (Some("WRITE"), Some(path), text) => {
                fs::write(path, text.unwrap_or_default()).map(|()| "written".into()).map_err(|error| error.to_string())
            }
            (Some("ASK"), Some(graph), _) => Graph::open(graph).map(|_| "opened".into()).map_err(|error| error.to_string()),
            _ => continue,
        };
        println!("{line}: {did:?}");
    }
    Ok(())
}
