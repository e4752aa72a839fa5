//! Version heads: what incremental synchronisation compares (messages-and-sync.md 13).

use bytes::Bytes;

crate::document! {
    /// One versioned list of one owner: a counter plus the newest entries, in one document, so that a reader who has
    /// version v has everything up to v. Changed only through [`crate::versions`].
    pub struct VersionHead in "version_heads", revision rev {
        /// Owner: user or group id.
        pub owner_id: String,
        /// Which list: `conversations`, `friends`, `blacks`, `joined_groups`, `members`.
        pub list: String,
        /// 24 hex digits, made with the document.
        pub version_id: String,
        /// Counter, from 1.
        pub version: i64,
        /// Encoded newest entries, at most one per element.
        pub entries: Bytes,
        /// Highest version that was dropped from the entries; older clients read everything.
        pub dropped: i64,
        /// Revision.
        pub rev: i64,
    }
    key [owner_id, list];
}
