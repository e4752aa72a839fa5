//! Power cuts, full disks and failing syncs, by a file layer below SQLite. A process kill leaves the page cache alone; here
//! every byte that was not synced may be lost, in any combination.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod vfs;
