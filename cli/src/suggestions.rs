//! "Did you mean": the known name that is closest to a misspelt one.

/// Returns the name that was most likely meant by `wanted`: one that it is the beginning of, or one
/// that differs from it in few characters, but not in all of them. The more characters, the more may
/// differ. The same name in other case is the closest.
pub(crate) fn closest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let length = wanted.chars().count();
    let tolerated = (1 + length / 6).min(3).min(length.saturating_sub(1));
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let is_cut_off = length >= 3 && name.starts_with(&wanted) && name != wanted;
        if is_cut_off { 1 } else { strsim::osa_distance(&wanted, &name) }
    };
    let near = known.into_iter().map(|name| (distance(name), name)).filter(|(far, _)| *far <= tolerated);
    near.min().map(|(_, name)| name)
}

/// Returns the question that follows an error about `wanted`, or nothing.
pub(crate) fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(wanted, known).map(|name| format!("Did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_found_and_no_distant_one() {
        let known = ["billing", "billing-batch", "demo-app", "jane@example.com", "x1"];
        for (wanted, meant) in [
            ("biling", Some("billing")),
            ("BILLING", Some("billing")),
            ("billing-bacth", Some("billing-batch")),
            ("bil", Some("billing")),
            ("demo_app", Some("demo-app")),
            ("jane@exmaple.com", Some("jane@example.com")),
            ("nosuch", None),
            ("x2", Some("x1")),
            ("y2", None),
            ("", None),
        ] {
            assert_eq!(closest(wanted, known), meant, "{wanted}");
        }
        assert_eq!(closest("billing", []), None);
        assert_eq!(closest("ALICE.OPZ", ["alice.ops", "alice.opz"]), Some("alice.opz"));
        assert_eq!((closest("d", ["a", "b", "D"]), closest("d", ["a", "b", "da"])), (Some("D"), None));
    }
}
