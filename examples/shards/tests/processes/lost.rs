//! What is lost when processes die or files are damaged, and how it comes back.

use std::fs::{self, OpenOptions};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

use crate::common::{Folder, Job, check, data, finished, number, refuse, say, shards, start};

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

#[cfg(not(unix))]
fn was_killed(status: ExitStatus) -> bool {
    !status.success()
}

/// Kills shard 1 of 2 (SIGKILL) when it has finished a few batches; the rows that it had finished,
/// or `None` if it came to its end before.
fn kill_one(job: &Job, out: &str) -> Option<u64> {
    let mut shard = start(&mut job.sample(out, "--shard 1/2 --batch 4"));
    while finished(out).len() < 3 && shard.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    shard.kill().unwrap();
    let status = shard.wait().unwrap();
    let rows = finished(out).iter().map(|rows| rows.end - rows.start).sum();
    (was_killed(status) && rows < job.samples as u64 / 2).then_some(rows)
}

#[test]
fn a_killed_shard_loses_only_what_it_had_not_finished_and_is_redone_alone() {
    let folder = Folder::new("killed");
    let job = Job::of(1000);
    // A machine that is very busy may let the shard come to its end before it is killed.
    let mut tries = (0..20).map(|index| folder.file(&format!("{index}.npy")));
    let killed = tries.find_map(|out| Some((kill_one(&job, &out)?, out)));
    let (kept, out) = killed.expect("no shard could be killed while it worked");
    assert!(kept >= 12);
    say(&mut job.sample(&out, "--shard 0/2"));
    let unfinished = refuse(&mut shards("check", &out, ""));
    assert!(unfinished.contains("rows not finished: ") && unfinished.contains("..1000"));
    println!("killed with {kept} of 500 rows finished; {unfinished}");

    let report = say(&mut job.sample(&out, "--shard 1/2 --batch 60"));
    assert_eq!(number(&report, "found"), kept as f64, "{report}");
    assert_eq!(number(&report, "sampled"), (500 - kept) as f64, "{report}");
    assert!(data(&out, 1000) == job.in_memory());
    check(&out);
    let nothing = say(&mut shards("resume", &out, ""));
    assert_eq!(
        (number(&nothing, "found"), number(&nothing, "sampled")),
        (1000.0, 0.0)
    );
}

#[test]
fn a_log_that_ends_within_a_line_loses_that_batch_alone() {
    let folder = Folder::new("torn");
    let (job, out) = (Job::of(40), folder.file("a.npy"));
    say(&mut job.sample(&out, "--batch 10"));
    let log = format!("{out}.journal/from-0-0.log");
    let length = fs::metadata(&log).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 3)
        .unwrap();
    assert!(refuse(&mut shards("check", &out, "")).contains("rows not finished: 30..40"));
    let report = say(&mut shards("resume", &out, "--shard 0/1"));
    assert_eq!(number(&report, "sampled"), 10.0);
    assert!(data(&out, 40) == job.in_memory());
    check(&out);
}

#[test]
fn a_flipped_bit_is_found_named_and_sampled_again() {
    let folder = Folder::new("flipped");
    let (job, out) = (Job::of(40), folder.file("a.npy"));
    say(&mut job.sample(&out, "--batch 10"));
    let sound = check(&out);
    let mut bytes = fs::read(&out).unwrap();
    // Row 23, somewhere in its 256 bytes.
    bytes[128 + 23 * 256 + 77] ^= 4;
    fs::write(&out, &bytes).unwrap();
    assert!(refuse(&mut shards("check", &out, "")).contains("written: 20..30 "));
    assert!(refuse(&mut shards("verify", &out, "--batch 7")).contains("row 23 comes out"));
    assert!(
        refuse(&mut shards(
            "merge",
            &folder.file("b.npy"),
            &format!("--from {out}")
        ))
        .contains("20..30")
    );
    say(&mut shards("verify", &out, "--rows 0..23"));
    let report = say(&mut shards("resume", &out, "--rows 20..30"));
    assert_eq!(number(&report, "sampled"), 10.0);
    assert_eq!(check(&out), sound);
}

#[test]
fn the_same_shard_twice_at_once_does_no_harm() {
    let folder = Folder::new("twice");
    let (job, out) = (Job::of(100), folder.file("a.npy"));
    let mut twins: Vec<_> = (0..2)
        .map(|_| start(&mut job.sample(&out, "--batch 8")))
        .collect();
    assert!(twins.iter_mut().all(|twin| twin.wait().unwrap().success()));
    assert!(data(&out, 100) == job.in_memory());
    check(&out);
}
