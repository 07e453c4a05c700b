//! What is refused, with the values, and that nothing is overwritten then.

use std::fs;
use std::process::Stdio;

use crate::common::{Folder, Job, check, data, refuse, say, shards, start};

#[test]
fn two_jobs_do_not_share_a_file() {
    let folder = Folder::new("two-jobs");
    let (job, out) = (Job::of(20), folder.file("a.npy"));
    say(&mut job.sample(&out, "--shard 0/2"));
    let others = [
        (
            Job { samples: 21, ..job },
            "holds another job: samples = 20 there, 21 here",
        ),
        (
            Job {
                sampler: "DDIM trailing",
                ..job
            },
            "sampler = DPM++ 2M SDE trailing there, DDIM trailing here",
        ),
        (Job { steps: 5, ..job }, "steps = 4 there, 5 here"),
        (Job { scale: 3.5, ..job }, "scale = 2 there, 3.5 here"),
        (Job { seed: 43, ..job }, "seed = 42 there, 43 here"),
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
                false => assert!(String::from_utf8_lossy(&output.stderr).contains("job: seed = ")),
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
        assert!(said.contains("network = 0"), "{command}: {said}");
        assert!(
            said.contains("(other weights, or another processor?)"),
            "{said}"
        );
    }
    // Settings that end early, at any line.
    for length in [0, text.find("seed").unwrap()] {
        fs::write(&settings, &text[..length]).unwrap();
        for command in [&mut job.sample(&out, ""), &mut shards("status", &out, "")] {
            assert!(refuse(command).contains("job is empty or cut short"));
        }
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
    for rows in ["3..5", "3..2", "3..3"] {
        let said = refuse(&mut job.sample(&out, &format!("--rows {rows}")));
        assert!(said.contains(rows), "{said}");
    }
    assert!(!fs::exists(&out).unwrap());
    assert!(!fs::exists(format!("{out}.journal")).unwrap());
}

#[test]
fn only_finished_rows_of_the_job_are_verified() {
    let folder = Folder::new("unverified");
    let (job, out) = (Job::of(40), folder.file("a.npy"));
    say(&mut job.sample(&out, "--shard 0/2"));
    for rows in ["30..50", "9..2", "9..9", "41..42"] {
        let said = refuse(&mut shards("verify", &out, &format!("--rows {rows}")));
        assert!(
            said.contains(&format!("--rows {rows}: must lie within 0..40")),
            "{said}"
        );
    }
    for (rows, missing) in [
        ("--rows 15..25", "20..25"),
        ("--rows 39..40", "39..40"),
        ("", "20..40"),
    ] {
        let said = refuse(&mut shards("verify", &out, rows));
        assert!(
            said.ends_with(&format!("rows not finished: {missing}\n")),
            "{said}"
        );
    }
    let said = say(&mut shards("verify", &out, "--rows 15..20"));
    assert!(said.starts_with("5 rows come out as they are"), "{said}");
}

#[test]
fn a_part_that_does_not_fit_leaves_no_merged_file() {
    let folder = Folder::new("unmerged");
    let job = Job::of(20);
    let [sound, other, flipped, out] =
        ["sound", "other", "flipped", "all"].map(|name| folder.file(&format!("{name}.npy")));
    say(&mut job.sample(&sound, "--shard 0/2"));
    say(&mut Job { seed: 43, ..job }.sample(&other, "--shard 1/2"));
    say(&mut job.sample(&flipped, "--shard 1/2"));
    let mut bytes = fs::read(&flipped).unwrap();
    // In row 12.
    bytes[128 + 12 * 256] ^= 1;
    fs::write(&flipped, &bytes).unwrap();
    let again = format!("(`shards resume --out {flipped} --rows 10..20` samples them again)");
    let wrong = [
        (&other, "seed = 43 there, 42 here"),
        (&flipped, again.as_str()),
        (&out, "no job there"),
    ];
    for (part, why) in wrong {
        let said = refuse(&mut shards(
            "merge",
            &out,
            &format!("--from {sound} --from {part}"),
        ));
        assert!(said.contains(why), "{said}");
        assert!(!fs::exists(&out).unwrap());
        assert!(!fs::exists(format!("{out}.journal")).unwrap());
    }
    let whole = format!("--from {sound} --from {flipped}");
    say(&mut shards("resume", &flipped, "--rows 10..20"));
    let said = say(&mut shards("merge", &out, &whole));
    assert!(said.starts_with("20 rows copied"), "{said}");
    assert!(data(&out, 20) == job.in_memory());
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let folder = Folder::new("closed");
    let (job, out) = (Job::of(4), folder.file("a.npy"));
    let commands = [
        job.sample(&out, ""),
        shards("status", &out, ""),
        shards("check", &out, ""),
        shards("sample", &out, "--help"),
    ];
    for mut command in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    assert!(data(&out, 4) == job.in_memory());
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_an_error() {
    let folder = Folder::new("full");
    let (job, out) = (Job::of(4), folder.file("a.npy"));
    for mut command in [job.sample(&out, ""), shards("status", &out, "")] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("shards: writing to the standard output: "),
            "{said}"
        );
    }
    // What was to be said of it is lost, the work is not.
    check(&out);
}
