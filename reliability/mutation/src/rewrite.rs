//! The text of a file with all its switches.

use std::ops::Range;

use crate::mutants::{Form, Found, Genre, Site};

/// Where a mutant, or all those of a place, came to stand in the new text.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Bytes of the new text.
    pub range: Range<usize>,
    /// The numbers of the mutants.
    pub ids: Vec<u32>,
    /// The body of a function that returns `impl Iterator`.
    pub opaque: bool,
}

/// A rewritten file.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The new text.
    pub text: String,
    /// Single mutants.
    pub mutants: Vec<Placed>,
    /// Whole places, their unchanged code included.
    pub sites: Vec<Placed>,
}

/// The file with a switch for each mutant for which `live` holds; `ids` are their numbers.
pub fn rewrite(
    source: &str,
    found: &Found,
    ids: &[u32],
    live: &dyn Fn(usize) -> bool,
) -> Rewritten {
    let mut sites: Vec<&Site> = found.sites.iter().collect();
    // Outer places first. An insertion comes before a place that starts where it stands.
    sites.sort_by_key(|site| (site.range.start, std::cmp::Reverse(site.range.end)));
    let mut writer = Writer {
        source,
        found,
        ids,
        live,
        sites,
        out: Rewritten::default(),
    };
    let count = writer.sites.len();
    writer.range(0..source.len(), 0..count);
    writer.out
}

struct Writer<'a> {
    source: &'a str,
    found: &'a Found,
    ids: &'a [u32],
    live: &'a dyn Fn(usize) -> bool,
    sites: Vec<&'a Site>,
    out: Rewritten,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.out.text.push_str(text);
    }

    fn at(&self) -> usize {
        self.out.text.len()
    }

    fn placed(&mut self, start: usize, mutant: usize) {
        let range = start..self.at();
        self.out.mutants.push(Placed {
            range,
            ids: vec![self.ids[mutant]],
            opaque: false,
        });
    }

    /// The text of a range of the source, with the switches of the places in it.
    fn range(&mut self, bytes: Range<usize>, sites: Range<usize>) {
        let mut at = bytes.start;
        let mut next = sites.start;
        while next < sites.end {
            let site = self.sites[next];
            let mut after = next + 1;
            while after < sites.end
                && self.sites[after].range.start < site.range.end
                && site.range.end > site.range.start
            {
                after += 1;
            }
            self.put(&self.source[at..site.range.start]);
            self.site(site, next + 1..after);
            at = site.range.end;
            next = after;
        }
        self.put(&self.source[at..bytes.end]);
    }

    /// The source of a range with one change, and with the texts of constants that became functions.
    fn changed(&self, range: &Range<usize>, mutant: usize, inside: &Range<usize>) -> String {
        let mutant = &self.found.mutants[mutant];
        let mut edits: Vec<(Range<usize>, &str)> = self.sites[inside.clone()]
            .iter()
            .filter_map(|site| match &site.form {
                Form::Text(text) => Some((site.range.clone(), text.as_str())),
                _ => None,
            })
            .filter(|(at, _)| at.end <= mutant.span.start || at.start >= mutant.span.end)
            .collect();
        edits.push((mutant.span.clone(), &mutant.replacement));
        edits.sort_by_key(|(at, _)| at.start);
        let mut text = String::new();
        let mut from = range.start;
        for (at, new) in edits {
            text.push_str(&self.source[from..at.start]);
            text.push_str(new);
            from = at.end;
        }
        text + &self.source[from..range.end]
    }

    fn site(&mut self, site: &Site, inside: Range<usize>) {
        if let Form::Text(text) = &site.form {
            self.put(text);
            return;
        }
        let live: Vec<usize> = site
            .mutants
            .iter()
            .copied()
            .filter(|m| (self.live)(*m))
            .collect();
        let (Some(first), Some(last)) = (live.first(), live.last()) else {
            self.range(site.range.clone(), inside);
            return;
        };
        // The numbers of one place follow each other, those that are out of use included.
        let base = self.ids[*first];
        let on = format!(
            "crate::mutation::on({base}, {})",
            self.ids[*last] - base + 1
        );
        let start = self.at();
        match &site.form {
            Form::Copies => {
                self.put(&format!("(match {on} {{ 0 => ("));
                self.range(site.range.clone(), inside.clone());
                for mutant in &live {
                    let label = if mutant == last {
                        "_".to_owned()
                    } else {
                        (self.ids[*mutant] - base + 1).to_string()
                    };
                    self.put(&format!("), {label} => ("));
                    let copy = self.changed(&site.range, *mutant, &inside);
                    let from = self.at();
                    self.put(&copy);
                    self.placed(from, *mutant);
                }
                self.put(") })");
            }
            Form::Head { opaque } => {
                for (place, mutant) in live.iter().enumerate() {
                    let one = format!("crate::mutation::on({}, 1)", self.ids[*mutant]);
                    self.put(&format!(" if {one} != 0 {{ return "));
                    let from = self.at();
                    let value = &self.found.mutants[*mutant].replacement;
                    if *opaque {
                        let open = "crate::mutation::Either::Original(".repeat(place);
                        let close = ")".repeat(place);
                        self.put(&format!(
                            "{open}crate::mutation::Either::Mutated({value}){close}"
                        ));
                    } else {
                        self.put(value);
                    }
                    self.placed(from, *mutant);
                    self.put("; }");
                }
                if *opaque {
                    self.put(&"crate::mutation::Either::Original(".repeat(live.len()));
                    self.put("{");
                }
                self.range(site.range.clone(), inside);
                if *opaque {
                    self.put("}");
                    self.put(&")".repeat(live.len()));
                }
            }
            Form::Text(_) => {}
            Form::Arm => {
                for mutant in &live {
                    debug_assert_eq!(self.found.mutants[*mutant].genre, Genre::MatchArm);
                    let from = self.at();
                    self.put(&format!(" if {on} == 0"));
                    self.placed(from, *mutant);
                }
            }
        }
        let ids = live.iter().map(|m| self.ids[*m]).collect();
        let range = start..self.at();
        let opaque = matches!(site.form, Form::Head { opaque: true });
        self.out.sites.push(Placed { range, ids, opaque });
    }
}

/// The module that the switches ask, for a tree of `count` mutants.
pub fn module(count: usize) -> String {
    format!(
        "const COUNT: usize = {};\n{}",
        count + 1,
        include_str!("switch.txt")
    )
}

#[cfg(test)]
mod tests {
    use super::rewrite;
    use crate::mutants::{self, Convertible};

    /// The file with all switches, numbered in the order of its list.
    fn switched(source: &str) -> Result<(String, Vec<String>), String> {
        let found = mutants::find("a.rs", source, &Convertible::default())?;
        let ids: Vec<u32> = (0u32..).zip(&found.mutants).map(|(id, _)| id).collect();
        let text = rewrite(source, &found, &ids, &|_| true).text;
        syn::parse_file(&text).map_err(|error| format!("{text}: {error}"))?;
        Ok((
            text,
            found
                .mutants
                .iter()
                .map(|mutant| mutant.change.clone())
                .collect(),
        ))
    }

    #[test]
    fn an_operator_has_copies_and_a_body_an_early_return() -> Result<(), String> {
        let (text, changes) = switched("fn f(a: f64) -> f64 { a + 1.0 }")?;
        let expected = [
            "replace body with 0.0",
            "replace body with 1.0",
            "replace body with -1.0",
            "replace + with -",
            "replace + with *",
        ];
        assert_eq!(changes, expected);
        assert_eq!(
            text,
            "fn f(a: f64) -> f64 { if crate::mutation::on(0, 1) != 0 { return 0.0; } if \
             crate::mutation::on(1, 1) != 0 { return 1.0; } if crate::mutation::on(2, 1) != 0 { \
             return -1.0; } (match crate::mutation::on(3, 2) { 0 => (a + 1.0), 1 => (a - 1.0), _ => \
             (a * 1.0) }) }"
        );
        Ok(())
    }

    #[test]
    fn what_has_statements_is_switched_inside() -> Result<(), String> {
        let source = "fn f(a: bool, g: fn(bool)) { g(!a && if a { !a } else { a }) }";
        let (text, changes) = switched(source)?;
        assert_eq!(
            changes,
            [
                "replace body with ()",
                "replace && with ||",
                "delete !",
                "delete !"
            ]
        );
        // The inner `!` once behind its switch, and once in each copy of the outer expression.
        assert_eq!(text.matches("on(3, 1)").count(), 1);
        assert_eq!(text.matches("{ !a }").count(), 2);
        Ok(())
    }

    #[test]
    fn arms_and_guards() -> Result<(), String> {
        let source = "fn f(a: u8, b: bool) { match a { 1 => g(), 2 if b => h(), _ => {} } }";
        let (text, changes) = switched(source)?;
        assert_eq!(
            changes,
            [
                "replace body with ()",
                "delete match arm 1",
                "replace match guard b with true",
                "replace match guard b with false"
            ]
        );
        assert!(
            text.contains("1 if crate::mutation::on(1, 1) == 0 => g()"),
            "{text}"
        );
        let guard =
            "2 if (match crate::mutation::on(2, 2) { 0 => (b), 1 => (true), _ => (false) })";
        assert!(text.contains(guard), "{text}");
        Ok(())
    }

    #[test]
    fn no_switch_stands_where_the_compiler_evaluates() -> Result<(), String> {
        let source = "fn f() -> [u8; 1 + 1] { let a: [u8; 2 * 1] = [0; 4 - 2]; a }\n\
                      const fn g(a: u8) -> u8 { a + 1 }\nstatic S: u8 = 2 / 1;";
        let found = mutants::find("a.rs", source, &Convertible::default())?;
        let switched: Vec<&str> = found
            .mutants
            .iter()
            .filter(|mutant| mutant.fixed.is_none())
            .map(|mutant| mutant.change.as_str())
            .collect();
        assert_eq!(
            switched,
            [
                "replace body with [0; 1 + 1]",
                "replace body with [1; 1 + 1]"
            ]
        );
        assert_eq!(found.mutants.len(), 2 + 2 * 3 + 2 + 2 + 2);
        Ok(())
    }

    #[test]
    fn a_chain_with_let_keeps_its_operators() -> Result<(), String> {
        let source = "fn f(a: Option<u8>) { if let Some(b) = a && b > 1 { g() } }";
        let (text, _) = switched(source)?;
        assert!(
            text.contains("= a && (match crate::mutation::on("),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn a_constant_becomes_a_function() -> Result<(), String> {
        let sources = [
            (
                "a.rs".to_owned(),
                "const A: f64 = 1.0 / 3.0;\nfn f(b: f64) -> f64 { b - A }".to_owned(),
            ),
            (
                "b.rs".to_owned(),
                "const B: usize = 1 << 2;\nfn g() -> [u8; B] { [0; B] }".to_owned(),
            ),
        ];
        let functions = mutants::convertible(&sources)?;
        let [a, b] =
            sources.map(|(file, source)| (mutants::find(&file, &source, &functions), source));
        let found = a.0?;
        let ids: Vec<u32> = (0u32..).zip(&found.mutants).map(|(id, _)| id).collect();
        let text = rewrite(&a.1, &found, &ids, &|_| true).text;
        assert!(
            text.contains("fn A() -> f64 { (match crate::mutation::on("),
            "{text}"
        );
        assert!(
            text.contains("(b + A())") && text.contains("(b - A())"),
            "{text}"
        );
        assert!(b.0?.mutants.iter().any(|mutant| mutant.fixed.is_some()));
        Ok(())
    }
}
