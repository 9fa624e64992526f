//! A sandbox process and clients of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde_json::Value;

/// A recipient who reads what it gets.
pub const READS: &str = "+5511987650101";
/// A recipient who is not on WhatsApp.
pub const FAILS: &str = "+5511987650001";
/// A recipient whose messages stay QUEUED.
pub const STUCK: &str = "+5511987650006";

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    start(arguments, environment).end()
}

/// Starts a command and leaves it running.
fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
    let command = command.args(arguments).envs(environment.iter().copied());
    Running::start(command.stdin(Stdio::null()).stderr(Stdio::piped()))
}

/// A running command, which does not outlive the test.
pub struct Running {
    process: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = process.stdout.take().map(BufReader::new);
        Self { process, stdout }
    }

    /// The next line that it prints; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        patiently(self.process.id(), || stdout.read_line(&mut line)).unwrap();
        line
    }

    /// Reads no more: whatever it prints now meets a closed pipe.
    pub fn stop_reading(&mut self) {
        self.stdout = None;
    }

    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// Waits for its end; what was read of its output before is not there again.
    pub fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let status = patiently(self.process.id(), || {
            self.stdout.take().map(|mut it| it.read_to_string(&mut stdout).unwrap());
            self.process.stderr.take().map(|mut it| it.read_to_string(&mut stderr).unwrap());
            self.process.wait().unwrap()
        });
        let code = status.code().unwrap_or_else(|| panic!("it did not end by itself:\n{stdout}{stderr}"));
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for a process in whatever way, and kills it rather than wait for ever.
fn patiently<T>(process: u32, wait: impl FnOnce() -> T) -> T {
    let (ended, end) = mpsc::channel::<()>();
    thread::spawn(move || {
        if end.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            signal(process, "KILL");
        }
    });
    let waited = wait();
    drop(ended);
    waited
}

fn signal(process: u32, name: &str) {
    let kill = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(kill.unwrap().success());
}

/// The names in an object, in alphabetical order.
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A running sandbox, which does not outlive the test.
pub struct Sandbox {
    _process: Running,
    pub place: Value,
}

impl Sandbox {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
        let mut process = Running::start(command.args(["sandbox", "--port", "0", "--json"]).args(arguments));
        let place = serde_json::from_str(&process.line()).unwrap();
        Self { _process: process, place }
    }

    pub fn at(&self, key: &str) -> &str {
        self.place[key].as_str().unwrap()
    }

    pub fn environment(&self) -> [(&str, &str); 2] {
        [("PILOTGATE_ADDRESS", self.at("grpc")), ("PILOTGATE_TOKEN", self.at("token"))]
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        run(arguments, &self.environment())
    }

    /// Starts a command and leaves it running.
    pub fn start_client(&self, arguments: &[&str]) -> Running {
        start(arguments, &self.environment())
    }

    /// One plain HTTP call with the number's key.
    pub fn http(&self, method: &str, url: &str, body: Option<&str>) -> (u16, String) {
        let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let (body, key) = (body.unwrap_or_default(), self.at("number_key"));
        let mut socket = TcpStream::connect(host).unwrap();
        write!(
            socket,
            "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len(),
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}
