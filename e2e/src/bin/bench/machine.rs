//! The machine on which the benchmark runs.

use std::fs;
use std::thread::available_parallelism;

/// The load average at the start above which times are not reliable.
const BUSY: f64 = 0.5;

/// Prints a warning if other programs use the machine.
pub(crate) fn warn_if_busy() {
    let load = load_average();
    if load > BUSY {
        eprintln!("bench: the machine is busy (load average {load}): times and CPU will be too high");
    }
}

/// Returns the load average of the last minute.
fn load_average() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Describes the machine: cores, processor, memory, load average.
pub(crate) fn described() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let (gib, load) = (kib / 1024 / 1024, load_average());
    format!("{cores} cores ({model}), {gib} GiB of memory, load average {load} before it began")
}
