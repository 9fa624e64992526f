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

/// Requests that carry secrets in print nothing but their names.
macro_rules! secretive {
    ($($message:ty = $name:literal),* $(,)?) => {
        $(impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($name)
            }
        })*
    };
}

secretive! {
    admin::v1::RegisterNumberRequest = "RegisterNumberRequest(..)",
    admin::v1::ImportNumbersRequest = "ImportNumbersRequest(..)",
    admin::v1::SetNumberKeyRequest = "SetNumberKeyRequest(..)",
    admin::v1::SetTenantKeyRequest = "SetTenantKeyRequest(..)",
    admin::v1::NumberWebhookSettings = "NumberWebhookSettings(..)",
    admin::v1::number_webhook_settings::Path = "Path(..)",
}
