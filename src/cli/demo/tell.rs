//! How the demo is told: one line for each thing that happens, then a table.

use std::time::{Duration, SystemTime};

use crate::{
    cli::{
        demo::cast::{Role, Scene},
        errors::CliError,
        output::Output,
        render::{self, human},
        stage::Stage,
    },
    proto::v1::StatusUpdate,
};

// As wide as the longest label.
const LABEL: usize = 12;

/// Writes the story as it happens.
pub(super) struct Teller<'a> {
    out: &'a mut Output,
    /// When the first message was about to be sent, as the span since 1970.
    start: Duration,
}

impl<'a> Teller<'a> {
    pub(super) fn new(out: &'a mut Output) -> Self {
        Self { out, start: Duration::ZERO }
    }

    /// From now on times are counted.
    pub(super) fn begin(&mut self) {
        self.start = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    }

    pub(super) fn opening(&mut self, stage: &Stage) -> Result<(), CliError> {
        let double = stage.double().base_url();
        self.out.line(&human::strong("pilotgate demo"))?;
        self.out.line("")?;
        self.out.line(&format!(
            "  caller  ──gRPC──▶  gateway {}  ──HTTP──▶  double of Pilot Status {double}",
            stage.grpc_url()
        ))?;
        self.out.line(&human::faint("  Everything runs on this machine; no message leaves it."))?;
        self.out.line("")?;
        self.out.line(&human::strong("Sending five messages through gRPC"))?;
        self.out.line("")
    }

    pub(super) fn sent(&mut self, scene: &Scene) -> Result<(), CliError> {
        let line = format!("  {}  {}", label(scene.role), human::faint(scene.role.about()));
        self.out.line(&line)
    }

    pub(super) fn repeated(&mut self, replayed: bool) -> Result<(), CliError> {
        let verdict = if replayed { "nothing was sent twice" } else { "sent twice!" };
        let again = format!("{:<LABEL$}", "");
        self.out.line(&format!(
            "  {again}  {}",
            human::faint(&format!("the template again with its request_id: {verdict}"))
        ))
    }

    pub(super) fn curtain(&mut self) -> Result<(), CliError> {
        self.out.line("")?;
        self.out.line(&human::strong("Their status updates, as the stream brings them"))?;
        self.out.line("")
    }

    pub(super) fn update(&mut self, scene: &Scene, at: Duration, update: &StatusUpdate) -> Result<(), CliError> {
        let elapsed = format!("{:>7.3} s", at.saturating_sub(self.start).as_secs_f64());
        let mut line = format!("  {}  {}  {}", human::faint(&elapsed), label(scene.role), trail(scene));
        if let Some(failure) = &update.failure {
            line.push_str(&format!("  {}", human::faint(&human::failure(failure))));
        }
        self.out.line(&line)
    }

    pub(super) fn overdue(&mut self, scenes: &[Scene]) -> Result<(), CliError> {
        let missing = scenes.iter().filter(|scene| !scene.has_ended()).map(|scene| scene.role.label());
        let missing = missing.collect::<Vec<_>>().join(", ");
        self.out.line(&human::alarm(&format!("  still open after 30 s: {missing}")))
    }

    pub(super) fn summary(&mut self, scenes: &[Scene], replayed: bool) -> Result<(), CliError> {
        self.out.line("")?;
        self.out.line(&human::strong("Summary, with the time from each status to the next"))?;
        self.out.line("")?;
        let width = scenes.iter().map(trail_width).max().unwrap_or_default();
        for scene in scenes {
            let times = human::faint(&spans(scene));
            let verdict = if scene.ended_as_expected() { String::new() } else { human::alarm("  not as expected") };
            let gap = width.saturating_sub(trail_width(scene));
            self.out.line(&format!("  {}  {}{:gap$}  {times}{verdict}", label(scene.role), trail(scene), ""))?;
        }
        self.out.line("")?;
        let as_expected = scenes.iter().filter(|scene| scene.ended_as_expected()).count();
        let twice = if replayed { "none was sent twice" } else { "one was sent twice" };
        self.out.line(&format!("  {as_expected} of {} ended as expected, {twice}.", scenes.len()))?;
        self.out.line("")?;
        self.out.line("Next: keep both servers running and send your own with `pilotgate sandbox`")?;
        self.out.line(&human::faint("      (from a checkout: cargo run --release -- sandbox)"))
    }
}

fn label(role: Role) -> String {
    format!("{:<LABEL$}", role.label())
}

const ARROW: &str = " → ";

fn trail(scene: &Scene) -> String {
    let words: Vec<_> = scene.steps.iter().map(|step| human::status(step.status, "")).collect();
    words.join(&human::faint(ARROW))
}

/// Without the colours.
fn trail_width(scene: &Scene) -> usize {
    let words: usize = scene.steps.iter().map(|step| render::status_word(step.status).len()).sum();
    words + ARROW.chars().count() * scene.steps.len().saturating_sub(1)
}

/// The time from each status to the next.
fn spans(scene: &Scene) -> String {
    let pairs = scene.steps.windows(2);
    let spans = pairs.map(|pair| millis(pair[1].at.saturating_sub(pair[0].at)));
    spans.collect::<Vec<_>>().join(" + ")
}

fn millis(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}
