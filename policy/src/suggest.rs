//! “Did you mean”: the nearest of the known words.
//!
//! Runs in: daemon and command line.

/// The known word nearest to what was written, if it is near enough to have been meant.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > 64 {
        return None;
    }
    let near = |word: &'a str| {
        let cost = distance(&written.to_lowercase().replace('_', "-"), word);
        (cost <= (word.len().max(written.len()) / 3).max(1)).then_some((cost, word))
    };
    known.into_iter().filter_map(near).min().map(|(_, word)| word)
}

/// Damerau–Levenshtein distance, restricted form (a swap of neighbours costs one).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a.get(i - 1) != b.get(j - 1));
            let at = |r: &[usize], k: usize| r.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + 1).min(at(&row, j - 1) + 1).min(at(&last, j - 1) + cost);
            if i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1) {
                best = best.min(at(&before, j - 2) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = ["memory", "deadline", "open-files", "instances"];
        assert_eq!(nearest("memroy", known), Some("memory"));
        assert_eq!(nearest("open_files", known), Some("open-files"));
        assert_eq!(nearest("Deadline", known), Some("deadline"));
        assert_eq!(nearest("instance", known), Some("instances"));
    }

    #[test]
    fn an_unrelated_word_gets_no_suggestion() {
        assert_eq!(nearest("network", ["memory", "deadline"]), None);
        assert_eq!(nearest(&"m".repeat(10_000), ["memory"]), None);
    }
}
