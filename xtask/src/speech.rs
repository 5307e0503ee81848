//! `cargo xtask speech`: recordings of speech, into `target/speech`.
//!
//! Debian's `alsa-utils` carries a person who says where the loudspeakers are, and a noise. Where neither the package nor a copy of it
//! can be had, a speech synthesiser says the same; where there is none either, the training signal of the small model stands in.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place;
use crate::shell;
use crate::train::synth;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Use the synthetic signal without looking for recordings
    #[arg(long)]
    pub offline: bool,
}

/// Puts recordings into a folder, or says why it cannot.
type Source = fn(&Path) -> Result<()>;

/// Recordings, and where they are from.
#[derive(Debug)]
pub struct Recordings {
    /// A folder of WAV files.
    pub folder: PathBuf,
    /// Who speaks, in words.
    pub source: String,
}

/// Finds or makes recordings, once.
pub fn run(arguments: &Arguments) -> Result<Recordings> {
    let folder = place::root().join("target/speech");
    let label = folder.join(LABEL);
    if let Ok(source) = fs::read_to_string(&label)
        && (arguments.offline || source != SYNTHETIC)
    {
        return told(Recordings { folder, source });
    }
    let scratch = place::scratch("speech")?;
    let source = shell::step("gathering recordings of speech", || if arguments.offline { synthesise(&scratch) } else { gather(&scratch) })?;
    place::put(&scratch.join(LABEL), source.as_bytes())?;
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Failure::at("empty the folder", &folder)(error)),
        _ => {}
    }
    fs::rename(&scratch, &folder).map_err(Failure::at("put in its place", &folder))?;
    told(Recordings { folder, source })
}

fn told(recordings: Recordings) -> Result<Recordings> {
    println!("{} recordings in {}: {}", wavs(&recordings.folder)?.len(), place::shown(&recordings.folder), recordings.source);
    Ok(recordings)
}

/// Tries the sources, best first.
fn gather(into: &Path) -> Result<String> {
    let sources: [(&str, Source); 3] = [
        ("a person, from the installed package `alsa-utils`", installed),
        ("a person, from Debian's package `alsa-utils`", downloaded),
        ("the speech synthesiser `espeak-ng`", spoken),
    ];
    for (name, source) in sources {
        match source(into) {
            Ok(()) => return Ok(name.to_owned()),
            Err(failure) => shell::note(format!("not {name}: {failure}")),
        }
    }
    synthesise(into)
}

fn installed(into: &Path) -> Result<()> {
    copy(Path::new(ALSA), into)
}

/// Fetches the package without installing it, which any user may.
fn downloaded(into: &Path) -> Result<()> {
    let scratch = place::scratch("alsa-utils")?;
    let fetch = || shell::output(Command::new("apt-get").args(["download", "--quiet", "alsa-utils"]).current_dir(&scratch));
    if let Err(failure) = fetch() {
        // A fresh container has no lists of packages yet; only root can fetch them.
        if !shell::is_root() {
            return Err(failure);
        }
        shell::output(Command::new("apt-get").args(["update", "--quiet"]))?;
        fetch()?;
    }
    let package = entries(&scratch)?.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.ok_or_else(|| Failure::new("`apt-get download alsa-utils` left no package behind"))?;
    let unpacked = scratch.join("unpacked");
    shell::output(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
    copy(&unpacked.join(ALSA.trim_start_matches('/')), into)?;
    // A scratch folder that stays does no harm.
    let _ = fs::remove_dir_all(scratch);
    Ok(())
}

fn spoken(into: &Path) -> Result<()> {
    for words in ["front center", "front left", "rear right", "side left"] {
        let file = into.join(words.replace(' ', "_")).with_extension("wav");
        shell::output(Command::new("espeak-ng").arg("-w").arg(file).arg(words))?;
    }
    Ok(())
}

fn synthesise(into: &Path) -> Result<String> {
    for seed in 1..=3 {
        let samples = synth::utterances(seed, synth::RATE * 3).samples;
        place::put(&into.join(format!("synthetic_{seed}.wav")), &synth::wav(&samples))?;
    }
    shell::note("no recording of speech could be had: a synthetic signal with the pulses and formants of speech stands in");
    Ok(SYNTHETIC.to_owned())
}

fn copy(from: &Path, into: &Path) -> Result<()> {
    let wavs = wavs(from)?;
    if wavs.is_empty() {
        return Err(Failure::new(format!("`{}` holds no WAV files", from.display())));
    }
    for path in wavs {
        let name = path.file_name().unwrap_or_default();
        fs::copy(&path, into.join(name)).map_err(Failure::at("copy", &path))?;
    }
    Ok(())
}

pub fn wavs(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "wav")).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Failure::at("list", folder))?;
    entries.map(|entry| Ok(entry.map_err(Failure::at("list", folder))?.path())).collect()
}

/// Where Debian's `alsa-utils` puts its recordings.
const ALSA: &str = "/usr/share/sounds/alsa";
/// The file that says where the recordings of a folder are from.
const LABEL: &str = "SOURCE";
const SYNTHETIC: &str = "a synthetic signal";
