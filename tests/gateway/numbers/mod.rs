//! NumberService: numbers that are registered while the gateway runs.

mod changes;
mod checks;
mod imports;
mod records;

use pilotgate::{
    config::Config,
    domain::{
        caller::{Caller, Token},
        principal::AdminRight,
        secret::TokenHash,
    },
    proto::{
        admin::v1::{self as admin, number_service_client::NumberServiceClient},
        v1,
    },
    sandbox,
    server::Gateway,
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use crate::support::{Bearer, READER, World, bearer, text, two_numbers};

pub const OPERATOR: &str = "pgt_operator-token-for-tests";
pub const WATCHMAN: &str = "pgt_watchman-token-for-tests";

pub type Numbers = NumberServiceClient<InterceptedService<Channel, Bearer>>;

/// A world whose second number nobody has registered.
pub async fn world() -> World {
    World::with(two_numbers()).await
}

/// A configuration with one who may do everything with numbers, and one who may look.
pub fn config(world: &World) -> Config {
    let mut config = world.config();
    for (name, token, right) in [("operator", OPERATOR, "numbers.manage"), ("watchman", WATCHMAN, "numbers.view")] {
        let admin: Vec<AdminRight> = vec![right.parse().unwrap()];
        let tokens = vec![Token::of(TokenHash::of(token))];
        config.callers.push(Caller { tokens, admin, ..Caller::named(name.to_owned().try_into().unwrap()) });
    }
    config
}

pub async fn numbers(gateway: &Gateway, token: &'static str) -> Numbers {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    NumberServiceClient::with_interceptor(channel, bearer(Some(token)))
}

/// The second number of the double.
pub fn second(world: &World) -> sandbox::AccountNumber {
    world.double.account().numbers[1].clone()
}

/// It, to be registered as `shop`.
pub fn shop(world: &World) -> admin::RegisterNumberRequest {
    let number = second(world);
    admin::RegisterNumberRequest {
        name: "shop".to_owned(),
        key: number.key,
        upstream_id: number.id,
        phone_number: number.phone,
        reason: "a new shop".to_owned(),
        ..Default::default()
    }
}

pub async fn register(numbers: &mut Numbers, request: admin::RegisterNumberRequest) -> admin::Number {
    numbers.register_number(request).await.unwrap().into_inner().number.unwrap()
}

pub async fn get(numbers: &mut Numbers, name: &str) -> admin::Number {
    let request = admin::GetNumberRequest { name: name.to_owned() };
    numbers.get_number(request).await.unwrap().into_inner().number.unwrap()
}

pub async fn list(numbers: &mut Numbers) -> Vec<admin::Number> {
    numbers.list_numbers(admin::ListNumbersRequest::default()).await.unwrap().into_inner().numbers
}

/// A text from `shop`.
pub fn from_shop(body: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { number: "shop".to_owned(), ..text(READER, body) }
}
