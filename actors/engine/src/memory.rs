//! Default memory limit of this process: a share of what its control groups and the machine allow.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Divisor of the available memory: the share is one of so many parts.
const SHARE_PART: u64 = 2;
/// Memory assumed as available when neither control group nor machine says, in bytes.
const UNKNOWN_BYTES: u64 = 1 << 30;
/// Smallest `memory_max`, in bytes.
pub const MEMORY_MIN: u64 = 256 << 20;
/// Largest `memory_max`, in bytes.
pub const MEMORY_MOST: u64 = 1 << 50;

/// Computes the default of `memory_max` on this machine.
pub fn memory_max() -> u64 {
    (allowed(Path::new("/")).unwrap_or(UNKNOWN_BYTES) / SHARE_PART).clamp(MEMORY_MIN, MEMORY_MOST)
}

/// Finds the least that a control group of this process (version 2 or 1) or the machine allows, in bytes.
fn allowed(root: &Path) -> Option<u64> {
    let machine = read_to_string(root.join("proc/meminfo")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    let groups = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| limit_of(root, line)).chain(machine).min()
}

/// Finds the least limit of a control group and those around it, from `ID:CONTROLLERS:PATH` of /proc/self/cgroup. In a
/// container the path may be one of the machine's, so the mount's own limit counts too.
fn limit_of(root: &Path, group: &str) -> Option<u64> {
    let (_, rest) = group.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let mount = root.join(mount);
    let within: PathBuf = mount.join(path.trim_start_matches('/'));
    let groups = within.ancestors().take_while(|group| group.starts_with(&mount));
    groups.filter_map(|group| read_to_string(group.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("makes");
        std::fs::write(path, text).expect("writes");
    }

    #[test]
    fn the_tightest_limit_counts() {
        let machine = tempfile::tempdir().expect("a directory");
        let root = machine.path();
        assert_eq!(allowed(root), None);
        file(root, "proc/meminfo", "MemTotal:        4000 kB\nMemFree:  1 kB\n");
        assert_eq!(allowed(root), Some(4_096_000), "the machine's");
        file(root, "proc/self/cgroup", "0::/slice/unit\n");
        file(root, "sys/fs/cgroup/slice/unit/memory.max", "max\n");
        assert_eq!(allowed(root), Some(4_096_000), "a group without a limit");
        file(root, "sys/fs/cgroup/slice/memory.max", "3000000\n");
        assert_eq!(allowed(root), Some(3_000_000), "of a group around it");
        file(root, "sys/fs/cgroup/memory.max", "2000000\n");
        assert_eq!(allowed(root), Some(2_000_000), "of the mount, as in a container");
        file(root, "proc/self/cgroup", "4:cpu,memory:/docker/x\n3:cpuset:/\n");
        assert_eq!(allowed(root), Some(4_096_000));
        file(root, "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "1000000\n");
        assert_eq!(allowed(root), Some(1_000_000), "version 1");
        file(root, "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(allowed(root), Some(4_096_000), "version 1 without a limit");
    }
}
