//! The page docs/samplers.md: `cargo run --example samplers` writes it.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt::Write as _;

use diffusion_sampler::{
    Grid,
    grid::spacings,
    plan::Plan,
    registry::{Entry, Library, entries, refused},
    schedule::TableSchedule,
    solver::Path,
};

const INTRODUCTION: &str = "\
# Samplers and spacings by name

`registry::sampler` takes any name below, alone or followed by the name of a spacing, and gives the solver with the
defaults of the library that has the name:

```rust
use diffusion_sampler::{registry, schedule::TableSchedule};

let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
let sampler = registry::sampler(\"DPM++ 2M Karras\")?.sampler(&schedule, 20)?;
# Ok::<(), diffusion_sampler::Error>(())
```

Case, spaces and punctuation do not count, and \"+\" is \"p\". The page is written by `cargo run --example samplers`; a test
compares it with the registry.

## Samplers

Evaluations are for K steps onto the clean end. A sampler under CFG++ needs a model guided by `guidance::PlusPlus`, whose
λ is the scale there; with any other model it is the sampler without CFG++, and no error. The types are those of the module `solver`.

| name | in Rust | order | evaluations | noise | source |
|---|---|---|---|---|---|
";

const REFUSED: &str = "
## Names that are no samplers here

| names | closest | why |
|---|---|---|
";

const SPACINGS: &str = "
## Spacings

`grid::Spacing::named` takes these alone.

| name | what it is | other names | source |
|---|---|---|---|
";

/// The page's text.
pub(crate) fn text() -> Result<String, Box<dyn Error>> {
    let mut page = INTRODUCTION.to_owned();
    for entry in entries() {
        page += &row(entry)?;
    }
    for library in Library::ALL {
        write!(
            page,
            "\n## {library}\n\n| there | here | what differs |\n|---|---|---|\n"
        )?;
        for entry in entries() {
            for names in entry.names.iter().filter(|names| names.library == library) {
                let (there, here) = (code(names.names), entry.name);
                writeln!(page, "| {there} | {here} | {} |", names.differs)?;
            }
        }
    }
    page += REFUSED;
    for refused in refused() {
        let names = code(refused.names);
        writeln!(
            page,
            "| {names} | {} | {} |",
            refused.closest, refused.reason
        )?;
    }
    page += SPACINGS;
    for entry in spacings() {
        let (definition, aliases) = (unlinked(entry.definition), code(entry.aliases));
        let (name, source) = (entry.name, entry.source);
        writeln!(page, "| `{name}` | {definition} | {aliases} | {source} |")?;
    }
    Ok(page)
}

/// A definition without the brackets of its links, which lead nowhere from a file.
fn unlinked(definition: &str) -> String {
    definition.replace("[`", "`").replace("`]", "`")
}

fn row(entry: &Entry) -> Result<String, Box<dyn Error>> {
    let solver = entry.solver()?;
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let plan = |steps| {
        let grid = Grid::trailing(&schedule, steps)?;
        solver.plan(&Path::new(&schedule, &grid)?)
    };
    let plans = [plan(10)?, plan(20)?, plan(25)?];
    let noise = match (plans.iter().any(Plan::is_stochastic), entry.plus_plus) {
        (false, false) => "none",
        (false, true) => "none; CFG++",
        (true, false) => "yes",
        (true, true) => "yes; CFG++",
    };
    Ok(format!(
        "| {} | `{}` | {} | {} | {noise} | {} |\n",
        entry.name,
        entry.code.split_whitespace().collect::<Vec<_>>().join(" "),
        solver.order(),
        formula(plans.each_ref().map(Plan::evaluations)),
        entry.source,
    ))
}

/// The number of evaluations for K steps, from those for 10, 20 and 25.
fn formula([ten, twenty, more]: [usize; 3]) -> String {
    let slope = (twenty - ten) / 10;
    if twenty != ten + 10 * slope || more != twenty + 5 * slope {
        return format!("{ten} for 10 steps, {twenty} for 20");
    }
    let factor = if slope == 1 {
        String::new()
    } else {
        slope.to_string()
    };
    match (10 * slope).cmp(&ten) {
        Ordering::Equal => format!("{factor}K"),
        Ordering::Less => format!("{factor}K + {}", ten - 10 * slope),
        Ordering::Greater => format!("{factor}K − {}", 10 * slope - ten),
    }
}

fn code(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
