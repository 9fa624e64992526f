//! Changes that are refused, by the gateway or by Pilot Status: nothing is changed, and everything is written down.

use super::*;

#[tokio::test]
async fn a_no_of_pilot_status_leaves_the_key_as_it_is() {
    for account_wide in [true, false] {
        let house = House::new(account_wide).await;
        let fault = Fault { times: Some(1), status: Some(403), ..Fault::new(On::Keys, FaultKind::Http) };
        let fault = Fault { code: Some("PERMISSION_DENIED".to_owned()), ..fault };
        house.world.double.control().add_fault(fault).unwrap();
        let error = AdminError::Refused(403, "HTTP 403 PERMISSION_DENIED: Injected fault".to_owned());
        assert_eq!(house.rotate().await.unwrap_err(), error);
        let number = house.now();
        assert_eq!((number.generation, number.key_state()), (1, KeyState::Settled));
        let text = "pilot status refused: HTTP 403 PERMISSION_DENIED: Injected fault";
        assert_eq!(house.audit().await, told([(ROTATE, "begun", ""), (ROTATE, "refused", text)]));
        house.assert_sends().await;
        house.end().await;
    }
}

#[tokio::test]
async fn no_other_number_s_key_is_changed_by_mistake() {
    for (id, why) in [
        ("wn_upstream_second", "the key that pilot status shows for its upstream_id is another one"),
        ("wn_nowhere", "pilot status lists no number with its upstream_id"),
    ] {
        let world = World::with(two_numbers()).await;
        let settings = settings_of(&world, true);
        let house = House::open(world, settings).await;
        house.register(Number { upstream_id: Some(id.to_owned()), ..house.number() }).await;
        let AdminError::NotNow(text) = house.rotate().await.unwrap_err() else { panic!("{id}") };
        assert!(text.contains(why), "{text}");
        assert_eq!(house.changes_asked_for(), 0);
        let audit = house.audit().await;
        assert_eq!(audit.len(), 1);
        assert_eq!((audit[0].1.as_str(), audit[0].2.as_str()), ("refused", text.as_str()));
        house.end().await;
    }
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_before_anybody_is_asked() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.numbers[0].name = "declared".to_owned();
    // Two names for one number of the double: neither may stand for the other.
    settings.numbers[0].upstream_id = None;
    settings.numbers[0].phone = None;
    let house = House::open(world, settings).await;
    let rotate = async |name: &str, etag| {
        let name = NumberName::from_text(name).unwrap();
        house.admin().rotate_number_key(&acting(), &name, etag).await.unwrap_err()
    };
    assert_eq!(rotate("declared", None).await, AdminError::Declared("number/declared".to_owned()));
    assert_eq!(rotate(NUMBER, None).await, AdminError::NotFound(format!("number/{NUMBER}")));
    let stored = house.register(Number { upstream_id: None, ..house.number() }).await;
    let Source::Stored { version, .. } = stored.source else { panic!("{stored:?}") };
    let error = rotate(NUMBER, Some(pilotgate::admin::Etag(version - 1))).await;
    assert_eq!(error, AdminError::Changed(format!("number/{NUMBER}")));
    assert_eq!(house.changes_asked_for(), 0);
    let outcomes: Vec<_> = house.audit().await.into_iter().map(|(_, outcome, _)| outcome).collect();
    assert_eq!(outcomes, ["refused", "refused"]);
    let seen = Some(pilotgate::admin::Etag(version));
    let changed = house.admin().rotate_number_key(&acting(), &name(), seen).await.unwrap();
    assert_eq!(changed.generation, 2);
    house.end().await;
}

#[tokio::test]
async fn a_key_in_use_is_not_changed_until_it_is_given_back() {
    let world = World::new().await;
    let mut settings = settings_of(&world, true);
    settings.upstream.timeout = config::settings::Span(Duration::from_millis(100));
    let house = House::open(world, settings).await;
    house.register(house.number()).await;
    let in_use = house.gateway.keys().use_now(&name()).unwrap();
    let error = house.rotate().await.unwrap_err();
    assert!(matches!(&error, AdminError::NotNow(text) if text.contains("did not end in time")), "{error}");
    assert_eq!((house.changes_asked_for(), house.now().key_state()), (0, KeyState::Settled));
    let (changed, ()) = tokio::join!(house.rotate(), async {
        // It has been asked for: whoever comes now waits.
        until(|| house.gateway.keys().use_now(&name()).is_err()).await;
        assert_eq!(house.changes_asked_for(), 0);
        drop(in_use);
    });
    assert_eq!(changed.unwrap().generation, 2);
    house.end().await;
}
