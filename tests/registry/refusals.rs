//! Names that are refused, and names that nobody uses.

use diffusion_sampler::{Error, grid::spacings, registry, schedule::TableSchedule};

/// The suggestions for an unknown name; none for any other.
fn nearest(name: &str) -> Vec<&'static str> {
    match registry::sampler(name) {
        Err(Error::UnknownName {
            kind: "sampler",
            name: asked,
            nearest,
        }) if asked == name => nearest,
        _ => Vec::new(),
    }
}

#[test]
fn an_unknown_name_suggests_the_nearest_ones_each_sampler_once() {
    assert_eq!(nearest("dpmpp_2n")[0], "DPM++ 2M");
    assert_eq!(nearest("hune")[0], "Heun");
    // A spacing at the end changes nothing.
    for spacing in ["Karras", "ddim_uniform", "SGM Uniform"] {
        let name = format!("DPM++ 2N {spacing}");
        assert_eq!(nearest(&name), nearest("DPM++ 2N"), "{name}");
    }
    for name in ["", "-", "karrass", "x", "ﬃ", &"longer".repeat(1 << 12)] {
        let nearest = nearest(name);
        assert_eq!(nearest.len(), 3, "{name:?}");
        let mut samplers: Vec<&str> = nearest
            .iter()
            .map(|near| registry::sampler(near).unwrap().entry.name)
            .collect();
        samplers.dedup();
        assert_eq!(samplers.len(), 3, "{nearest:?}");
    }
}

#[test]
fn a_misspelt_spacing_is_not_blamed_on_the_sampler() {
    for (name, rest, near) in [
        ("DPM++ 2M Karass", "karass", "karras"),
        ("dpmpp_2m karas", "karas", "karras"),
        ("Euler a exponental", "exponental", "exponential"),
        (
            "euler align_your_steps",
            "alignyoursteps",
            "align_your_steps_svd",
        ),
        ("DPM++ 2M v2 Karass", "karass", "karras"),
    ] {
        let Err(Error::UnknownName {
            kind,
            name: asked,
            nearest,
        }) = registry::sampler(name)
        else {
            panic!("{name}");
        };
        assert_eq!((kind, &*asked, nearest[0]), ("spacing", rest, near));
    }
    // What is no slip of a spacing's name is a sampler's.
    for name in ["Euler max", "heun_2", "Euler A Automatic"] {
        assert_eq!(nearest(name).len(), 3, "{name}");
    }
}

#[test]
fn a_refused_name_says_why_and_names_something_that_exists() {
    for refused in registry::refused() {
        for name in refused.names {
            let error = registry::sampler(name).unwrap_err();
            assert_eq!(
                error,
                Error::NotASampler {
                    name: (*name).to_owned(),
                    closest: refused.closest,
                    reason: refused.reason,
                }
            );
            let text = error.to_string();
            assert!(
                text.contains(name) && text.contains(refused.closest),
                "{text}"
            );
        }
        assert!(registry::sampler(refused.closest).is_ok(), "{refused:?}");
    }
    // With a spacing too, and in any spelling.
    for name in ["DPM++ 2M v2 Karras", "ddim-parallel", "unclip"] {
        let refused = registry::sampler(name);
        assert!(matches!(refused, Err(Error::NotASampler { .. })), "{name}");
    }
}

#[test]
fn a_spacing_alone_is_no_sampler() {
    let names = spacings()
        .iter()
        .flat_map(|known| [&[known.name], known.aliases].concat());
    // These two are samplers too.
    for name in names.filter(|name| !["ddim", "lcm"].contains(name)) {
        match registry::sampler(name) {
            Err(Error::NotASampler { closest, .. }) => assert_eq!(closest, "Spacing::named"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_sampler_needs_a_spacing_and_gets_what_the_grid_refuses() {
    let named = registry::sampler("Euler").unwrap();
    let table = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let refused = named.sampler(&table, 10).unwrap_err();
    assert_eq!(refused, Error::NoSpacing { name: "DDIM" });
    assert!(refused.to_string().contains("grid::spacings"));

    // At zero terminal SNR λ = −∞, where a Karras ramp has no beginning.
    let named = registry::sampler("Euler Karras").unwrap();
    let refused = named.sampler(&table.zero_terminal_snr().unwrap(), 10);
    assert!(matches!(refused, Err(Error::UnboundedLambda { .. })));
}
