//! What a command can end with, and how it is told.
//!
//! Owns the decoding of a gRPC status with its details, the texts for people and for programs, and the exit status of
//! each. Refuses to decide what is tried again when: that is `send` and `watch`. Called by every command.

use std::{collections::BTreeMap, error::Error, fmt::Write, io, time::Duration};

use serde::Serialize;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::cli::{render::human, times};

/// The reason, of this client, for a call whose time was up.
pub const NO_ANSWER: &str = "NO_ANSWER";

/// Why a command ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The gateway answered with an error, or gave no answer.
    #[error("{}", .0.line())]
    Refused(Box<Refusal>),
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// Something on this machine went wrong: a file, a port.
    #[error("{0}")]
    Local(String),
    /// The reader of the output is gone.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// One gRPC error with its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The canonical code.
    pub code: Code,
    /// The reason of `google.rpc.ErrorInfo`; empty if there was none.
    pub reason: String,
    /// The text for people.
    pub message: String,
    /// The metadata of `google.rpc.ErrorInfo`.
    pub metadata: BTreeMap<String, String>,
    /// Field path and description of every violation, in the order given.
    pub violations: Vec<(String, String)>,
    /// How long to wait before trying again, if the gateway says so.
    pub retry_after: Option<Duration>,
    /// True if the connection broke, so that this is no answer of the gateway.
    pub transport: bool,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        if ran_out_of_time(&status) {
            return Self::local(Code::DeadlineExceeded, NO_ANSWER, "no answer in time".to_owned());
        }
        let details = status.get_error_details();
        let (reason, metadata) = details
            .error_info()
            .map(|it| (it.reason.clone(), it.metadata.clone().into_iter().collect()))
            .unwrap_or_default();
        let violations = details.bad_request().map_or_else(Vec::new, |it| {
            it.field_violations.iter().map(|it| (it.field.clone(), it.description.clone())).collect()
        });
        let retry_after = details.retry_info().and_then(|it| it.retry_delay);
        // Only a status that was made on this side has a source.
        let broken = if reason.is_empty() { root_cause(&status) } else { None };
        let transport = broken.is_some();
        let message = broken.map_or_else(
            || status.message().to_owned(),
            |cause| format!("the connection to the gateway failed: {cause}"),
        );
        Self { code: status.code(), reason, message, metadata, violations, retry_after, transport }
    }
}

impl Refusal {
    /// An error found on this side of the connection.
    pub fn local(code: Code, reason: &str, message: String) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message,
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            transport: false,
        }
    }

    /// Code, reason and message on one line.
    pub fn line(&self) -> String {
        let code = code_name(self.code);
        match self.reason.as_str() {
            "" => format!("{code}: {}", self.message),
            reason => format!("{code} {reason}: {}", self.message),
        }
    }

    /// True if the gateway was not reached or could not serve now.
    pub fn is_unavailable(&self) -> bool {
        self.code == Code::Unavailable || self.transport
    }

    /// True if it is not known what became of the request; the same request id settles it.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.reason.as_str(), "SEND_IN_DOUBT" | "REQUEST_IN_PROGRESS")
    }

    fn exit_code(&self) -> u8 {
        let unknown = matches!(self.code, Code::DeadlineExceeded | Code::Unknown);
        if unknown || self.is_unavailable() || self.is_in_doubt() { 4 } else { 1 }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Refusal::from(status).into()
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorJson<'a>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    code: &'a str,
    reason: &'a str,
    message: &'a str,
    metadata: &'a BTreeMap<String, String>,
    violations: Vec<ViolationJson<'a>>,
    retry_after_ms: Option<u64>,
}

#[derive(Serialize)]
struct ViolationJson<'a> {
    field: &'a str,
    description: &'a str,
}

impl CliError {
    /// True if it is not known what became of the request.
    pub fn is_open(&self) -> bool {
        self.exit_code() == 4
    }

    /// The exit status of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(refusal) => refusal.exit_code(),
            Self::Usage(_) => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Local(_) | Self::Output(_) => 1,
            Self::Interrupted => 130,
        }
    }

    /// The lines for people; none if the end needs no words.
    pub fn to_human(&self) -> Option<String> {
        let mut text = format!("{}: {self}", human::alarm("error"));
        match self {
            Self::Refused(refusal) => {
                for (field, description) in &refusal.violations {
                    let _ = write!(text, "\n  {field}: {description}");
                }
                if let Some(pause) = refusal.retry_after.filter(|it| !it.is_zero()) {
                    let _ = write!(text, "\n  may be tried again in {}", times::spell(pause));
                }
                let open = refusal.is_unavailable() || refusal.is_in_doubt() || refusal.code == Code::DeadlineExceeded;
                if let Some(id) = refusal.metadata.get("request_id").filter(|_| open) {
                    let _ = write!(text, "\n  safe to repeat with --request-id {id}");
                }
            }
            Self::Usage(_) | Self::Local(_) => {}
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return None,
            Self::Output(_) => {}
            Self::Interrupted => return None,
        }
        Some(text)
    }

    /// The JSON line for programs; none if the end needs no words. The reasons `USAGE`, `LOCAL`, `NO_ANSWER` and
    /// `STREAM_ENDED` are this client's own; all others come from the gateway.
    pub fn to_json(&self) -> Option<String> {
        self.to_human()?;
        let local;
        let refusal = match self {
            Self::Refused(refusal) => refusal.as_ref(),
            Self::Usage(text) => {
                local = Refusal::local(Code::InvalidArgument, "USAGE", text.clone());
                &local
            }
            Self::Local(_) | Self::Output(_) | Self::Interrupted => {
                local = Refusal::local(Code::Aborted, "LOCAL", self.to_string());
                &local
            }
        };
        let error = ErrorJson {
            code: code_name(refusal.code),
            reason: &refusal.reason,
            message: &refusal.message,
            metadata: &refusal.metadata,
            violations: refusal
                .violations
                .iter()
                .map(|(field, description)| ViolationJson { field, description })
                .collect(),
            retry_after_ms: refusal.retry_after.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        };
        serde_json::to_string(&ErrorLine { error }).ok()
    }
}

/// True if the time of the call was up. On this side the transport calls that canceled, and so does the server when
/// it is the first to notice; this client cancels no call itself.
fn ran_out_of_time(status: &Status) -> bool {
    if status.source().is_some() {
        return causes(status).any(|cause| cause.is::<TimeoutExpired>());
    }
    status.code() == Code::Cancelled && status.get_details_error_info().is_none()
}

/// The deepest cause of a status that was made on this side; none if the gateway sent it.
fn root_cause(status: &Status) -> Option<String> {
    causes(status).last().map(|cause| cause.to_string())
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&cause| cause.source())
}

/// The name of the code in `google.rpc.Code`.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
