//! Reading secrets: from a file, or from standard input.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::cli::errors::CliError;

/// The text without the blanks around it.
pub(super) fn read(file: Option<&Path>, what: &str) -> Result<String, CliError> {
    let text = match file {
        Some(path) if path != Path::new("-") => fs::read_to_string(path)
            .map_err(|error| CliError::Local(format!("cannot read {what} from {}: {error}", path.display())))?,
        _ => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|error| CliError::Local(format!("cannot read {what} from standard input: {error}")))?;
            text
        }
    };
    let text = Zeroizing::new(text);
    match text.trim() {
        "" => Err(CliError::Usage(format!("{what} is empty: give --key-file, or write it to standard input"))),
        trimmed => Ok(trimmed.to_owned()),
    }
}
