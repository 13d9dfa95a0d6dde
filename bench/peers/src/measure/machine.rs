//! Processor time: ours, and everybody else's meanwhile.

use std::fs;
use std::time::Instant;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Failure, Result};

/// Processor seconds of this process so far, all threads.
pub(crate) fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor seconds of processes that this one started and that ended.
fn children_cpu_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks =
        children_ticks(&stat).ok_or_else(|| Failure::new("/proc/self/stat is not as it was"))?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// Fields 16 and 17; the second is a name in brackets that may hold anything.
fn children_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Processor seconds of all processes so far, out of `/proc/stat`.
pub(crate) fn all_cpu_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks = busy_ticks(&stat)
        .ok_or_else(|| Failure::new("/proc/stat has no line for all processors"))?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// What is neither idle nor waiting. Guests are counted as users already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    let named = ticks.get(..8)?;
    Some(named[..3].iter().sum::<u64>() + named[5..].iter().sum::<u64>())
}

/// Between two moments.
pub(crate) struct Meter {
    started: Instant,
    own_s: f64,
    children_s: f64,
    all_s: f64,
}

impl Meter {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            own_s: own_cpu_s(),
            children_s: children_cpu_s()?,
            all_s: all_cpu_s()?,
            started: Instant::now(),
        })
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Processor seconds of this process since the start.
    pub(crate) fn cpu_s(&self) -> f64 {
        own_cpu_s() - self.own_s
    }

    /// How many processors others had in the mean. Ticks are of 10 ms: of short times this is rough.
    pub(crate) fn others(&self) -> Result<f64> {
        let all = all_cpu_s()? - self.all_s;
        let ours = self.cpu_s() + children_cpu_s()? - self.children_s;
        Ok(((all - ours) / self.seconds().max(1e-9)).max(0.0))
    }
}

/// What is known of the machine: a line each.
pub(crate) fn describe() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        (
            "processor".to_owned(),
            field(&read("/proc/cpuinfo"), "model name"),
        ),
        ("processors".to_owned(), cpus.to_string()),
        (
            "memory".to_owned(),
            field(&read("/proc/meminfo"), "MemTotal"),
        ),
        (
            "kernel".to_owned(),
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("load".to_owned(), read("/proc/loadavg").trim().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(busy_ticks(stat), Some(100 + 20 + 30 + 6 + 7 + 8));
        assert_eq!(busy_ticks("intr 5\n"), None);
        assert_eq!(busy_ticks("cpu  1 2\n"), None);
    }

    #[test]
    fn children_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 2 3 4 50 60 700 80 20 0 1 0 9";
        assert_eq!(children_ticks(stat), Some(780));
        assert_eq!(children_ticks("7 (a) S 1"), None);
        assert!(children_cpu_s().unwrap() >= 0.0);
    }

    #[test]
    fn work_takes_processor_time() {
        let meter = Meter::start().unwrap();
        let mut sum = 0_u64;
        while meter.seconds() < 0.05 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(meter.cpu_s() > 0.0);
        assert!(meter.others().unwrap() >= 0.0);
        assert_eq!(describe().len(), 5);
    }
}
