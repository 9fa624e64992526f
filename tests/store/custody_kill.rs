//! A process that is killed at any moment while it goes over from one root key to the next.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use pilotgate::{
    store::{self, Options},
    vault,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Sqlite,
    conformance::Backend,
    custody::{assert_readable, custody, fill, reseal_until, rotate, settled, status},
};

/// Tells the process to be killed which directory to work in.
const DIRECTORY: &str = "PILOTGATE_TEST_CUSTODY_DIRECTORY";

const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_everything_can_be_read() {
    let place = Sqlite::new();
    let store = place.open().await;
    let first = custody(&store, vault::Options::default(), place.place.path()).await.unwrap();
    fill(&store, &first).await;
    let mut last = first.vault().current();
    store.close().await;
    let mut rotations = 0;
    for round in 0..ROUNDS {
        let mut doomed = Doomed::spawn(place.place.path());
        doomed.lines(rand::random_range(1..12));
        // Some instructions more or less.
        for _ in 0..rand::random_range(0..200_000) {
            std::hint::black_box(round);
        }
        doomed.kill();
        let store = place.open().await;
        let found = custody(&store, vault::Options::default(), place.place.path()).await.unwrap();
        assert_readable(&store, &found).await;
        assert_eq!(status(&found).await.unreadable, []);
        let current = found.vault().current();
        rotations += usize::from(current != last);
        last = current;
        if round % 4 == 3 {
            let done = reseal_until(&found, settled).await;
            assert_eq!(done.keys[0].id, current);
            assert_readable(&store, &found).await;
        }
        store.close().await;
    }
    assert!(rotations > 0, "none was killed after a rotation");
}

/// Not a test by itself: what the process does that the other kills. Anywhere else it returns at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotate_until_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let store = store::open(Options::at(&directory)).await.unwrap();
    let custody = custody(&store, vault::Options::default(), Path::new(&directory)).await.unwrap();
    tokio::spawn(custody.clone().run_resealing(CancellationToken::new()));
    loop {
        // Begins a line of its own, whatever the test runner wrote before.
        write!(io::stdout().lock(), "\nrotating\n").unwrap();
        rotate(&custody).await.unwrap();
        while rand::random_range(0..4) > 0 {
            status(&custody).await;
            write!(io::stdout().lock(), "\nlooking\n").unwrap();
        }
    }
}

/// A process that rotates until it is killed.
struct Doomed(Child, BufReader<ChildStdout>);

impl Doomed {
    fn spawn(directory: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["custody_kill::rotate_until_killed", "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        Self(child, told)
    }

    /// Waits until it has told so much.
    fn lines(&mut self, count: usize) {
        let mut told = 0;
        while told < count {
            let mut line = String::new();
            assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "it ended by itself");
            told += usize::from(["rotating\n", "looking\n"].contains(&line.as_str()));
        }
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
