//! What a process says of its work.

use std::fmt;
use std::fs;
use std::ops::Range;

use crate::npy;

/// Rows, times in seconds, memory in KiB.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// The process's share.
    pub(crate) rows: Range<u64>,
    /// How many of them it sampled.
    pub(crate) sampled: u64,
    /// How many were finished before.
    pub(crate) found: u64,
    /// From the first batch's begin to the last one's end.
    pub(crate) seconds: f64,
    /// Of these, in the network.
    pub(crate) network: f64,
    /// Of these, in writing and waiting for the disk.
    pub(crate) writing: f64,
    /// What the processor worked for this process, from its start; 0 where the system does not say.
    /// Unlike the other times it does not grow when others use the machine too.
    pub(crate) cpu: f64,
    /// The most memory that the process ever held; 0 where the system does not say.
    pub(crate) peak_kib: u64,
}

/// The numbers of a report.
pub(crate) const NUMBERS: usize = 9;

impl Report {
    /// What is neither the network nor the disk: the sampler, its noise, the bookkeeping.
    pub(crate) fn sampler(&self) -> f64 {
        self.seconds - self.network - self.writing
    }

    /// The share of the result that the rows are.
    pub(crate) fn share_kib(&self) -> f64 {
        ((self.rows.end - self.rows.start) * npy::ROW) as f64 / 1024.0
    }

    /// As numbers, all below 2⁵³: what ranks send to each other.
    #[cfg(any(test, feature = "mpi"))]
    pub(crate) fn numbers(&self) -> [f64; NUMBERS] {
        let whole = [
            self.rows.start,
            self.rows.end,
            self.sampled,
            self.found,
            self.peak_kib,
        ];
        let [start, end, sampled, found, peak] = whole.map(|number| number as f64);
        [
            start,
            end,
            sampled,
            found,
            self.seconds,
            self.network,
            self.writing,
            self.cpu,
            peak,
        ]
    }

    /// From such numbers.
    pub(crate) fn of_numbers(numbers: [f64; NUMBERS]) -> Self {
        let [
            start,
            end,
            sampled,
            found,
            seconds,
            network,
            writing,
            cpu,
            peak,
        ] = numbers;
        Self {
            rows: start as u64..end as u64,
            sampled: sampled as u64,
            found: found as u64,
            seconds,
            network,
            writing,
            cpu,
            peak_kib: peak as u64,
        }
    }

    /// From the line that [`Display`](fmt::Display) writes.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = |name| {
            let pair = words.windows(2).find(|pair| pair.first() == Some(&name))?;
            pair.get(1)?.parse::<f64>().ok()
        };
        let end = of("to")?;
        Some(Self::of_numbers([
            of("rows")?,
            end,
            of("sampled")?,
            of("found")?,
            of("seconds")?,
            of("network")?,
            of("writing")?,
            of("cpu")?,
            of("peak_kib")?,
        ]))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.rows;
        let (sampler, share) = (self.sampler(), self.share_kib());
        write!(
            f,
            "rows {start} to {end} sampled {} found {}",
            self.sampled, self.found
        )?;
        write!(
            f,
            " seconds {:.3} network {:.3}",
            self.seconds, self.network
        )?;
        write!(
            f,
            " sampler {sampler:.3} writing {:.3} cpu {:.3}",
            self.writing, self.cpu
        )?;
        write!(f, " peak_kib {} share_kib {share:.0}", self.peak_kib)
    }
}

/// The most memory that this process ever held, in KiB, where Linux says so.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// What the processor has worked for this process's first thread, in seconds, where Linux says so.
pub(crate) fn cpu_time() -> Option<f64> {
    let schedule = fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: u64 = schedule.split(' ').next()?.parse().ok()?;
    Some(nanoseconds as f64 * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_back_from_its_line_and_from_its_numbers() {
        let report = Report {
            rows: 5..17,
            sampled: 9,
            found: 3,
            seconds: 2.5,
            network: 2.25,
            writing: 0.125,
            cpu: 2.5,
            peak_kib: 4096,
        };
        assert_eq!(Report::read(&report.to_string()), Some(report.clone()));
        assert_eq!(Report::of_numbers(report.numbers()), report);
        assert_eq!(report.sampler(), 0.125);
        assert_eq!(report.share_kib(), 3.0);
        assert_eq!(Report::read("rows 5 to 17"), None);
    }
}
