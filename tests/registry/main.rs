//! The registry: what names mean, what is refused, and the page made from it.

mod elsewhere;
mod meaning;
mod page;
mod refusals;

use diffusion_sampler::{Error, registry};

#[test]
fn every_name_of_the_libraries_is_resolved_or_refused() {
    let unknown: Vec<&str> = elsewhere::lists()
        .concat()
        .into_iter()
        .filter(|name| matches!(registry::sampler(name), Err(Error::UnknownName { .. })))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_page_is_up_to_date() -> Result<(), Box<dyn std::error::Error>> {
    let page = page::text()?;
    let stored = include_str!("../../docs/samplers.md");
    let differing = stored.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(
        stored == page,
        "`cargo run --example samplers` writes docs/samplers.md anew; it has {differing:?}"
    );
    Ok(())
}
