//! A process of its own for each server and each kind of load, so that their CPU times and memories are told apart.
#![allow(dead_code, reason = "no bench asks everything")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdout, Command, Stdio},
};

use pilotgate::store::Written;

/// A running child.
pub struct Child {
    process: std::process::Child,
    told: BufReader<ChildStdout>,
}

impl Child {
    /// Starts one with these arguments; its first line comes with it.
    pub fn start(arguments: &[&str]) -> (Self, String) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(process.stdout.take().unwrap());
        let mut child = Self { process, told };
        let first = child.line();
        (child, first)
    }

    /// Asks for something; what is told comes later.
    pub fn ask(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that it tells.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "a child has ended");
        line.trim().to_owned()
    }

    /// Writes to the store so far, and the commits that they shared, of a server that tells them.
    pub fn written(&mut self) -> [f64; 2] {
        self.ask("");
        let line = self.line();
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    }

    /// Memory that is resident now, in KiB.
    pub fn resident_kib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// User and system time so far, from the kernel's account of the process.
    pub fn cpu_seconds(&self) -> f64 {
        const TICKS_A_SECOND: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The name of the program may hold blanks; what follows its closing bracket does not.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11..=12].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / TICKS_A_SECOND
    }
}

/// Tells the address of a server, and then how much was written whenever a line comes in, until the parent lets go.
pub fn serve_until_released(address: &str, written: impl Fn() -> Written) {
    println!("{address}");
    std::io::stdout().flush().unwrap();
    for _ in std::io::stdin().lines() {
        let Written { writes, commits } = written();
        println!("{writes} {commits}");
        std::io::stdout().flush().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The child ends when its input does.
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}
