//! What is refused, with the values, and that nothing is overwritten then.

use std::fs;

use crate::common::{Folder, Job, check, data, refuse, say, shards, start};

#[test]
fn two_jobs_do_not_share_a_file() {
    let folder = Folder::new("two-jobs");
    let (job, out) = (Job::of(20), folder.file("a.npy"));
    say(&mut job.sample(&out, "--shard 0/2"));
    let others = [
        (Job { samples: 21, ..job }, "samples is 20, here it is 21"),
        (
            Job {
                sampler: "DDIM trailing",
                ..job
            },
            "sampler is DPM++ 2M SDE trailing, here it is DDIM",
        ),
        (Job { steps: 5, ..job }, "steps is 4, here it is 5"),
        (Job { scale: 3.5, ..job }, "scale is 2, here it is 3.5"),
        (Job { seed: 43, ..job }, "seed is 42, here it is 43"),
    ];
    for (other, why) in others {
        let said = refuse(&mut other.sample(&out, "--shard 1/2"));
        assert!(said.contains(why), "{said}");
    }
    // The sampler's other names are no other job.
    say(&mut Job {
        sampler: "dpmpp_2m_sde",
        ..job
    }
    .sample(&out, "--shard 1/2"));
    assert!(data(&out, 20) == job.in_memory());
}

#[test]
fn of_two_jobs_that_begin_at_once_one_wins() {
    let folder = Folder::new("race");
    let jobs = [
        Job::of(12),
        Job {
            seed: 43,
            ..Job::of(12)
        },
    ];
    for round in 0..5 {
        let out = folder.file(&format!("{round}.npy"));
        let shards: Vec<_> = (0..4)
            .map(|index| {
                (
                    index % 2,
                    start(&mut jobs[index % 2].sample(&out, "--batch 5")),
                )
            })
            .collect();
        let mut won = Vec::new();
        for (job, child) in shards {
            let output = child.wait_with_output().unwrap();
            match output.status.success() {
                true => won.push(job),
                false => assert!(String::from_utf8_lossy(&output.stderr).contains("its seed is")),
            }
        }
        assert!(won.len() == 2 && won[0] == won[1], "{won:?}");
        assert!(data(&out, 12) == jobs[won[0]].in_memory());
        check(&out);
    }
}

#[test]
fn files_that_are_not_what_they_must_be_are_left_alone() {
    let folder = Folder::new("foreign");
    let (job, foreign) = (Job::of(4), folder.file("foreign.npy"));
    fs::write(&foreign, b"years of work").unwrap();
    assert!(refuse(&mut job.sample(&foreign, "")).contains("not overwritten"));
    assert_eq!(fs::read(&foreign).unwrap(), b"years of work");
    for command in ["resume", "status", "check", "verify"] {
        let said = refuse(&mut shards(command, &foreign, ""));
        assert!(said.contains("no job there"), "{command}: {said}");
    }

    let out = folder.file("a.npy");
    say(&mut job.sample(&out, ""));
    let whole = fs::read(&out).unwrap();
    fs::write(&out, &whole[..1000]).unwrap();
    for command in [&mut job.sample(&out, ""), &mut shards("check", &out, "")] {
        assert!(refuse(command).contains("has 1000 bytes, not the 1152 "));
    }
    fs::write(&out, [b"\x93NUMPY\x02", &whole[7..]].concat()).unwrap();
    assert!(refuse(&mut shards("check", &out, "")).contains("header"));
    fs::remove_file(&out).unwrap();
    assert!(refuse(&mut job.sample(&out, "")).contains("opening"));
    fs::write(&out, &whole).unwrap();
    check(&out);

    let settings = format!("{out}.journal/job");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("seed = 42", "seed = many")).unwrap();
    assert!(refuse(&mut shards("resume", &out, "")).contains("\"many\""));
    // Another network, or a machine that rounds otherwise.
    fs::write(&settings, text.replace("network = ", "network = 0")).unwrap();
    for command in ["resume", "verify"] {
        let said = refuse(&mut shards(command, &out, ""));
        assert!(said.contains("its network is 0"), "{command}: {said}");
    }
}

#[test]
fn wrong_settings_are_refused_before_there_is_a_file() {
    let folder = Folder::new("settings");
    let (job, out) = (Job::of(4), folder.file("a.npy"));
    let wrong = [
        (job.sample(&out, "--shard 4/4"), "--shard 4/4"),
        (
            Job {
                sampler: "dpmpp_2n",
                ..job
            }
            .sample(&out, ""),
            "DPM++ 2M",
        ),
        (Job { steps: 0, ..job }.sample(&out, ""), "0"),
        (Job { steps: 1001, ..job }.sample(&out, ""), "1001"),
        (
            Job {
                scale: f64::NAN,
                ..job
            }
            .sample(&out, ""),
            "NaN",
        ),
        (
            Job {
                samples: 1 << 54,
                ..job
            }
            .sample(&out, ""),
            "18014398509481984",
        ),
        (shards("sample", &out, "--samples 4 --wat"), "--wat"),
        (shards("sample", &out, ""), "--samples"),
    ];
    for (mut command, why) in wrong {
        let said = refuse(&mut command);
        assert!(said.contains(why), "{said}");
    }
    for rows in ["3..5", "3..2"] {
        let said = refuse(&mut job.sample(&out, &format!("--rows {rows}")));
        assert!(said.contains(rows), "{said}");
    }
    assert!(!fs::exists(&out).unwrap());
    assert!(!fs::exists(format!("{out}.journal")).unwrap());
}
