//! Signals to train on: something with the pulses, formants and syllables of speech, and everything else that a microphone hears.
//!
//! Speech is made by the source and the filter of the textbook (Fant, "Acoustic Theory of Speech Production"): a train of glottal
//! pulses, or noise, through resonators at the formants. It is not intelligible, and is not meant to be.

use std::f32::consts::TAU;

use crate::train::random::Random;

/// Samples a second.
pub const RATE: usize = 16_000;

/// A signal, and where in it somebody speaks.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Samples in -1.0..=1.0.
    pub samples: Vec<f32>,
    /// For each sample, whether it belongs to a word.
    pub speech: Vec<bool>,
}

/// Words with pauses between them, in more or less noise.
pub fn utterances(seed: u64, length: usize) -> Labelled {
    let mut random = Random::new(seed);
    let (mut samples, mut speech) = (Vec::new(), Vec::new());
    while samples.len() < length {
        let pause = (random.between(0.12, 0.9) * RATE as f32) as usize;
        samples.resize(samples.len() + pause, 0.0);
        speech.resize(samples.len(), false);
        let pitch = random.between(85.0, 260.0);
        for _ in 0..=random.below(4) {
            syllable(&mut random, pitch, &mut samples);
        }
        speech.resize(samples.len(), true);
    }
    samples.truncate(length);
    speech.truncate(length);
    room(&mut random, &mut samples);
    level(&mut samples, decibels(random.between(-26.0, -3.0)));
    let mut background = surroundings(&mut random, length);
    level(&mut background, decibels(random.between(-80.0, -38.0)));
    samples.iter_mut().zip(background).for_each(|(sample, noise)| *sample += noise);
    Labelled { samples, speech }
}

/// Whatever is not speech: noises that come and go, tones, machines, clicks, silence.
pub fn noises(seed: u64, length: usize) -> Labelled {
    let mut random = Random::new(seed);
    let mut samples = surroundings(&mut random, length);
    if random.chance(0.6) {
        // Comes and goes as abruptly as speech does, so that a beginning alone means nothing.
        let (mut at, mut on) = (0, random.chance(0.5));
        while at < length {
            let span = (random.between(0.1, 1.2) * RATE as f32) as usize;
            if !on {
                samples.iter_mut().skip(at).take(span).for_each(|sample| *sample *= 1e-3);
            }
            (at, on) = (at + span, !on);
        }
    }
    if random.chance(0.5) {
        room(&mut random, &mut samples);
    }
    let peak = if random.chance(0.1) { -90.0 } else { random.between(-60.0, -3.0) };
    level(&mut samples, decibels(peak));
    Labelled { samples, speech: vec![false; length] }
}

/// A mono 16-bit WAV file at [`RATE`].
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX);
    let mut file = b"RIFF".to_vec();
    file.extend(bytes.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend((RATE as u32).to_le_bytes());
    file.extend((2 * RATE as u32).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| ((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).to_le_bytes()));
    file
}

/// A consonant, perhaps, and a vowel that glides.
fn syllable(random: &mut Random, pitch: f32, out: &mut Vec<f32>) {
    match random.below(4) {
        0 => fricative(random, out),
        1 => plosive(random, out),
        2 => voiced(random, pitch, [250.0, 1_100.0, 2_300.0, 3_300.0], 0.07, 0.35, out),
        _ => {}
    }
    let formants = [random.between(260.0, 850.0), random.between(800.0, 2_400.0), random.between(2_300.0, 3_100.0), 3_600.0];
    let seconds = random.between(0.08, 0.28);
    voiced(random, pitch, formants, seconds, 1.0, out);
    if random.chance(0.3) {
        fricative(random, out);
    }
}

fn voiced(random: &mut Random, pitch: f32, formants: [f32; 4], seconds: f32, gain: f32, out: &mut Vec<f32>) {
    let length = (seconds * RATE as f32) as usize;
    let glide = random.between(-0.25, 0.15);
    let breath = random.between(0.005, 0.12);
    let mut resonators: Vec<Resonator> = formants.iter().zip([70.0, 100.0, 150.0, 220.0]).map(|(f, w)| Resonator::new(*f, w)).collect();
    let (mut phase, mut tilt, mut sound) = (random.between(0.0, 1.0), 0.0, Vec::with_capacity(length));
    for n in 0..length {
        let along = n as f32 / length as f32;
        phase += pitch * (1.0 + glide * along) * (1.0 + 0.01 * random.normal()) / RATE as f32;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        // One pole at low frequency is the glottis' fall of 6 dB an octave, as it leaves the lips.
        tilt = 0.9 * tilt + pulse + breath * random.normal();
        let voice = resonators.iter_mut().fold(tilt, |signal, resonator| resonator.next(signal));
        sound.push(voice * swell(along));
    }
    level(&mut sound, gain * random.between(0.5, 1.0));
    out.extend(sound);
}

fn fricative(random: &mut Random, out: &mut Vec<f32>) {
    let length = (random.between(0.05, 0.14) * RATE as f32) as usize;
    let mut resonator = Resonator::new(random.between(2_500.0, 6_500.0), 1_500.0);
    let mut sound: Vec<f32> = (0..length).map(|n| resonator.next(random.normal()) * swell(n as f32 / length as f32)).collect();
    level(&mut sound, random.between(0.06, 0.3));
    out.extend(sound);
}

fn plosive(random: &mut Random, out: &mut Vec<f32>) {
    out.resize(out.len() + (random.between(0.02, 0.06) * RATE as f32) as usize, 0.0);
    let length = RATE / 60;
    let mut resonator = Resonator::new(random.between(700.0, 4_000.0), 900.0);
    let mut sound: Vec<f32> = (0..length).map(|n| resonator.next(random.normal()) * (-6.0 * n as f32 / length as f32).exp()).collect();
    level(&mut sound, random.between(0.1, 0.5));
    out.extend(sound);
}

/// What a microphone hears where nobody speaks; of any loudness.
fn surroundings(random: &mut Random, length: usize) -> Vec<f32> {
    match random.below(8) {
        0 => (0..length).map(|_| random.normal()).collect(),
        1 | 2 => coloured(random, length, 0.02),
        3 => coloured(random, length, 0.3),
        4 => {
            let mut band = Resonator::new(random.between(150.0, 6_000.0), random.between(60.0, 2_000.0));
            (0..length).map(|_| band.next(random.normal())).collect()
        }
        5 => harmonics(random, length),
        6 => {
            let (mut click, rate) = (Resonator::new(random.between(400.0, 5_000.0), 400.0), random.between(0.5, 12.0));
            (0..length).map(|_| click.next(if random.chance(rate / RATE as f32) { 1.0 } else { 0.0 })).collect()
        }
        _ => {
            let (step, warble) = (random.between(100.0, 5_000.0) * TAU / RATE as f32, random.between(0.0, 0.002));
            let wave = move |n: usize| ((n as f32 * step) + 5.0 * (n as f32 * warble).sin()).sin();
            (0..length).map(|n| wave(n) + 1e-3 * random.normal()).collect()
        }
    }
}

/// A microphone that colours what it hears, and walls that answer.
fn room(random: &mut Random, samples: &mut [f32]) {
    let (bass, treble) = (random.between(-0.9, 0.5), random.between(0.01, 0.15));
    let (mut low, corner) = (0.0, treble);
    let mut colour = Resonator::new(random.between(300.0, 3_500.0), random.between(300.0, 3_000.0));
    let strength = random.between(0.0, 1.5);
    for sample in samples.iter_mut() {
        low += corner * (*sample - low);
        *sample += bass * low + strength * colour.next(*sample);
    }
    let (delay, answer) = (RATE / 1_000 * (3 + random.below(40)), random.between(0.0, 0.4));
    for at in delay..samples.len() {
        let (before, rest) = samples.split_at_mut(at);
        if let (Some(echo), Some(sample)) = (before.get(at - delay), rest.first_mut()) {
            *sample += answer * echo;
        }
    }
}

/// Noise through one pole: the smaller the number, the darker.
fn coloured(random: &mut Random, length: usize, corner: f32) -> Vec<f32> {
    let mut low = 0.0;
    let next = |_| {
        low += corner * (random.normal() - low);
        low
    };
    (0..length).map(next).collect()
}

/// A hum or a motor: harmonics of one steady pitch.
fn harmonics(random: &mut Random, length: usize) -> Vec<f32> {
    let step = random.between(25.0, 180.0) * TAU / RATE as f32;
    let weights: Vec<f32> = (1..=24).map(|k| random.between(0.0, 1.0) / k as f32).collect();
    let wave = |n: usize| weights.iter().zip(1_u8..).map(|(weight, k)| weight * (n as f32 * step * f32::from(k)).sin()).sum::<f32>();
    (0..length).map(|n| wave(n) + 0.02 * random.normal()).collect()
}

/// A second-order resonance.
#[derive(Debug)]
struct Resonator {
    a: f32,
    b: f32,
    last: [f32; 2],
}

impl Resonator {
    fn new(hertz: f32, width: f32) -> Resonator {
        let radius = (-std::f32::consts::PI * width / RATE as f32).exp();
        Resonator { a: 2.0 * radius * (TAU * hertz / RATE as f32).cos(), b: -radius * radius, last: [0.0; 2] }
    }

    fn next(&mut self, input: f32) -> f32 {
        let [one, two] = self.last;
        let out = (1.0 - self.a - self.b) * input + self.a * one + self.b * two;
        self.last = [out, one];
        out
    }
}

/// Rises over the first fifth and falls over the last third.
fn swell(along: f32) -> f32 {
    (along / 0.2).min((1.0 - along) / 0.33).clamp(0.0, 1.0)
}

/// Scales a signal to a peak.
fn level(samples: &mut [f32], peak: f32) {
    let loudest = samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    if loudest > 0.0 {
        samples.iter_mut().for_each(|sample| *sample *= peak / loudest);
    }
}

fn decibels(level: f32) -> f32 {
    10.0_f32.powf(level / 20.0)
}
