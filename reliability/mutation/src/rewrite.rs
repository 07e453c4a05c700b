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
