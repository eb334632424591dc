//! How much memory this process may have: its control group's, or the machine's.

use std::fs;
use std::path::{Path, PathBuf};

/// A limit of version 1 above this is none: the kernel writes the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 60;

/// Where things are read from.
struct Roots<'a> {
    proc: &'a Path,
    cgroup: &'a Path,
}

/// Bytes that this process may have before somebody is killed; `None` if nobody says.
pub(super) fn limit_bytes() -> Option<u64> {
    read(&Roots { proc: Path::new("/proc"), cgroup: Path::new("/sys/fs/cgroup") })
}

/// Bytes of memory that this process has now; 0 if nobody says.
pub(super) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default().saturating_mul(rustix::param::page_size() as u64)
}

fn read(roots: &Roots<'_>) -> Option<u64> {
    let group = fs::read_to_string(roots.proc.join("self/cgroup")).unwrap_or_default();
    let limits = group.lines().filter_map(|line| {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_memory = controllers.split(',').any(|controller| controller == "memory");
        match controllers {
            "" => lowest(roots.cgroup, path, "memory.max"),
            _ if is_memory => lowest(&roots.cgroup.join("memory"), path, "memory.limit_in_bytes"),
            _ => None,
        }
    });
    let machine = machine_bytes(roots.proc);
    limits.chain(machine).min()
}

/// The lowest limit of a group and those it is in. In a container, the path may be the host's: then
/// the container's own group is the root.
fn lowest(root: &Path, path: &str, file: &str) -> Option<u64> {
    let inside = Path::new(path.trim_start_matches('/'));
    let folders = inside.ancestors().map(|folder| root.join(folder));
    folders.filter_map(|folder: PathBuf| limit_of(&folder.join(file))).min()
}

fn limit_of(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

fn machine_bytes(proc: &Path) -> Option<u64> {
    let text = fs::read_to_string(proc.join("meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files under a folder of the test's own.
    fn limit(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        let folder = std::env::temp_dir().join(format!("memory-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let limit = read(&Roots { proc: &folder.join("proc"), cgroup: &folder.join("cgroup") });
        let _ = fs::remove_dir_all(&folder);
        limit
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:  1024 kB\nMemFree: 7 kB\n");

    #[test]
    fn the_lowest_limit_counts() {
        assert_eq!(limit("none", &[]), None);
        assert_eq!(limit("machine", &[MACHINE]), Some(1 << 20));
        let second = [
            MACHINE,
            ("proc/self/cgroup", "0::/pods/one\n"),
            ("cgroup/pods/memory.max", "2000\n"),
            ("cgroup/pods/one/memory.max", "max\n"),
        ];
        assert_eq!(limit("second", &second), Some(2000));
        let container =
            [MACHINE, ("proc/self/cgroup", "0::/not/seen/here\n"), ("cgroup/memory.max", "3000\n")];
        assert_eq!(limit("container", &container), Some(3000));
        let first = [
            ("proc/self/cgroup", "9:cpu:/a\n5:memory,hugetlb:/a\n"),
            ("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cgroup/memory/a/memory.limit_in_bytes", "4000\n"),
        ];
        assert_eq!(limit("first", &first), Some(4000));
    }

    #[test]
    fn this_process_has_some() {
        assert!(resident_bytes() > 1 << 16);
        assert!(limit_bytes().is_some_and(|limit| limit > resident_bytes()));
    }
}
