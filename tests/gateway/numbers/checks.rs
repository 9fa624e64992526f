//! Whether a number could send.

use pilotgate::{
    proto::admin::v1::{self as admin, Finding},
    sandbox::{Fault, FaultKind, NumberChange, NumberState, On},
};

use super::{OPERATOR, WATCHMAN, config, numbers, register, second, shop, world};
use crate::support::error_of;

#[tokio::test]
async fn what_is_found_is_told_question_by_question_and_is_no_error() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut operator, mut watchman) = (numbers(&gateway, OPERATOR).await, numbers(&gateway, WATCHMAN).await);
    let check = |name: &str| admin::CheckNumberRequest { name: name.to_owned() };
    assert_eq!(error_of(watchman.check_number(check("shop")).await).reason, "NOT_REGISTERED");
    // Known by nothing but its key, which leads to its id.
    let bare = admin::RegisterNumberRequest { upstream_id: String::new(), phone_number: String::new(), ..shop(&world) };
    register(&mut operator, bare).await;
    let well = admin::CheckNumberResponse {
        name: "shop".to_owned(),
        key_accepted: Finding::Yes.into(),
        connected: Finding::Yes.into(),
        raw_state: "OPEN".to_owned(),
        sendable: Finding::Yes.into(),
        paid: Finding::Yes.into(),
        ..Default::default()
    };
    assert_eq!(watchman.check_number(check("shop")).await.unwrap().into_inner(), well);

    let id = second(&world).id;
    let ill = NumberChange { extra_charge_unpaid: Some(true), state: Some(NumberState::Close) };
    world.double.control().change_number(&id, &ill).unwrap();
    let found = watchman.check_number(check("shop")).await.unwrap().into_inner();
    assert!(found.unpaid_since.is_some());
    let ill = admin::CheckNumberResponse {
        connected: Finding::No.into(),
        raw_state: "CLOSE".to_owned(),
        sendable: Finding::No.into(),
        paid: Finding::No.into(),
        unpaid_since: found.unpaid_since,
        ..well.clone()
    };
    assert_eq!(found, ill);

    let down = Fault { status: Some(503), ..Fault::new(On::Any, FaultKind::Http) };
    world.double.control().add_fault(down).unwrap();
    let found = watchman.check_number(check("shop")).await.unwrap().into_inner();
    let asked = [found.key_accepted(), found.connected(), found.sendable(), found.paid()];
    assert_eq!(asked, [Finding::Unknown; 4]);
    assert!(found.unknown_reason.contains("503"), "{}", found.unknown_reason);
    world.double.control().clear_faults();

    let dead = admin::SetNumberKeyRequest {
        name: "shop".to_owned(),
        key: "ps_nobody-has-this-key-0001".to_owned(),
        ..Default::default()
    };
    operator.set_number_key(dead).await.unwrap();
    let found = watchman.check_number(check("shop")).await.unwrap().into_inner();
    let asked = [found.key_accepted(), found.connected(), found.sendable(), found.paid()];
    assert_eq!(asked, [Finding::No, Finding::Unknown, Finding::Unknown, Finding::Unknown]);
    world.end((operator, watchman), gateway).await;
}
