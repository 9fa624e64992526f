//! Calls of both kinds, and leads.

use serde_json::json;

use super::{NOW, as_it_came, at, event};
use crate::domain::inbound::{Call, Happening, Lead, LeadField};

#[test]
fn calls_are_flat() {
    let body = json!({
        "event": "call.ended", "callId": "call_5521", "externalCallId": "wacid.QQ11", "direction": "INBOUND",
        "status": "COMPLETED", "from": "+5521987650001", "to": "+552133334444", "timestamp": "2027-01-13T10:00:41.000Z",
        "duration": 38, "numberId": "wn_88aa", "recorded": false,
    });
    let expected = Call {
        call_id: "call_5521".to_owned(),
        external_id: "wacid.QQ11".to_owned(),
        direction: "INBOUND".to_owned(),
        status: "COMPLETED".to_owned(),
        from: "+5521987650001".to_owned(),
        to: "+552133334444".to_owned(),
        seconds: Some(38),
        extra: r#"{"recorded":false}"#.to_owned(),
    };
    assert_eq!(event(&body), at("call.ended", "2027-01-13T10:00:41Z", Happening::Call(expected)));

    let body = json!({
        "event": "call.permission_updated", "callId": null, "direction": null, "status": "TEMPORARY", "duration": -1,
        "from": "+5521987650001", "timestamp": "2027-01-13T10:00:41.000Z",
    });
    let expected = Call {
        status: "TEMPORARY".to_owned(),
        from: "+5521987650001".to_owned(),
        extra: r#"{"duration":-1}"#.to_owned(),
        ..Call::default()
    };
    assert_eq!(event(&body), at("call.permission_updated", "2027-01-13T10:00:41Z", Happening::Call(expected)));

    let enveloped = json!({ "event": "call.ringing", "callId": "c1", "data": { "status": "RINGING", "callId": "c2" } });
    // What stands in both is told once, and kept once.
    let extra = r#"{"data":{"callId":"c2"}}"#.to_owned();
    let expected = Call { call_id: "c1".to_owned(), status: "RINGING".to_owned(), extra, ..Call::default() };
    assert_eq!(event(&enveloped), at("call.ringing", NOW, Happening::Call(expected)));
}

#[test]
fn calls_of_the_other_program_are_written_with_capitals() {
    let body = json!({ "event": "CallTerminate", "instance": "loja", "data": {
        "CallID": "AB12", "From": "5521987650001@s.whatsapp.net", "CallCreator": "5521987650001:3@s.whatsapp.net",
        "Timestamp": "2027-01-13T07:00:41-03:00", "RemotePlatform": "android", "Reason": "timeout",
    } });
    let extra =
        r#"{"CallCreator":"5521987650001:3@s.whatsapp.net","RemotePlatform":"android","envelope":{"instance":"loja"}}"#;
    let expected = Call {
        external_id: "AB12".to_owned(),
        status: "timeout".to_owned(),
        from: "5521987650001@s.whatsapp.net".to_owned(),
        extra: extra.to_owned(),
        ..Call::default()
    };
    assert_eq!(event(&body), at("CallTerminate", "2027-01-13T10:00:41Z", Happening::Call(expected)));
}

#[test]
fn a_lead() {
    let mut body = json!({ "event": "lead.received", "data": {
        "leadId": "lead_71", "leadgenId": 880_012_345, "whatsappNumberId": "wn_88aa", "pageId": "1011", "pageName": "Loja",
        "formId": "2022", "platform": "ig", "isOrganic": false, "createdAt": "2027-01-13T11:00:00.000Z",
        "fullName": "Caio", "email": "caio@example.test", "phone": "5521987650009", "consentGiven": null,
        "fields": [
            { "key": "full_name", "label": "Nome", "values": ["Caio"] },
            { "key": "sizes", "label": null, "values": ["M", 42] },
        ],
    } });
    let expected = Lead {
        lead_id: "lead_71".to_owned(),
        leadgen_id: "880012345".to_owned(),
        page_id: "1011".to_owned(),
        form_id: "2022".to_owned(),
        platform: "ig".to_owned(),
        full_name: "Caio".to_owned(),
        email: "caio@example.test".to_owned(),
        phone: "5521987650009".to_owned(),
        organic: Some(false),
        consent: None,
        fields: vec![
            LeadField { key: "full_name".to_owned(), label: "Nome".to_owned(), values: vec!["Caio".to_owned()] },
            LeadField { key: "sizes".to_owned(), label: String::new(), values: vec!["M".to_owned(), "42".to_owned()] },
        ],
        extra: r#"{"pageName":"Loja"}"#.to_owned(),
    };
    let told = |lead: &Lead| at("lead.received", "2027-01-13T11:00:00Z", Happening::Lead(Box::new(lead.clone())));
    assert_eq!(event(&body), told(&expected));

    // An answer of another shape is read as far as it goes, and kept whole.
    let odd =
        json!([{ "key": "full_name", "label": "Nome", "values": ["Caio"] }, { "key": "sizes", "values": ["M", {}] }]);
    body["data"]["fields"] = odd.clone();
    let mut fields = expected.fields.clone();
    fields[1].values.pop();
    let extra = json!({ "pageName": "Loja", "fields": odd }).to_string();
    assert_eq!(event(&body), told(&Lead { fields, extra, ..expected }));
}

#[test]
fn events_of_others_are_kept_as_they_came() {
    let of_a_line = json!({
        "id": "evt_pl_1", "event": "phone_line.purchased", "createdAt": "2027-01-14T08:00:00.000Z",
        "data": { "lineId": "pl_3", "number": "+551140001234", "name": "Linha 3" },
    });
    assert_eq!(event(&of_a_line), as_it_came("phone_line.purchased", "2027-01-14T08:00:00Z", &of_a_line));
    let upsert = json!({ "event": "messages.upsert", "instance": "loja", "data": { "key": { "id": "3EB0" } } });
    assert_eq!(event(&upsert), as_it_came("messages.upsert", NOW, &upsert));
    let flow =
        json!({ "event": "flow.response_received", "data": { "flowToken": "t", "timestamp": 1_799_762_404_000_i64 } });
    assert_eq!(event(&flow), as_it_came("flow.response_received", "2027-01-12T14:00:04Z", &flow));
}
