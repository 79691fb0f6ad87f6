//! What the operating system says of this process, under the names that Prometheus' clients use.

use std::fs;

use crate::exposition::{Exposition, Metric};

/// Of a page and of a clock tick, where this is known to run.
const PAGE_BYTES: f64 = 4096.0;
const TICKS_PER_SECOND: f64 = 100.0;

const CPU: Metric =
    Metric::counter("process_cpu_seconds_total", &[], "Processor time that the process has used, in seconds.");
const RESIDENT: Metric = Metric::gauge("process_resident_memory_bytes", &[], "Memory that the process has.");
const FILES: Metric = Metric::gauge("process_open_fds", &[], "Open file descriptors.");
const THREADS: Metric = Metric::gauge("process_threads", &[], "Threads of the process.");
const STARTED: Metric =
    Metric::gauge("process_start_time_seconds", &[], "When the process started, in seconds since the epoch.");

/// All metrics of this kind.
pub const PROCESS_METRICS: &[Metric] = &[CPU, RESIDENT, FILES, THREADS, STARTED];

/// Adds what can be read.
pub fn write(page: &mut Exposition) {
    // Behind the name of the program, which may hold blanks and brackets.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        page.value(&CPU, (user + system) / TICKS_PER_SECOND);
    }
    if let Some(pages) = field(21) {
        page.value(&RESIDENT, pages * PAGE_BYTES);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.value(&FILES, files.count().saturating_sub(1) as f64);
    }
    if let Some(threads) = field(17) {
        page.value(&THREADS, threads);
    }
    if let (Some(since_boot), Some(boot)) = (field(19), boot_seconds()) {
        page.value(&STARTED, boot + since_boot / TICKS_PER_SECOND);
    }
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
