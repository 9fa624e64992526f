//! What the gateway has now.

use crate::{
    cli::{connect::ConnectArgs, errors::CliError},
    proto::admin::v1::{Caller, ListCallersRequest, ListNumbersRequest, Number},
};

/// All numbers and callers, in the order of their names.
#[derive(Default)]
pub(in crate::cli) struct Present {
    pub(in crate::cli) numbers: Vec<Number>,
    pub(in crate::cli) callers: Vec<Caller>,
}

/// Asks for all of them.
pub(in crate::cli) async fn load(connect: &ConnectArgs) -> Result<Present, CliError> {
    let mut present = Present::default();
    let (mut numbers, mut callers) = (connect.numbers()?, connect.callers()?);
    let mut asked = ListNumbersRequest { page_size: 1000, ..Default::default() };
    loop {
        let page = numbers.list_numbers(connect.request(asked.clone())).await?.into_inner();
        present.numbers.extend(page.numbers);
        if page.next_page_token.is_empty() {
            break;
        }
        asked.page_token = page.next_page_token;
    }
    let mut asked = ListCallersRequest { page_size: 1000, ..Default::default() };
    loop {
        let page = callers.list_callers(connect.request(asked.clone())).await?.into_inner();
        present.callers.extend(page.callers);
        if page.next_page_token.is_empty() {
            break;
        }
        asked.page_token = page.next_page_token;
    }
    Ok(present)
}
