//! Compiles `proto/` in pure Rust: no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

/// Below `proto/pilotgate`; one file for each service.
const PACKAGES: &[&str] = &["v1", "admin/v1"];

/// Messages of the platform team that carry secrets in: `src/proto.rs` prints them without.
const SECRETIVE: [&str; 6] = [
    "RegisterNumberRequest",
    "ImportNumbersRequest",
    "SetNumberKeyRequest",
    "SetTenantKeyRequest",
    "NumberWebhookSettings",
    "NumberWebhookSettings.path",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(services()?)?;

    // Reflection serves the compiler's own encoding: re-encoding the parsed set would drop unknown options.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .bytes(".pilotgate.v1.MediaContent.data")
        .btree_map(".")
        .skip_debug(SECRETIVE.map(|message| format!(".pilotgate.admin.v1.{message}")))
        .extern_path(".google.rpc.Status", "::tonic_types::pb::Status")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn services() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut services = Vec::new();
    for package in PACKAGES {
        for entry in fs::read_dir(PathBuf::from("proto/pilotgate").join(package))? {
            services.push(entry?.path());
        }
    }
    services.retain(|path| path.to_string_lossy().ends_with("_service.proto"));
    services.sort();
    Ok(services)
}
