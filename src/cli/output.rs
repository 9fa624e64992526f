//! Where a command writes: data on stdout, everything else on stderr.
//!
//! Owns the two streams and the choice between lines for people and JSON lines. Colours are written always and taken
//! out here when nobody would see them. Refuses to know what a message looks like: that is `render`. Called by every
//! command.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::errors::CliError;

/// Whom the output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Aligned and coloured lines.
    Human,
    /// One JSON object per line, on both streams.
    Json,
}

/// The two streams of a command.
pub struct Output {
    form: Form,
    data: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

#[derive(Serialize)]
struct Note<'a> {
    note: &'a str,
}

impl Output {
    /// Stdout and stderr of this process; coloured on a terminal, unless `NO_COLOR` is set.
    pub fn standard(form: Form) -> Self {
        Self { form, data: Box::new(anstream::stdout()), notes: Box::new(anstream::stderr()) }
    }

    /// Whom this output is for.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Writes one line of data and hands it over, so that a reader at the other end of a pipe sees it now.
    ///
    /// # Errors
    /// [`CliError::Output`] if the reader is gone or the stream is broken.
    pub fn line(&mut self, line: &str) -> Result<(), CliError> {
        put(&mut self.data, line).map_err(CliError::Output)
    }

    /// Writes one JSON object as a line of data.
    ///
    /// # Errors
    /// As for [`line`](Self::line).
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(value).map_err(|error| CliError::Output(error.into()))?;
        self.line(&line)
    }

    /// Tells something by the way, on stderr. A note that cannot be written is not worth ending for.
    pub fn note(&mut self, note: &str) {
        let line = match self.form {
            Form::Human => note.to_owned(),
            Form::Json => {
                let note = &anstream::adapter::strip_str(note).to_string();
                serde_json::to_string(&Note { note }).unwrap_or_default()
            }
        };
        drop(put(&mut self.notes, &line));
    }

    /// Tells what a command ended with, on stderr; nothing for an end that needs no words.
    ///
    /// # Errors
    /// The stream's own.
    pub fn error(&mut self, error: &CliError) -> io::Result<()> {
        let text = match self.form {
            Form::Human => error.to_human(),
            Form::Json => error.to_json(),
        };
        text.map_or(Ok(()), |text| put(&mut self.notes, &text))
    }
}

fn put(stream: &mut dyn Write, line: &str) -> io::Result<()> {
    // One write, so that lines of several processes on one terminal do not mix.
    stream.write_all(format!("{line}\n").as_bytes())?;
    stream.flush()
}
