//! The known word that an unknown one was probably meant to be.

/// How many letters may be wrong: more, and the suggestion is a guess.
fn mistakes_max(word: &str) -> usize {
    (word.chars().count() / 3).clamp(1, 5)
}

/// The known word with the fewest letters to change, if it is few enough.
pub fn nearest<'known>(
    word: &str,
    known: impl Iterator<Item = &'known str>,
) -> Option<&'known str> {
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(mistakes, _)| *mistakes <= mistakes_max(word))
        .map(|(_, candidate)| candidate)
}

/// Letters to add, remove, replace, or swap with the next one.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    // What it takes to turn the letters so far into each beginning of `right`.
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut row_before = Vec::new();
    let mut letter_before = None;
    for (position, letter) in left.chars().enumerate() {
        let mut next = vec![position + 1];
        for (at, other) in right.iter().enumerate() {
            let replaced = row[at] + usize::from(*other != letter);
            let mut best = replaced.min(row[at + 1] + 1).min(next[at] + 1);
            if at > 0 && letter_before == Some(*other) && right[at - 1] == letter {
                best = best.min(row_before[at - 1] + 1);
            }
            next.push(best);
        }
        row_before = std::mem::replace(&mut row, next);
        letter_before = Some(letter);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
        assert_eq!(distance("lgo", "log"), 1);
        assert_eq!(distance("dtaa-dir", "data-dir"), 1);
        assert_eq!(distance("ab", "ba"), 1);
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["data-dir", "wal-dir", "name"];
        assert_eq!(nearest("datadir", known.into_iter()), Some("data-dir"));
        assert_eq!(nearest("dta-dir", known.into_iter()), Some("data-dir"));
        assert_eq!(nearest("nam", known.into_iter()), Some("name"));
        assert_eq!(nearest("snapshot-count", known.into_iter()), None);
    }
}
