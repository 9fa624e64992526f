//! The generated protobuf code, and nothing else. `api/` converts it from and to `domain/`.

/// The callers' package.
#[allow(clippy::pedantic, clippy::large_enum_variant)]
pub mod v1 {
    tonic::include_proto!("pilotgate.v1");
}

/// The platform team's package.
pub mod admin {
    /// Its first version.
    #[allow(clippy::pedantic, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("pilotgate.admin.v1");
    }
}

/// Every message and service of `proto/`, encoded as a `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
