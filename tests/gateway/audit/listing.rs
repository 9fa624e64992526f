//! Listing the log: filters, pages, and who may.

use pilotgate::proto::admin::v1::{ListAuditEntriesRequest, VerifyAuditChainRequest};
use tonic::Code;

use super::{KEEPER, REVIEWER, audit_client, config, verified, whole};
use crate::support::{
    AUDITOR_TOKEN, OTHER_TOKEN, READER, TOKEN, World, client, client_as, error_of, in_seconds, send, text,
};

#[tokio::test]
async fn pages_follow_each_other_both_ways_and_filters_narrow() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut billing) = (client(&gateway).await, client_as(&gateway, Some(OTHER_TOKEN)).await);
    let mut ids = Vec::new();
    for turn in 0..7 {
        let sender = if turn % 3 == 0 { &mut billing } else { &mut orders };
        ids.push(send(sender, text(READER, "x")).await);
    }
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    for (oldest_first, after_sequence, expected) in [
        (true, 0, vec![1, 2, 3, 4, 5, 6, 7]),
        (false, 0, vec![7, 6, 5, 4, 3, 2, 1]),
        (true, 4, vec![5, 6, 7]),
        (false, 4, vec![7, 6, 5]),
    ] {
        let mut request = ListAuditEntriesRequest { page_size: 3, oldest_first, after_sequence, ..Default::default() };
        let mut seen = Vec::new();
        loop {
            let page = reviewer.list_audit_entries(request.clone()).await.unwrap().into_inner();
            assert!(page.entries.len() <= 3);
            seen.extend(page.entries.iter().map(|entry| entry.sequence));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen, expected, "oldest first: {oldest_first}, after {after_sequence}");
    }
    let all = || ListAuditEntriesRequest { oldest_first: true, ..Default::default() };
    let narrowed: [(ListAuditEntriesRequest, &[i64]); 8] = [
        (ListAuditEntriesRequest { actor: "billing".to_owned(), ..all() }, &[1, 4, 7]),
        (ListAuditEntriesRequest { subject: format!("message/{}", ids[1]), ..all() }, &[2]),
        (ListAuditEntriesRequest { action: "message".to_owned(), page_size: 2, ..all() }, &[1, 2]),
        (ListAuditEntriesRequest { action: "mess*".to_owned(), ..all() }, &[]),
        (ListAuditEntriesRequest { action: "messag".to_owned(), ..all() }, &[]),
        (ListAuditEntriesRequest { start_time: in_seconds(60), ..all() }, &[]),
        (ListAuditEntriesRequest { end_time: in_seconds(-60), ..all() }, &[]),
        (
            ListAuditEntriesRequest { start_time: in_seconds(-60), end_time: in_seconds(60), ..all() },
            &[1, 2, 3, 4, 5, 6, 7],
        ),
    ];
    for (request, expected) in narrowed {
        let page = reviewer.list_audit_entries(request.clone()).await.unwrap().into_inner();
        let seen: Vec<_> = page.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(seen, expected, "{request:?}");
    }
    let found = verified(&mut reviewer).await;
    let last = whole(&mut reviewer).await.pop().unwrap();
    assert_eq!((found.intact, found.entries, found.first_sequence), (true, 7, 1));
    assert_eq!((found.last_sequence, found.last_link), (7, last.link));
    world.end((orders, billing, reviewer), gateway).await;
}

#[tokio::test]
async fn a_wrong_list_is_refused_with_all_that_is_wrong() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut sender = client(&gateway).await;
    for _ in 0..2 {
        send(&mut sender, text(READER, "x")).await;
    }
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let wrong = ListAuditEntriesRequest {
        page_size: -1,
        start_time: in_seconds(0),
        end_time: in_seconds(0),
        actor: "x".repeat(301),
        action: " ".to_owned(),
        after_sequence: -1,
        ..Default::default()
    };
    let told = error_of(reviewer.list_audit_entries(wrong).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let expected = [
        ("page_size", "must not be negative"),
        ("end_time", "must lie after start_time"),
        ("after_sequence", "must not be negative"),
        ("actor", "must be at most 300 characters"),
        ("action", "is required and must not be blank"),
    ];
    assert_eq!(told.violations, expected.map(|(field, text)| (field.to_owned(), text.to_owned())));

    let first = ListAuditEntriesRequest { page_size: 1, ..Default::default() };
    let page_token = reviewer.list_audit_entries(first.clone()).await.unwrap().into_inner().next_page_token;
    let with = |page_token: &str, actor: &str| ListAuditEntriesRequest {
        page_token: page_token.to_owned(),
        actor: actor.to_owned(),
        ..first.clone()
    };
    for (request, cause) in [(with("nonsense", ""), "not_ours"), (with(&page_token, "orders"), "other_filter")] {
        let told = error_of(reviewer.list_audit_entries(request).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
        assert_eq!(told.metadata["cause"], cause);
    }
    assert_eq!(reviewer.list_audit_entries(with(&page_token, "")).await.unwrap().into_inner().entries[0].sequence, 1);
    world.end((sender, reviewer), gateway).await;
}

#[tokio::test]
async fn nobody_without_the_right_reads_it_and_each_try_is_in_it() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    for (token, code, reason) in [
        (None, Code::Unauthenticated, "CREDENTIAL_MISSING"),
        (Some("pgt_nobody"), Code::Unauthenticated, "CREDENTIAL_INVALID"),
        (Some(TOKEN), Code::PermissionDenied, "NOT_ADMINISTRATOR"),
        (Some(AUDITOR_TOKEN), Code::PermissionDenied, "NOT_ADMINISTRATOR"),
        (Some(KEEPER), Code::PermissionDenied, "NOT_ADMINISTRATOR"),
    ] {
        let mut client = audit_client(&gateway, token).await;
        let list = error_of(client.list_audit_entries(ListAuditEntriesRequest::default()).await);
        let verify = error_of(client.verify_audit_chain(VerifyAuditChainRequest {}).await);
        for told in [list, verify] {
            assert_eq!((told.code, told.reason.as_str()), (code, reason), "{token:?}");
            assert_eq!(
                told.metadata.get("right").map(String::as_str),
                (reason == "NOT_ADMINISTRATOR").then_some("audit.view")
            );
        }
    }
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let entries = whole(&mut reviewer).await;
    let seen: Vec<_> = entries.iter().map(|entry| (entry.actor.as_str(), entry.action.as_str())).collect();
    let tries = ["orders", "auditor", "keeper"].map(|actor| [(actor, "audit.list"), (actor, "audit.verify")]);
    assert_eq!(seen, tries.concat());
    for entry in &entries {
        let told = (entry.subject.as_str(), entry.outcome.as_str(), entry.source_address.as_str());
        assert_eq!(told, ("audit/log", "refused", "127.0.0.1"));
        assert!(entry.credential.starts_with("token:"), "{}", entry.credential);
        assert_eq!(entry.details["right"], "audit.view");
        assert!([TOKEN, AUDITOR_TOKEN, KEEPER].iter().all(|token| !entry.text.contains(token)));
    }
    world.end(reviewer, gateway).await;
}
