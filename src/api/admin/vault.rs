//! `pilotgate.admin.v1.VaultService`.

use tonic::{Request, Response, Status};

use super::acting;
use crate::{
    admin::{Admin, vault::Custody},
    api::{convert::admin, status::of_admin},
    proto::admin::v1::{self, vault_service_server::VaultService},
};

/// The service for the root key.
#[derive(Clone)]
pub struct VaultApi {
    admin: Admin,
    custody: Custody,
}

impl VaultApi {
    /// Over this custody.
    pub const fn new(admin: Admin, custody: Custody) -> Self {
        Self { admin, custody }
    }
}

#[tonic::async_trait]
impl VaultService for VaultApi {
    async fn get_vault_status(
        &self,
        request: Request<v1::GetVaultStatusRequest>,
    ) -> Result<Response<v1::GetVaultStatusResponse>, Status> {
        let acting = acting(&self.admin, &request, "", ("vault.status", "vault")).await?;
        let state = self.custody.status(&acting).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::GetVaultStatusResponse { status: Some(admin::vault(state)) }))
    }

    async fn rotate_root_key(
        &self,
        request: Request<v1::RotateRootKeyRequest>,
    ) -> Result<Response<v1::RotateRootKeyResponse>, Status> {
        let acting = acting(&self.admin, &request, &request.get_ref().reason, ("vault.rotate", "vault")).await?;
        let seen = admin::rotation(request.get_ref())?;
        let state = self.custody.rotate(&acting, seen).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::RotateRootKeyResponse { status: Some(admin::vault(state)) }))
    }
}
