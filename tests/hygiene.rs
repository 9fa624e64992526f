//! Holds the tree to rules that no lint knows: short sources, nothing unfinished, nothing outside.

use std::{fs, io, path::Path};

/// Most lines of code that a file of `src/` holds; blank lines and comments are free.
const MOST_LINES: usize = 400;

/// Words for work left undone. Cut in two, so that this file does not find itself.
const UNFINISHED: &[&str] = &[concat!("#[", "ignore"), concat!("todo", "!"), concat!("unimplemented", "!")];

/// Places outside the repository that nothing in it may lean on.
const OUTSIDE: &[&str] = &[concat!("shared", "/design"), concat!("..", "/shared")];

/// What git does not track, or is not text of ours.
const UNTRACKED: &[&str] = &[".git", ".venv", "__pycache__", "node_modules", "target"];

#[test]
fn no_source_is_too_long() -> io::Result<()> {
    let mut long = Vec::new();
    for (file, text) in texts("src")? {
        let lines = lines_of_code(&text);
        if lines > MOST_LINES {
            long.push(format!("{file}: {lines} lines of code"));
        }
    }
    assert!(long.is_empty(), "more than {MOST_LINES} lines:\n{}", long.join("\n"));
    Ok(())
}

#[test]
fn nothing_is_left_unfinished() -> io::Result<()> {
    let found = mentions(&[texts("src")?, texts("tests")?].concat(), UNFINISHED);
    assert!(found.is_empty(), "unfinished:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn nothing_leans_on_what_is_outside() -> io::Result<()> {
    let found = mentions(&texts("")?, OUTSIDE);
    assert!(found.is_empty(), "outside the repository:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn the_checks_find_what_they_look_for() {
    assert_eq!(lines_of_code("//! Doc.\n\nuse a;\n    // why\nfn b() {}\n"), 2);
    let text = format!("fn a() {{}}\nfn b() {{ {}() }}\n", UNFINISHED[1]);
    let files = [("src/a.rs".to_owned(), text)];
    assert_eq!(mentions(&files, UNFINISHED), [format!("src/a.rs:2: {}", UNFINISHED[1])]);
}

fn lines_of_code(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn mentions(files: &[(String, String)], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in files {
        for (at, line) in text.lines().enumerate() {
            let hits = words.iter().filter(|word| line.contains(**word));
            found.extend(hits.map(|word| format!("{file}:{}: {word}", at + 1)));
        }
    }
    found
}

/// Every text file below `folder`, with its path from the root of the repository.
fn texts(folder: &str) -> io::Result<Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if UNTRACKED.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if let Ok(text) = String::from_utf8(fs::read(&path)?) {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                files.push((name, text));
            }
        }
    }
    files.sort();
    Ok(files)
}
