//! A sandbox process and clients of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// A recipient who reads what it gets.
pub const READS: &str = "+5511987650101";
/// A recipient who is not on WhatsApp.
pub const FAILS: &str = "+5511987650001";

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_pilotgate"))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running sandbox, which does not outlive the test.
pub struct Sandbox {
    process: Child,
    pub place: Value,
}

impl Sandbox {
    pub fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pilotgate"))
            .args(["sandbox", "--port", "0", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, place: serde_json::from_str(&line).unwrap() }
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
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_pilotgate"))
            .args(arguments)
            .envs(self.environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
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

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
