//! Prints the public interface of a crate, a line an item, from the pages that `cargo doc` writes:
//! `public-api target/doc/diffusion_sampler`.
//!
//! Pages need nothing but a stable toolchain, hold what macros make and what derives implement, and
//! say what users see. Only the text of declarations is read, without its white space, so that the
//! look of a page does not matter. Not listed are what is hidden from the documentation, and what
//! the compiler implements by itself (`Send`, `Sync`, blanket implementations).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

/// The parts of `text` between `open` and the next `close`, in order.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(open).skip(1);
    parts.filter_map(move |part| part.split_once(close).map(|(inner, _)| inner))
}

/// The text before `end`, or all of it.
fn up_to<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).map_or(text, |(before, _)| before)
}

/// The text after `start`, or nothing.
fn after<'a>(text: &'a str, start: &str) -> &'a str {
    text.split_once(start).map_or("", |(_, after)| after)
}

/// What a reader sees of a piece of a page: no tags, no folded summaries, single spaces.
fn plain(html: &str) -> String {
    let mut rest = html;
    let mut text = String::new();
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        rest = after(tag, ">");
        if tag.starts_with("summary") {
            rest = after(rest, "</summary>");
        } else if tag.starts_with("div") || tag.starts_with("br") || tag.starts_with("/div") {
            text.push(' ');
        }
    }
    text.push_str(rest);
    for (entity, sign) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&nbsp;", " "),
        ("\u{a0}", " "),
        ("ⓘ", ""),
        ("§", ""),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, sign);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The headers of the implementations in a part of a page, each with what `wanted` says of the
/// items in it, by their HTML ids.
fn implementations(part: &str, wanted: fn(&str) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in part.split("<section id=\"impl-").skip(1) {
        let Some(header) = between(block, "<h3 class=\"code-header\">", "</h3>").next() else {
            continue;
        };
        let items = found.entry(plain(header)).or_default();
        for section in block.split("<section id=\"").skip(1) {
            let id = up_to(section, "\"");
            let header = between(section, "<h4 class=\"code-header\">", "</h4>").next();
            if let Some(header) = header.filter(|_| wanted(id)) {
                items.insert(plain(header));
            }
        }
    }
    found
}

/// The lines of one item's page.
fn item(place: &str, page: &str, lines: &mut Vec<String>) {
    for declaration in between(page, "<pre class=\"rust item-decl\">", "</pre>") {
        // A field, a variant or a method a line, as rustdoc has it.
        let mut rows = declaration.lines().map(plain).filter(|row| !row.is_empty());
        lines.push(format!("{place}: {}", rows.next().unwrap_or_default()));
        lines.extend(rows.map(|row| format!("        {row}")));
    }
    let own = after(page, "<div id=\"implementations-list\">");
    let own = up_to(up_to(own, "<h2 id=\"trait-impl"), "<h2 id=\"deref-");
    let of_traits = after(page, "<div id=\"trait-implementations-list\">");
    let of_traits = up_to(of_traits, "<h2 id=\"synthetic-implementations\"");
    // Of a trait: the types of other crates that have it.
    let foreign = up_to(
        after(page, "<h2 id=\"foreign-impls\""),
        "<h2 id=\"implementors\"",
    );
    let associated = |id: &str| id.starts_with("associated");
    for (part, wanted) in [
        (own, (|_| true) as fn(&str) -> bool),
        (of_traits, associated),
        (foreign, associated),
    ] {
        for (header, items) in implementations(part, wanted) {
            // The compiler's own mark beside a derived `PartialEq`.
            if header.contains("StructuralPartialEq") {
                continue;
            }
            lines.push(format!("    {header}"));
            lines.extend(items.iter().map(|item| format!("        {item}")));
        }
    }
}

fn listing(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let all = std::fs::read_to_string(root.join("all.html"))?;
    let main = after(&all, "<main");
    // The page of all items is written anew each time; others may be left of an earlier build.
    let pages: BTreeSet<&str> = between(main, "<a href=\"", "\"")
        .filter(|page| page.ends_with(".html") && !page.starts_with("..") && !page.contains(':'))
        .collect();
    let folder = |page: &str| {
        page.rsplit_once('/')
            .map_or(String::new(), |(f, _)| f.to_owned())
    };
    let mut folders: BTreeSet<String> = BTreeSet::from([String::new()]);
    for page in &pages {
        let folder = folder(page);
        for (end, _) in folder.match_indices('/') {
            folders.insert(folder[..end].to_owned());
        }
        folders.insert(folder);
    }
    let mut lines = Vec::new();
    for module in &folders {
        let name = module.replace('/', "::");
        let here = if name.is_empty() { "the crate" } else { &name };
        lines.push(format!("mod {here}"));
        let index = std::fs::read_to_string(root.join(module).join("index.html"))?;
        let uses = between(&index, "<dt id=\"reexport.", "</dt>");
        let uses = uses.filter_map(|part| part.split_once('>'));
        lines.extend(uses.map(|(_, part)| format!("    {}", plain(part))));
        for page in pages.iter().filter(|page| folder(page) == *module) {
            let file = page.rsplit('/').next().unwrap_or(page);
            let short = up_to(after(file, "."), ".html");
            let place = if name.is_empty() {
                short.to_owned()
            } else {
                format!("{name}::{short}")
            };
            let text = std::fs::read_to_string(root.join(page))?;
            item(&place, &text, &mut lines);
        }
    }
    Ok(lines)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1);
    let root = root.ok_or("public-api FOLDER: where rustdoc wrote the crate's pages")?;
    let lines = listing(Path::new(&root))?;
    if lines.len() < 100 {
        return Err(format!("{} lines: the pages have another form", lines.len()).into());
    }
    println!("{}", lines.join("\n"));
    Ok(())
}
