//! Holds `src/` to its order: every room has a rank, and a module imports lower ranks only.
//!
//! Owns the table of rooms and the proof that each kind of violation is found; `scan` finds them.

mod scan;

use std::{fs, io, path::Path};

use scan::{Violation, check};

/// The rooms of `src/`, each a file or a folder of that name, lowest rank first.
const RANKS: &[&[&str]] = &[
    &["domain", "proto", "observe"],
    &["store", "upstream", "sandbox", "vault"],
    &["identity", "keys"],
    &["admin", "messaging", "tracking", "fanout"],
    &["api", "http"],
    &["config"],
    &["server"],
    &["cli"],
];

/// Rooms that import no other room: a sandbox that shares code with `upstream` shares its mistakes.
const ISOLATED: &[&str] = &["sandbox"];

#[test]
fn every_module_imports_lower_ranks_only() -> io::Result<()> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = unknown_rooms(&entries(&src)?);
    let files = rust_files(&src, "")?;
    assert!(files.contains(&"lib.rs".to_owned()), "{} holds no lib.rs", src.display());
    for file in &files {
        found.extend(check(file, &fs::read_to_string(src.join(file))?));
    }
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), listed(&found));
    Ok(())
}

#[test]
fn an_entry_that_is_no_room_is_found() {
    let entries = ["api", "bin", "cli.rs", "config.rs", "config.toml", "lib.rs", "main.rs", "util.rs"];
    assert_eq!(
        listed(&unknown_rooms(&entries.map(String::from))),
        "src/bin:1: `bin` is not in the table of rooms\n\
         src/config.toml:1: `config.toml` is not in the table of rooms\n\
         src/util.rs:1: `util.rs` is not in the table of rooms"
    );
}

#[test]
fn lower_ranks_and_the_own_room_are_fine() {
    let send = r##"
        //! Unlike [`crate::server`] this knows no socket.
        use super::convert; // crate::server
        use crate::{api::stream, messaging::{self, Send}, proto::pilotgate::v1};
        use std::{io, sync::Arc};
        pub(crate) struct Sender<T>(pub(in crate::api) T);
        /* crate::cli::run() */
        const TEXT: &str = "crate::server::run()";
        const RAW: &str = r#"use crate::server;"#;
        fn life<'server>(x: &'server crate::store::Rows) -> super::super::keys::Key { x.server() }
        #[cfg(test)]
        mod tests { use super::*; use super::super::stream; use crate::store::Fake; }
    "##;
    assert_eq!(listed(&check("api/send.rs", send)), "");
    assert_eq!(listed(&check("api/send/mod.rs", send)), "");
    assert_eq!(listed(&check("sandbox/server.rs", "use crate::sandbox::plan; use super::run;")), "");
    assert_eq!(listed(&check("lib.rs", "//! The gateway.\n#[doc(hidden)]\npub mod api;\nmod keys;\n")), "");
    assert_eq!(listed(&check("main.rs", "fn main() { pilotgate::cli::run() }\n")), "");
}

#[test]
fn every_kind_of_import_is_found() {
    let rows = r#"use crate::messaging::Send;
use crate::{domain::Id, upstream, keys::{Key, Ring}};
fn open(x: crate::api::Sender<crate::server::Run>) {}
use super::super::super::http;
use super::super::super::{cli, domain::Number, fanout::*};
fn log() { tracing::info!(x = %crate::config::NAME); }
macro_rules! go { () => { $crate::identity::go() } }
#[serde(with = "crate::tracking::text")]
mod inner { use super::super::super::super::vault; use super::super::super::sql; }
#[cfg(test)]
mod tests {
    use crate::sandbox::Sandbox;
}
"#;
    assert_eq!(
        listed(&check("store/sqlite/rows.rs", rows)),
        "src/store/sqlite/rows.rs:1: `store` (rank 1) imports `messaging` (rank 3)\n\
         src/store/sqlite/rows.rs:2: `store` (rank 1) imports `upstream` (rank 1)\n\
         src/store/sqlite/rows.rs:2: `store` (rank 1) imports `keys` (rank 2)\n\
         src/store/sqlite/rows.rs:3: `store` (rank 1) imports `api` (rank 4)\n\
         src/store/sqlite/rows.rs:3: `store` (rank 1) imports `server` (rank 6)\n\
         src/store/sqlite/rows.rs:4: `store` (rank 1) imports `http` (rank 4)\n\
         src/store/sqlite/rows.rs:5: `store` (rank 1) imports `cli` (rank 7)\n\
         src/store/sqlite/rows.rs:5: `store` (rank 1) imports `fanout` (rank 3)\n\
         src/store/sqlite/rows.rs:6: `store` (rank 1) imports `config` (rank 5)\n\
         src/store/sqlite/rows.rs:7: `store` (rank 1) imports `identity` (rank 2)\n\
         src/store/sqlite/rows.rs:8: `store` (rank 1) imports `tracking` (rank 3)\n\
         src/store/sqlite/rows.rs:9: `store` (rank 1) imports `vault` (rank 1)\n\
         src/store/sqlite/rows.rs:12: `store` (rank 1) imports `sandbox` (rank 1)"
    );
}

#[test]
fn every_way_around_the_ranks_is_found() {
    let plan = r#"use crate::domain::Id;
use crate::*;
use crate as root;
use crate::{self as root};
extern crate self as root;
use super::super::*;
use crate::Message;
#[path = "../upstream/client.rs"]
mod client;
"#;
    assert_eq!(
        listed(&check("sandbox/plan.rs", plan)),
        "src/sandbox/plan.rs:1: `sandbox` imports `domain`, but may import no other room\n\
         src/sandbox/plan.rs:2: takes in the whole crate: name the room\n\
         src/sandbox/plan.rs:3: takes in the whole crate: name the room\n\
         src/sandbox/plan.rs:4: takes in the whole crate: name the room\n\
         src/sandbox/plan.rs:5: takes in the whole crate: name the room\n\
         src/sandbox/plan.rs:6: takes in the whole crate: name the room\n\
         src/sandbox/plan.rs:7: imports `Message`, which is no room\n\
         src/sandbox/plan.rs:8: `path` attribute: a module lies where its name says"
    );
    assert_eq!(
        listed(&check("main.rs", "mod cli;\nuse pilotgate::{cli, config::Config};\nfn main() {}\n")),
        "src/main.rs:1: declares `cli`, but may use `pilotgate::cli` only\n\
         src/main.rs:2: imports `config`, but may use `pilotgate::cli` only"
    );
    assert_eq!(
        listed(&check("lib.rs", "pub mod api;\npub use api::Send;\nmod keys {}\n")),
        "src/lib.rs:2: `lib.rs` only declares modules\n\
         src/lib.rs:3: `lib.rs` only declares modules"
    );
    assert_eq!(listed(&check("api.rs", "use {")), "src/api.rs:1: is not Rust: cannot parse string into token stream");
}

fn listed(found: &[Violation]) -> String {
    found.iter().map(Violation::to_string).collect::<Vec<_>>().join("\n")
}

fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The sources below `folder`, each as its path from `src/`.
fn rust_files(folder: &Path, prefix: &str) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for name in entries(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            files.extend(rust_files(&path, &format!("{prefix}{name}/"))?);
        } else if name.ends_with(".rs") {
            files.push(format!("{prefix}{name}"));
        }
    }
    Ok(files)
}

fn rank(room: &str) -> Option<usize> {
    RANKS.iter().position(|rooms| rooms.contains(&room))
}

fn unknown_rooms(entries: &[String]) -> Vec<Violation> {
    let known = |name: &str| matches!(name, "lib" | "main") || rank(name).is_some();
    entries
        .iter()
        .filter(|entry| !known(entry.strip_suffix(".rs").unwrap_or(entry)))
        .map(|entry| Violation {
            file: entry.clone(),
            line: 1,
            text: format!("`{entry}` is not in the table of rooms"),
        })
        .collect()
}
