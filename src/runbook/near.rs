//! What was probably meant: names close to one that is not known.

/// Returns the name most like `given`, where one is near enough to be a slip.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for name in known {
        let likeness = strsim::jaro_winkler(&given, &name.to_lowercase())
            .max(strsim::normalized_damerau_levenshtein(&given, &name.to_lowercase()));
        if best.is_none_or(|(score, _)| likeness > score) {
            best = Some((likeness, name));
        }
    }
    best.filter(|(score, _)| *score >= 0.8).map(|(_, name)| name)
}

/// Returns the sentence that offers it.
pub(crate) fn hint<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|name| format!("did you mean `{name}`?"))
}
