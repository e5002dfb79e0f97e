//! Refuses a reload that cannot fit under the memory limit of the gateway's control group, before it begins.
//!
//! The kernel kills a process that exceeds that limit (`MemoryMax=` of a unit, `limits.memory` of a container), and
//! every request with it. While a configuration is loaded, the one before stays in memory.
//!
//! Only a reload that is certain not to fit is refused: that is judged by [`COST_PER_BYTE`], the memory of a reload
//! that changes nothing. One that changes every credential takes about twice that.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The least memory that a reload takes for each byte of the configuration's files. Measured with 4,000 routes and
/// 40,000 keys: 6.4 where nothing changed, 11.6 where everything did.
const COST_PER_BYTE: u64 = 6;

/// The root of control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// Returns why files of this length cannot be loaded now, if so. Without control groups nothing is known.
pub(super) fn shortage(source_bytes: u64) -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    Room::find(Path::new(ROOT), &groups)?.shortage(source_bytes)
}

/// The memory that is left under a limit.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    limit: PathBuf,
    left_bytes: u64,
}

impl Room {
    /// Returns the least room among the control groups of a process; `groups` is its `/proc/PID/cgroup` (cgroups(7)).
    fn find(root: &Path, groups: &str) -> Option<Self> {
        let rooms = groups.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let path = path.trim_start_matches('/');
            // Inside of a container the path may be the one outside. Then the root is the container's own group.
            if number == "0" {
                return least(root, path, |group| Self::of(group, &VERSION_2));
            }
            let is_memory = controllers.split(',').any(|controller| controller == "memory");
            is_memory.then(|| least(&root.join("memory"), path, |group| Self::of(group, &VERSION_1)))?
        });
        rooms.min_by_key(|room| room.left_bytes)
    }

    /// Returns that of one group; `None`: it has no limit.
    fn of(group: &Path, names: &Names) -> Option<Self> {
        let limit = group.join(names.limit);
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let (most, used) = (number(&limit)?, number(&group.join(names.used))?);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        // File pages, which the kernel reclaims when it needs them.
        let of_files =
            stat.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| names.files.contains(name));
        let of_files: u64 = of_files.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum();
        Some(Self { limit, left_bytes: most.saturating_sub(used.saturating_sub(of_files)) })
    }

    fn shortage(&self, source_bytes: u64) -> Option<String> {
        let needed = source_bytes.saturating_mul(COST_PER_BYTE);
        let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
        (needed > self.left_bytes).then(|| {
            format!(
                "there is not enough memory for this reload: it takes at least {} MiB, and {} MiB are left under {}; raise \
                 that limit (`MemoryMax=`, `limits.memory`), or restart the gateway, which needs less",
                mebibytes(needed),
                self.left_bytes >> 20,
                self.limit.display(),
            )
        })
    }
}

/// The files of a group.
struct Names {
    limit: &'static str,
    used: &'static str,
    files: [&'static str; 2],
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_active_file", "total_inactive_file"],
};
const VERSION_2: Names = Names { limit: "memory.max", used: "memory.current", files: ["active_file", "inactive_file"] };

/// Returns the least room of a group and of its ancestors, up to the root.
fn least(root: &Path, path: &str, room: impl Fn(&Path) -> Option<Room>) -> Option<Room> {
    let group = root.join(path);
    group.ancestors().take_while(|group| group.starts_with(root)).filter_map(room).min_by_key(|room| room.left_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).expect("a folder of our own");
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("a file of our own"));
    }

    #[test]
    fn the_least_room_of_all_groups_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        group(root, "a", &[("memory.max", "1000\n"), ("memory.current", "900\n")]);
        group(root, "a/b", &[("memory.max", "max\n"), ("memory.current", "800\n")]);
        group(root, "a/c", &[("memory.max", "800\n"), ("memory.current", "790\n")]);
        let left = |groups| Room::find(root, groups).map(|room| room.left_bytes);
        assert_eq!([left("0::/a\n"), left("0::/a/b\n"), left("0::/a/c\n")], [Some(100), Some(100), Some(10)]);
        assert_eq!([left("0::/\n"), left("0::/gone\n"), left(""), left("nonsense\n0:")], [None; 4]);
        let stat = [("memory.stat", "anon 10\nactive_file 30\ninactive_file 20\nfile 99\n")];
        group(root, "a", &stat);
        assert_eq!(left("0::/a\n"), Some(150), "pages of files are no obstacle");
        let old = [("memory.limit_in_bytes", "500"), ("memory.usage_in_bytes", "200")];
        group(root, "memory/d", &old);
        group(root, "memory/d", &[("memory.stat", "active_file 1\ntotal_active_file 7\n")]);
        assert_eq!(left("5:cpu,memory:/d\n4:pids:/a\n0::/\n"), Some(307));
        assert_eq!(left("4:pids:/d\n"), None);
        // The view of a container without a cgroup namespace.
        group(root, "", &[("memory.max", "70"), ("memory.current", "80")]);
        assert_eq!(left("0::/kubepods/pod1\n"), Some(0));
    }

    #[test]
    fn what_cannot_fit_is_refused_and_nothing_else() {
        let room = |left_bytes| Room { limit: "/sys/fs/cgroup/memory.max".into(), left_bytes };
        assert_eq!(room(6 << 20).shortage(1 << 20), None);
        let why = room((6 << 20) - 1).shortage(1 << 20).expect("it does not fit");
        assert!(why.contains("at least 6 MiB, and 5 MiB are left under /sys/fs/cgroup/memory.max;"), "{why}");
        assert!(room(0).shortage(1).is_some() && room(u64::MAX).shortage(u64::MAX).is_none());
        assert_eq!(room(0).shortage(0), None);
    }
}
