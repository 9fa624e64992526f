//! The program: a runtime, and the command line on it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = pilotgate::cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(pilotgate::cli::run(cli)),
        Err(_) => ExitCode::FAILURE,
    }
}
