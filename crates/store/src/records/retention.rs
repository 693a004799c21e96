//! Forgetting records: whole days, the oldest first. Plain file work; the writer decides when.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::day::Day;
use crate::sqlite::beside;

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) today: Day,
    /// Whole days before today.
    pub(super) days: u32,
    pub(super) bytes_max: u64,
}

/// Deletes days that are too old, then the oldest ones until all files together fit. The newest day stays even if it
/// is too large by itself. Returns how many bytes are left.
pub(super) fn sweep(directory: &Path, keep: Keep) -> io::Result<u64> {
    let mut days = days(directory)?;
    let first_kept = Day(keep.today.0.saturating_sub(keep.days));
    let mut bytes: u64 = days.values().map(|day| day.bytes).sum();
    while let Some((day, files)) = days.first_key_value() {
        let too_large = bytes > keep.bytes_max && days.len() > 1;
        if *day >= first_kept && !too_large {
            break;
        }
        delete(directory, *day, &files.paths)?;
        bytes -= files.bytes;
        days.pop_first();
    }
    Ok(bytes)
}

/// Days that have a record file, in order.
pub(super) fn days_with_file(directory: &Path) -> io::Result<Vec<Day>> {
    let has_file = |day: &Day| directory.join(day.file_name()).exists();
    match days(directory) {
        Ok(days) => Ok(days.into_keys().filter(has_file).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Puts a damaged file out of the way. It is kept until its day is forgotten.
pub(super) fn set_aside(directory: &Path, day: Day) -> io::Result<()> {
    let path = directory.join(day.file_name());
    delete_if_there(&beside(&path, "-wal"))?;
    delete_if_there(&beside(&path, "-shm"))?;
    match fs::rename(&path, directory.join(format!("{day}.corrupt.db"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[derive(Debug, Default)]
struct DayFiles {
    bytes: u64,
    paths: Vec<PathBuf>,
}

fn days(directory: &Path) -> io::Result<BTreeMap<Day, DayFiles>> {
    let mut days = BTreeMap::<Day, DayFiles>::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Some(day) = entry.file_name().to_str().and_then(Day::of_file_name) else { continue };
        let files = days.entry(day).or_default();
        // SQLite deletes its log when the last connection closes: it may be gone by now.
        files.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        files.paths.push(entry.path());
    }
    Ok(days)
}

/// The database goes last: a log that outlived it would be taken for the log of the next file of that name.
fn delete(directory: &Path, day: Day, paths: &[PathBuf]) -> io::Result<()> {
    let database = directory.join(day.file_name());
    for path in paths.iter().filter(|path| **path != database) {
        delete_if_there(path)?;
    }
    delete_if_there(&database)
}

fn delete_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Day = Day(20_782);

    fn check(days_kept: u32, bytes_max: u64, expect: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("2026-11-22.db", 100),
            ("2026-11-23.db", 100),
            ("2026-11-23.corrupt.db", 50),
            ("2026-11-24.db", 100),
            ("2026-11-24.db-wal", 30),
            ("2026-11-25.db", 300),
            ("notes.txt", 1000),
        ] {
            fs::write(directory.path().join(name), vec![0; bytes]).unwrap();
        }
        let keep = Keep { today: TODAY, days: days_kept, bytes_max };
        let bytes = sweep(directory.path(), keep).unwrap();
        let mut left: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "notes.txt")
            .collect();
        left.sort();
        assert_eq!(left, expect);
        let sum: u64 = left.iter().map(|name| fs::metadata(directory.path().join(name)).unwrap().len()).sum();
        assert_eq!(bytes, sum);
    }

    #[test]
    fn whole_days_go_by_age_and_by_size_and_the_newest_stays() {
        let all = [
            "2026-11-22.db",
            "2026-11-23.corrupt.db",
            "2026-11-23.db",
            "2026-11-24.db",
            "2026-11-24.db-wal",
            "2026-11-25.db",
        ];
        check(7, 1_000, &all);
        check(2, 1_000, &all[1..]);
        check(7, 679, &all[1..]);
        check(7, 570, &all[3..]);
        check(7, 10, &all[5..]);
        check(0, 1_000, &all[5..]);
    }
}
