//! The duration and the memory of a reload.

use std::{fs, time::Instant};

use crate::telemetry::Value;

/// Measures a reload from its begin.
pub(super) struct Cost {
    started: Instant,
    /// Set if the kernel reports the peak since the beginning, and not that of the process's whole life.
    is_peak_ours: bool,
}

impl Cost {
    pub(super) fn begin() -> Self {
        // proc(5), "/proc/pid/clear_refs": 5 resets the peak of the resident set. If /proc is missing or read-only, the
        // log line goes without it.
        Self { started: Instant::now(), is_peak_ours: fs::write("/proc/self/clear_refs", "5").is_ok() }
    }

    /// Returns the fields of the log line.
    pub(super) fn fields(&self) -> Vec<(&'static str, Value<'static>)> {
        let took = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = bytes_of("VmRSS:", &status);
        let peak = bytes_of("VmHWM:", &status).filter(|_| self.is_peak_ours);
        let fields = [("took_ms", Some(took)), ("memory_bytes", memory), ("peak_memory_bytes", peak)];
        fields.into_iter().filter_map(|(name, number)| Some((name, Value::Number(number?)))).collect()
    }
}

/// Parses a line such as `VmRSS:   1234 kB`.
fn bytes_of(field: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_resident() {
        assert_eq!(bytes_of("VmRSS:", "VmHWM:\t  20 kB\nVmRSS:\t  12 kB\n"), Some(12 << 10));
        assert_eq!(bytes_of("VmRSS:", "VmRSS:\tmuch\n"), None);
        let fields: Vec<_> = Cost::begin().fields().into_iter().map(|(name, _)| name).collect();
        assert!(fields.starts_with(&["took_ms", "memory_bytes"]), "{fields:?}");
    }
}
