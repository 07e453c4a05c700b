//! The registry: what names mean, what is refused, and the page made from it.

mod elsewhere;
mod meaning;
mod page;
mod refusals;

#[test]
fn the_page_is_up_to_date() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(
        include_str!("../../docs/samplers.md"),
        page::text()?,
        "cargo run --example samplers writes docs/samplers.md anew"
    );
    Ok(())
}
