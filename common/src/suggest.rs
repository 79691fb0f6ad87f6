//! "Did you mean": the nearest known name to one that is not known.

/// The candidate nearest to `name` (ignoring case), if it is near enough to be a likely slip.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_slip_and_refuses_a_stranger() {
        assert_eq!(nearest("conector", ["connector", "format"]), Some("connector"));
        assert_eq!(nearest("PAth", ["path", "format"]), Some("path"));
        assert_eq!(nearest("zebra", ["connector", "format"]), None);
    }
}
