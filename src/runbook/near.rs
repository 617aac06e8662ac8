//! What was probably meant: names close to one that is not known.

/// Returns the name most like `given`, where one is near enough to be a slip.
///
/// One slip in five letters, or a name cut short: a guess further off sends people the wrong way.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    // Of one letter, any other is one slip away.
    let slips_max = if given.chars().count() < 2 { 0 } else { (given.chars().count() / 5).max(1) };
    known
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let slips = strsim::damerau_levenshtein(&given, &lower);
            let cut_short = given.chars().count() >= 3 && lower.starts_with(&given);
            (slips <= slips_max || cut_short).then_some((slips, name))
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// Returns the sentence that offers it.
pub(crate) fn hint<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|name| format!("did you mean `{name}`?"))
}
