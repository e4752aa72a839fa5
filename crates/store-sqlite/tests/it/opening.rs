//! What is refused when a database is opened, and how it is said.

use std::path::Path;

use magpie_store::{Store as _, StoreError};
use magpie_store_sqlite::{Options, SqliteStore};
use rusqlite::Connection;

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, Options::default()) {
        Err(StoreError::Unavailable(reason)) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn a_database_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    assert!(refusal(&path).contains("in use by another process"));
    drop(store);
    SqliteStore::open(&path, Options::default()).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let text = "not a database at all\n".repeat(1_000);
    std::fs::write(&path, &text).unwrap();
    let reason = refusal(&path);
    assert!(
        reason.contains("is not a database") && reason.contains("store.db"),
        "{reason}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t(a)")
        .unwrap();
    assert!(refusal(&path).contains("another program's database"));
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path, Options::default()).unwrap());
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(refusal(&path).contains("has format 99, this program knows"));
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("missing/store.db")).contains("can't be locked"));
    assert!(refusal(Path::new("/proc/store.db")).contains("can't be locked"));
}

/// Also those that an earlier version left readable.
#[tokio::test]
async fn its_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    for _ in 0..2 {
        let store = SqliteStore::open(&path, Options::default()).unwrap();
        store
            .prepare(magpie_store::documents::SCHEMAS)
            .await
            .unwrap();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.file_name());
            names.push(entry.file_name());
        }
        assert!(names.len() >= 4, "{names:?}");
        drop(store);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
}
