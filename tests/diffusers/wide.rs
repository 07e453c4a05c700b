//! Many more configurations.

use std::collections::BTreeMap;

use diffusion_sampler::diffusers::classes;

use super::common::runs;

#[test]
fn runs_of_many_configurations_are_the_librarys() {
    let Ok(path) = std::env::var("SCHEDULER_RUNS") else {
        return;
    };
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for run in runs(&std::fs::read_to_string(path).expect("a file")) {
        if !classes().any(|class| class == run.class) {
            *counts.entry(format!("NOT READ {}", run.class)).or_default() = (0, 0);
            continue;
        }
        let place = format!(
            "{} [{}] K={} how={}",
            run.name, run.class, run.steps, run.how
        );
        let request = run.request().as_published();
        let configured = run.configured(&request);
        let count = counts.entry(run.class.clone()).or_default();
        if let Some(raised) = run.whole.get("raises") {
            match configured {
                Err(_) => count.0 += 1,
                Ok(_) => {
                    count.1 += 1;
                    println!(
                        "ACCEPTED {place}: the library raises {raised}\n   {}",
                        run.config
                    );
                }
            }
            continue;
        }
        let configured = match configured {
            Ok(configured) => configured,
            Err(error) => {
                count.1 += 1;
                println!("REFUSED {place}: {error}\n   {}", run.config);
                continue;
            }
        };
        let times = run.error_of_times(&configured);
        if !(times < 1e-9) {
            count.1 += 1;
            println!("TIMES {place}: {times:e}\n   {}", run.config);
            let theirs = super::common::numbers(&run.whole["f64"]["network_times"]);
            println!(
                "   {:?}\n   {:?}",
                &configured.network_times()
                    [..theirs.len().min(6).min(configured.network_times().len())],
                &theirs[..theirs.len().min(6)]
            );
            continue;
        }
        let states = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run.error_of_states(&configured)
        }));
        match states {
            Ok(error) if error < 1e-9 => count.0 += 1,
            Ok(error) => {
                count.1 += 1;
                println!("STATES {place}: {error:e}\n   {}", run.config);
            }
            Err(_) => {
                count.1 += 1;
                println!("PANIC {place}\n   {}", run.config);
            }
        }
    }
    for (class, (good, bad)) in counts {
        println!("{class}: {good} good, {bad} bad");
    }
}
