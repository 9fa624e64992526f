//! Answers that get lost, and processes that begin in the middle of a change.

use super::*;

#[tokio::test]
async fn a_lost_answer_is_made_good_by_the_account_wide_key() {
    for shown in [true, false] {
        let house = House::new(true).await;
        let control = house.world.double.control();
        control.set_switches(sandbox::Switches { reveal_keys: shown, ..control.switches() });
        house.fault(FaultKind::DropReply);
        let old = house.now();
        let answer = house.rotate().await;
        assert!(matches!(answer, Err(AdminError::Unavailable(_))), "{answer:?}");
        let new = house.until(KeyState::Settled).await;
        assert_eq!(new.generation, 2);
        assert_eq!((house.standing(&old.key).await, house.standing(&new.key).await), (401, 200), "shown: {shown}");
        // One that is not shown is changed once more.
        assert_eq!(house.changes_asked_for(), if shown { 1 } else { 2 });
        assert_eq!(house.audit().await, told([(ROTATE, "begun", ""), (RECOVER, "done", "2")]));
        house.assert_sends().await;
        house.end().await;
    }
}

#[tokio::test]
async fn without_the_account_wide_key_a_lost_answer_loses_the_key() {
    let mut house = House::new(false).await;
    house.fault(FaultKind::DropReply);
    let answer = house.rotate().await;
    assert!(matches!(answer, Err(AdminError::Unavailable(_))), "{answer:?}");
    house.until(KeyState::Lost).await;
    // It is known to be lost after a restart, and told once.
    house = house.again(false).await;
    assert_eq!(house.now().key_state(), KeyState::Lost);
    assert_eq!(house.audit().await, told([(ROTATE, "begun", ""), (RECOVER, "lost", "")]));
    let answer = house.rotate().await;
    assert!(matches!(answer, Err(AdminError::NotNow(_))), "{answer:?}");
    // With an account-wide key it is found again.
    let tenant_key = TenantKey::from_secret(SecretString::from(house.world.double.account().tenant_key)).unwrap();
    house.gateway.keys().set_tenant_key(Some(tenant_key));
    let found = house.until(KeyState::Settled).await;
    assert_eq!((found.generation, house.standing(&found.key).await), (2, 200));
    house.assert_sends().await;
    house.end().await;
}

#[tokio::test]
async fn a_lost_question_changes_nothing() {
    for account_wide in [true, false] {
        let house = House::new(account_wide).await;
        house.fault(FaultKind::Reset);
        let old = house.now();
        let answer = house.rotate().await;
        assert!(matches!(answer, Err(AdminError::Unavailable(_))), "{answer:?}");
        let same = house.until(KeyState::Settled).await;
        assert_eq!((same.generation, same.key.expose()), (1, old.key.expose()), "account-wide key: {account_wide}");
        assert_eq!(house.audit().await, told([(ROTATE, "begun", ""), (RECOVER, "unchanged", "")]));
        house.assert_sends().await;
        assert_eq!(house.rotate().await.unwrap().generation, 2);
        house.end().await;
    }
}

/// As a process leaves it that dies after it has begun: before it asks, or after the key was changed.
#[tokio::test]
async fn a_change_that_an_earlier_process_began_is_brought_to_its_end() {
    for (account_wide, changed, state, generation) in [
        (true, false, KeyState::Settled, 1),
        (true, true, KeyState::Settled, 2),
        (false, false, KeyState::Settled, 1),
        (false, true, KeyState::Lost, 1),
    ] {
        let case = format!("account-wide key: {account_wide}, changed: {changed}");
        let world = World::new().await;
        let mut settings = settings_of(&world, account_wide);
        // So that it finds nothing out.
        settings.upstream.base_url = "http://127.0.0.1:1".to_owned();
        let house = House::open(world, settings).await;
        let begun = Sources::system().now() - Duration::from_secs(60);
        let half = Rotation { begun, actor: "somebody".to_owned(), lost: false };
        house.register(Number { rotation: Some(half), ..house.number() }).await;
        if changed {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let url = format!("{}/v1/api-keys/regenerate", house.world.double.base_url());
            let answer = http.post(url).header("x-api-key", house.now().key.expose()).send().await.unwrap();
            assert_eq!(answer.status(), 201);
        }
        let house = house.again(account_wide).await;
        let number = house.until(state).await;
        assert_eq!(number.generation, generation, "{case}");
        if state == KeyState::Settled {
            assert_eq!(house.standing(&number.key).await, 200, "{case}");
            house.assert_sends().await;
        }
        house.end().await;
    }
}
