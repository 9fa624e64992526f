//! The program: a runtime, and the command line on it.

use std::process::ExitCode;

/// A send makes some hundred small allocations on one thread that another one frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = pilotgate::cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(pilotgate::cli::run(cli)),
        Err(_) => ExitCode::FAILURE,
    }
}
