//! However a job is shared out, the result is that of one call in one process.

use crate::common::{Folder, Job, check, data, say, shards};

#[test]
fn shards_batches_and_order_change_no_bit() {
    let folder = Folder::new("same-bits");
    let job = Job::of(150);
    let expected = job.in_memory();
    let ways: [(&[usize], &str); 8] = [
        (&[0], "--batch 150"),
        (&[0], "--batch 1"),
        (&[0], "--batch 1000000"),
        (&[1, 0], "--batch 7"),
        (&[2, 0, 1], "--batch 20 --shuffle 1"),
        (&[2, 0, 1], "--batch 49 --shuffle 2"),
        (&[3, 1, 0, 2], "--batch 64"),
        (&[0, 3, 2, 1], "--batch 5 --shuffle 3"),
    ];
    let mut hashes = Vec::new();
    for (index, (order, rest)) in ways.into_iter().enumerate() {
        let out = folder.file(&format!("{index}.npy"));
        job.share(&out, order, rest);
        assert!(data(&out, job.samples) == expected, "{order:?} {rest}");
        hashes.push(check(&out));
    }
    assert!(
        hashes.windows(2).all(|pair| pair[0] == pair[1]),
        "{hashes:?}"
    );
}

#[test]
fn every_kind_of_sampler_is_the_same_on_three_shards() {
    let folder = Folder::new("samplers");
    let samplers = [
        "DDIM trailing",
        "Euler a karras",
        "DPM++ 2M karras",
        "DPM++ 3M SDE exponential",
        "UniPC trailing",
        "LCM trailing",
        "Restart karras",
        "euler_ancestral_cfg_pp simple",
    ];
    for sampler in samplers {
        let job = Job {
            sampler,
            ..Job::of(31)
        };
        let out = folder.file(&format!("{}.npy", sampler.replace(' ', "-")));
        job.share(&out, &[1, 2, 0], "--batch 4");
        assert!(data(&out, job.samples) == job.in_memory(), "{sampler}");
    }
}

#[test]
fn more_shards_than_samples_and_no_samples_at_all_are_jobs_too() {
    let folder = Folder::new("few");
    for samples in [0, 1, 3] {
        let job = Job::of(samples);
        let out = folder.file(&format!("{samples}.npy"));
        job.share(&out, &[4, 3, 2, 1, 0], "");
        assert_eq!(data(&out, samples), job.in_memory());
        check(&out);
        assert!(say(&mut shards("status", &out, "")).contains(&format!("finished = {samples} of")));
    }
}

#[test]
fn parts_that_were_written_apart_merge_into_one() {
    let folder = Folder::new("apart");
    let job = Job::of(50);
    let parts: Vec<String> = (0..3)
        .map(|index| folder.file(&format!("part-{index}.npy")))
        .collect();
    for (index, part) in parts.iter().enumerate() {
        say(&mut job.sample(part, &format!("--shard {index}/3 --batch 6")));
    }
    let (out, from) = (
        folder.file("all.npy"),
        format!("--from {} --from {}", parts[2], parts[0]),
    );
    let said = say(&mut shards("merge", &out, &from));
    assert!(said.contains("missing = 16..33"), "{said}");
    let said = say(&mut shards(
        "merge",
        &out,
        &format!("--from {} --from {}", parts[0], parts[1]),
    ));
    assert!(said.starts_with("17 rows copied"), "{said}");
    assert!(data(&out, 50) == job.in_memory());
    check(&out);
    say(&mut shards("verify", &out, "--rows 10..40 --batch 7"));
}
