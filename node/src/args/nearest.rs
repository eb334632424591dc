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

/// Letters to add, remove or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (position, letter) in left.chars().enumerate() {
        let mut diagonal = position;
        let mut before = position + 1;
        let mut next = vec![before];
        for (other, above) in right.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(*other != letter);
            before = replaced.min(above + 1).min(before + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
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
