//! The content of a message as the command line writes it.
//!
//! Owns the arguments of the three kinds that fit on a command line: text, template, media. Checks shapes only; limits
//! are the gateway's to enforce, so that there is one place that knows them. Called by `send`.

use std::{fs, path::Path};

use clap::ArgGroup;

use crate::{
    cli::errors::CliError,
    proto::v1::{
        Button, Header, MediaContent, MediaType, ReplyAction, TemplateContent, TextContent, button::Action, header,
        media_content::Source, send_message_request::Content,
    },
};

/// Exactly one of text, template and media.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "Content",
    group = ArgGroup::new("content").required(true).multiple(false)
)]
pub struct ContentArgs {
    /// Free-form text
    #[arg(long, group = "content")]
    text: Option<String>,
    /// Button under the text, at most 3; see BUTTONS below
    #[arg(long, requires = "text", value_name = "BUTTON", value_parser = button)]
    button: Vec<Button>,
    /// Line above a text with buttons
    #[arg(long, requires = "button", value_name = "TEXT")]
    header_text: Option<String>,
    /// Line below a text with buttons
    #[arg(long, requires = "button", value_name = "TEXT")]
    footer: Option<String>,
    /// Name or id of a template
    #[arg(long, group = "content", value_name = "NAME")]
    template: Option<String>,
    /// Value for a placeholder of the template; repeatable
    #[arg(long, requires = "template", value_name = "KEY=VALUE", value_parser = pair)]
    var: Vec<(String, String)>,
    /// URL of a file, or @PATH of one on this machine
    #[arg(long, group = "content", requires = "kind", value_name = "URL|@PATH")]
    media: Option<String>,
    /// How the file is shown
    #[arg(id = "kind", long = "type", requires = "media", value_name = "TYPE")]
    kind: Option<MediaKind>,
    /// Text under an image, a video or a document
    #[arg(long, requires = "media", value_name = "TEXT")]
    caption: Option<String>,
    /// MIME type; known by itself for the usual files on this machine
    #[arg(long, requires = "media", value_name = "TYPE")]
    mime: Option<String>,
}

/// How a media file is shown.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum MediaKind {
    Image,
    Video,
    Document,
    Audio,
    Voice,
    Sticker,
}

impl ContentArgs {
    /// The content in the contract's form; reads the media file, if it is one.
    ///
    /// # Errors
    /// [`CliError::Usage`] for more than three buttons or an unknown kind of file, [`CliError::Local`] for an
    /// unreadable one.
    pub fn read(&self) -> Result<Content, CliError> {
        let usage = |text: &str| CliError::Usage(text.into());
        if self.button.len() > 3 {
            return Err(usage("a text has at most 3 buttons"));
        }
        match (&self.text, &self.template, &self.media, self.kind) {
            (Some(body), ..) => Ok(Content::Text(TextContent {
                body: body.clone(),
                buttons: self.button.clone(),
                header: self.header_text.clone().map(|text| Header { kind: Some(header::Kind::Text(text)) }),
                footer: self.footer.clone().unwrap_or_default(),
            })),
            (_, Some(template), ..) => Ok(Content::Template(TemplateContent {
                template: template.clone(),
                variables: self.var.iter().cloned().collect(),
                media: None,
                ai_rewrite: None,
            })),
            (_, _, Some(place), Some(kind)) => self.read_media(place, kind).map(Content::Media),
            _ => Err(usage("one of --text, --template and --media is needed")),
        }
    }

    fn read_media(&self, place: &str, kind: MediaKind) -> Result<MediaContent, CliError> {
        let (source, mime) = match place.strip_prefix('@').map(Path::new) {
            None => (Source::Url(place.to_owned()), self.mime.clone().unwrap_or_default()),
            Some(path) => {
                let mime = self.mime.clone().or_else(|| mime_of(path).map(str::to_owned));
                let mime = mime.ok_or_else(|| {
                    CliError::Usage(format!("the kind of {} is not known: give --mime", path.display()))
                })?;
                let bytes = fs::read(path)
                    .map_err(|error| CliError::Local(format!("cannot read {}: {error}", path.display())))?;
                (Source::Data(bytes.into()), mime)
            }
        };
        Ok(MediaContent {
            source: Some(source),
            mime_type: mime,
            r#type: MediaType::from(kind).into(),
            caption: self.caption.clone().unwrap_or_default(),
        })
    }
}

impl From<MediaKind> for MediaType {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Image => Self::Image,
            MediaKind::Video => Self::Video,
            MediaKind::Document => Self::Document,
            MediaKind::Audio => Self::Audio,
            MediaKind::Voice => Self::Voice,
            MediaKind::Sticker => Self::Sticker,
        }
    }
}

fn mime_of(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "mp4" => "video/mp4",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "csv" => "text/csv",
        _ => return None,
    })
}

/// Reads `KEY=VALUE`; the value may hold further `=`.
///
/// # Errors
/// A text for the person who typed it.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

/// Reads `reply:LABEL`, `url:LABEL=URL`, `call:LABEL=+NUMBER` or `copy:LABEL=CODE`.
///
/// # Errors
/// A text for the person who typed it.
pub fn button(text: &str) -> Result<Button, String> {
    let shapes = "expected reply:LABEL, url:LABEL=URL, call:LABEL=+NUMBER or copy:LABEL=CODE";
    let (kind, rest) = text.split_once(':').ok_or(shapes)?;
    let (label, action) = match kind {
        "reply" if !rest.is_empty() => (rest.to_owned(), Action::Reply(ReplyAction {})),
        "url" | "call" | "copy" => {
            let (label, value) = pair(rest).map_err(|_| shapes)?;
            let action = match kind {
                "url" => Action::Url(value),
                "call" => Action::PhoneNumber(value),
                _ => Action::CopyCode(value),
            };
            (label, action)
        }
        _ => return Err(shapes.into()),
    };
    Ok(Button { label, action: Some(action) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_by_kind() {
        let made = |label: &str, action| Ok(Button { label: label.into(), action: Some(action) });
        assert_eq!(button("reply:Yes: now"), made("Yes: now", Action::Reply(ReplyAction {})));
        let page = "https://example.com/?a=1&b=2";
        assert_eq!(button(&format!("url:Track={page}")), made("Track", Action::Url(page.into())));
        let phone = Action::PhoneNumber("+551140028922".into());
        assert_eq!(button("call:Call us=+551140028922"), made("Call us", phone));
        assert_eq!(button("copy:Code=A1=B2"), made("Code", Action::CopyCode("A1=B2".into())));
    }

    #[test]
    fn other_shapes_are_refused() {
        let shapes = "expected reply:LABEL, url:LABEL=URL, call:LABEL=+NUMBER or copy:LABEL=CODE";
        for text in ["Yes", "reply:", "url:Track", "url:=https://example.com", "flow:Go=1", ""] {
            assert_eq!(button(text), Err(shapes.to_owned()), "{text}");
        }
    }

    #[test]
    fn pairs_and_kinds_of_files() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("=b"), Err("expected KEY=VALUE".into()));
        assert_eq!(mime_of(Path::new("in/Invoice.PDF")), Some("application/pdf"));
        assert_eq!(mime_of(Path::new("in/invoice")), None);
    }
}
