//! How much memory a process takes. Linux says it.

use crate::common::{Folder, Job, number, say};

#[test]
fn a_process_holds_its_share_at_most_and_a_batch_where_that_is_less() {
    let folder = Folder::new("memory");
    let job = Job {
        sampler: "DDIM trailing",
        steps: 1,
        ..Job::of(16_000)
    };
    let peak = |job: Job, rest: &str| {
        let out = folder.file(&format!("{} {rest}.npy", job.samples).replace(['/', ' '], "_"));
        let report = say(&mut job.sample(&out, rest));
        println!("{report}");
        number(&report, "peak_kib")
    };
    // What the program takes for itself, with the network's own buffers: 256 rows go through the
    // network at a time, however many there are.
    let own = peak(
        Job {
            samples: 256,
            ..job
        },
        "",
    );
    let [one, two, four] = ["0/1", "1/2", "2/4"]
        .map(|shard| peak(job, &format!("--shard {shard} --batch 16000")) - own);
    // The state, two outputs, the network's input and more: a few times the share.
    let share = 16_000.0 * 256.0 / 1024.0;
    assert!(one > 3.0 * share, "{one} of {share}");
    // Half of the rows, half of the memory, to a tenth of all.
    assert!((two - one / 2.0).abs() < 0.1 * one, "{one} {two}");
    assert!((four - one / 4.0).abs() < 0.1 * one, "{one} {four}");
    // In batches of 256 the number of rows does not count.
    let batches = peak(job, "--batch 256") - own;
    assert!(batches < 0.1 * one, "{batches} {one}");
}
