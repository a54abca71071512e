//! The name that somebody may have meant.

/// The name that differs in the fewest letters, if it is near at all.
pub(crate) fn nearest<'n>(
    wrong: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let wrong = wrong.to_ascii_lowercase().replace('_', "-");
    let contains = |name: &str| wrong.len() >= 3 && name.contains(&*wrong);
    let distances = names.into_iter().map(|name| {
        let far = distance(&wrong, name);
        (if contains(name) { far.min(1) } else { far }, name)
    });
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + wrong.len() / 3).then_some(name)
}

/// Returns how many letters must be added, dropped or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let of = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let replaced = of(&row, j) + usize::from(a != *b);
            next.push(replaced.min(of(&row, j + 1) + 1).min(of(&next, j) + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
