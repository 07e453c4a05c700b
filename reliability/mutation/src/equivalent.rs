//! Comments that argue a mutant to be equivalent.
//!
//! `// Equivalent mutant: CHANGE: reason` stands above the line on which the mutant starts; several
//! changes are separated by `; `, and ` (2)` after a change means the second such one of that line.

use std::collections::BTreeSet;

use crate::mutants::Mutant;

const MARK: &str = "// Equivalent mutant: ";

/// The numbers of the mutants that comments of a file argue to be equivalent; mutants of other files
/// are passed over.
pub fn find(file: &str, source: &str, mutants: &[Mutant]) -> Result<BTreeSet<u32>, String> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = BTreeSet::new();
    for (place, line) in lines.iter().enumerate() {
        let Some(claim) = line.trim().strip_prefix(MARK) else {
            continue;
        };
        let wrong = |what: &str| format!("{file}:{}: {what}: {}", place + 1, line.trim());
        let (changes, _) = claim
            .split_once(": ")
            .ok_or_else(|| wrong("no reason is given"))?;
        let code = (place + 1..lines.len())
            .find(|next| {
                let text = lines[*next].trim();
                !text.is_empty() && !text.starts_with("//") && !text.starts_with("#[")
            })
            .ok_or_else(|| wrong("no code follows"))?;
        for change in changes.split("; ") {
            let (change, nth) = match change.rsplit_once(" (") {
                Some((stem, number)) => match number.trim_end_matches(')').parse::<usize>() {
                    Ok(nth) => (stem, Some(nth)),
                    Err(_) => (change, None),
                },
                None => (change, None),
            };
            let mut there: Vec<(u32, usize)> = (0u32..)
                .zip(mutants)
                .filter(|(_, m)| m.file == file && m.line == code + 1 && m.change == change)
                .map(|(id, m)| (id, m.span.start))
                .collect();
            there.sort_by_key(|(_, start)| *start);
            let id = match (nth, &there[..]) {
                (None, [(one, _)]) => *one,
                (Some(nth), all) if nth >= 1 && nth <= all.len() => all[nth - 1].0,
                (_, []) => return Err(wrong("no such mutant on the next line of code")),
                _ => return Err(wrong("several such mutants on the next line of code")),
            };
            found.insert(id);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::mutants;

    const SOURCE: &str = "fn f(a: f64, b: f64) -> f64 {\n    // Equivalent mutant: CLAIM: why.\n    \
                          let c = a - b - a;\n    c + b\n}\n";

    fn claimed(claim: &str) -> Result<Vec<String>, String> {
        let source = SOURCE.replace("CLAIM", claim);
        let all = mutants::find("a.rs", &source, &mutants::Convertible::default())?.mutants;
        let ids = find("a.rs", &source, &all)?;
        Ok(ids
            .iter()
            .map(|id| format!("{}:{}", all[*id as usize].column, all[*id as usize].change))
            .collect())
    }

    #[test]
    fn a_claim_names_one_mutant_of_the_next_line() {
        assert_eq!(
            claimed("replace - with + (1)"),
            Ok(vec!["15:replace - with +".into()])
        );
        assert_eq!(
            claimed("replace - with / (2)"),
            Ok(vec!["19:replace - with /".into()])
        );
        assert_eq!(
            claimed("replace - with + (2); replace - with / (1)").map(|c| c.len()),
            Ok(2)
        );
        assert_eq!(
            claimed("replace body with 0.0"),
            Ok(vec!["5:replace body with 0.0".into()])
        );
        assert!(claimed("replace - with +").is_err());
        assert!(claimed("replace - with + (3)").is_err());
        assert!(claimed("replace + with -").is_err());
    }
}
