//! `pilotgate.admin.v1.NumberService`.

use tonic::{Request, Response, Status};

use super::{acting, acting_on};
use crate::{
    admin::{Admin, numbers::Listed},
    api::{convert::admin::numbers as convert, status::of_admin},
    proto::admin::v1::{self, number_service_server::NumberService},
};

/// The service for the registered numbers.
#[derive(Clone)]
pub struct NumberApi {
    admin: Admin,
}

impl NumberApi {
    /// Over these use cases.
    pub const fn new(admin: Admin) -> Self {
        Self { admin }
    }
}

#[tonic::async_trait]
impl NumberService for NumberApi {
    async fn register_number(
        &self,
        request: Request<v1::RegisterNumberRequest>,
    ) -> Result<Response<v1::RegisterNumberResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.register", |asked| ("number", &asked.name, &asked.reason)).await?;
        let (registration, check) = convert::registration(request.into_inner())?;
        let number =
            self.admin.register_number(&acting, registration, check).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::RegisterNumberResponse { number: Some(convert::known(&number)) }))
    }

    async fn import_numbers(
        &self,
        request: Request<v1::ImportNumbersRequest>,
    ) -> Result<Response<v1::ImportNumbersResponse>, Status> {
        let acting = acting(&self.admin, &request, &request.get_ref().reason, ("number.import", "numbers")).await?;
        let import = convert::import(request.into_inner())?;
        let imported = self.admin.import_numbers(&acting, import).await.map_err(|error| of_admin(&error))?;
        let numbers = imported.into_iter().map(convert::imported).collect();
        Ok(Response::new(v1::ImportNumbersResponse { numbers }))
    }

    async fn get_number(
        &self,
        request: Request<v1::GetNumberRequest>,
    ) -> Result<Response<v1::GetNumberResponse>, Status> {
        let acting = acting_on(&self.admin, &request, "number.get", |asked| ("number", &asked.name, "")).await?;
        let word = convert::word(request.into_inner().name)?;
        let number = self.admin.number(&acting, &word).map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::GetNumberResponse { number: Some(convert::listed(&number)) }))
    }

    async fn list_numbers(
        &self,
        request: Request<v1::ListNumbersRequest>,
    ) -> Result<Response<v1::ListNumbersResponse>, Status> {
        let acting = acting(&self.admin, &request, "", ("number.list", "numbers")).await?;
        let page = convert::page(request.into_inner(), &self.admin.page_key())?;
        let all: Vec<Listed> = self.admin.list_numbers(&acting);
        Ok(Response::new(page.of(&all)))
    }

    async fn update_number(
        &self,
        request: Request<v1::UpdateNumberRequest>,
    ) -> Result<Response<v1::UpdateNumberResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.update", |asked| ("number", named(&asked.number), &asked.reason))
                .await?;
        let (aim, settings) = convert::update(request.into_inner())?;
        let number = self.admin.update_number(&acting, &aim.name, aim.etag, settings).await;
        let number = number.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::UpdateNumberResponse { number: Some(convert::known(&number)) }))
    }

    async fn disable_number(
        &self,
        request: Request<v1::DisableNumberRequest>,
    ) -> Result<Response<v1::DisableNumberResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.disable", |asked| ("number", &asked.name, &asked.reason)).await?;
        let v1::DisableNumberRequest { name, etag, reason } = request.into_inner();
        let aim = convert::aim(&name, &etag, &reason)?;
        let number = self.admin.disable_number(&acting, &aim.name, aim.etag).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::DisableNumberResponse { number: Some(convert::known(&number)) }))
    }

    async fn enable_number(
        &self,
        request: Request<v1::EnableNumberRequest>,
    ) -> Result<Response<v1::EnableNumberResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.enable", |asked| ("number", &asked.name, &asked.reason)).await?;
        let v1::EnableNumberRequest { name, etag, reason } = request.into_inner();
        let aim = convert::aim(&name, &etag, &reason)?;
        let number = self.admin.enable_number(&acting, &aim.name, aim.etag).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::EnableNumberResponse { number: Some(convert::known(&number)) }))
    }

    async fn delete_number(
        &self,
        request: Request<v1::DeleteNumberRequest>,
    ) -> Result<Response<v1::DeleteNumberResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.delete", |asked| ("number", &asked.name, &asked.reason)).await?;
        let v1::DeleteNumberRequest { name, etag, force, reason } = request.into_inner();
        let aim = convert::aim(&name, &etag, &reason)?;
        let deleted = self.admin.delete_number(&acting, &aim.name, aim.etag, force).await;
        deleted.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::DeleteNumberResponse {}))
    }

    async fn set_number_key(
        &self,
        request: Request<v1::SetNumberKeyRequest>,
    ) -> Result<Response<v1::SetNumberKeyResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.key.set", |asked| ("number", &asked.name, &asked.reason)).await?;
        let check = request.get_ref().check;
        let (aim, key) = convert::set_key(request.into_inner())?;
        let number = self.admin.set_number_key(&acting, &aim.name, aim.etag, key, check).await;
        let number = number.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::SetNumberKeyResponse { number: Some(convert::known(&number)) }))
    }

    async fn rotate_number_key(
        &self,
        request: Request<v1::RotateNumberKeyRequest>,
    ) -> Result<Response<v1::RotateNumberKeyResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "number.key.rotate", |asked| ("number", &asked.name, &asked.reason))
                .await?;
        let v1::RotateNumberKeyRequest { name, etag, reason } = request.into_inner();
        let aim = convert::aim(&name, &etag, &reason)?;
        let number = self.admin.rotate_number_key(&acting, &aim.name, aim.etag).await;
        let number = number.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::RotateNumberKeyResponse { number: Some(convert::known(&number)) }))
    }

    async fn check_number(
        &self,
        request: Request<v1::CheckNumberRequest>,
    ) -> Result<Response<v1::CheckNumberResponse>, Status> {
        let acting = acting_on(&self.admin, &request, "number.check", |asked| ("number", &asked.name, "")).await?;
        let word = convert::word(request.into_inner().name)?;
        let checked = self.admin.check_number(&acting, &word).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(convert::checked(checked)))
    }

    async fn set_tenant_key(
        &self,
        request: Request<v1::SetTenantKeyRequest>,
    ) -> Result<Response<v1::SetTenantKeyResponse>, Status> {
        let acting = acting(&self.admin, &request, &request.get_ref().reason, ("tenant_key.set", "tenant-key")).await?;
        let (key, etag) = convert::tenant_key(request.into_inner())?;
        let stored = self.admin.set_tenant_key(&acting, key, etag).await.map_err(|error| of_admin(&error))?;
        let etag = stored.map(|etag| etag.to_string()).unwrap_or_default();
        Ok(Response::new(v1::SetTenantKeyResponse { stored: stored.is_some(), etag }))
    }
}

fn named(number: &Option<v1::NumberSettings>) -> &str {
    number.as_ref().map_or("", |number| &number.name)
}
