//! `pilotgate serve`: what it refuses, and how it ends.

use std::{fs, os::unix::fs::PermissionsExt};

use pilotgate::{proto::v1::stream_status_updates_response::Frame, sandbox};

use crate::support::{Place, READER, from_earliest, reason_of, run, text};

/// What `serve` says about a configuration.
fn refusal(place: &Place, config: &str) -> String {
    let file = place.write("refused.toml", config);
    let (code, said) = run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    said
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_everything_that_is_wrong() {
    let place = Place::new(sandbox::Options::default(), "").await;
    let said = refusal(&place, "[grcp]\nlisten = \"127.0.0.1:0\"\n");
    assert!(said.contains("unknown setting grcp; known here: grpc, admin, http, upstream"), "{said}");
    let said = refusal(
        &place,
        "[upstream]\nbase_url = \"http://pilotstatus.example\"\n[streams]\npage = 0\n\
         [[numbers]]\nname = \"Shop\"\nkey = { env = \"PILOTGATE_TEST_UNSET\" }\n\
         [[callers]]\nname = \"orders\"\ntoken_hashes = [\"abc\"]\n\
         [[callers.grants]]\nnumber = \"nope\"\npermissions = [\"send\"]\n",
    );
    for problem in [
        "upstream.base_url: must be https",
        "streams.page: must be 1 to 100000",
        "number \"Shop\": name: must be 1 to 63 characters",
        "number \"Shop\": key: the environment has no variable PILOTGATE_TEST_UNSET",
        "caller \"orders\": token_hashes: must be a SHA-256",
        "caller \"orders\": grants: there is no number \"nope\"",
    ] {
        assert!(said.contains(problem), "{problem:?} is missing in\n{said}");
    }
    let (code, said) = run(&["serve", "--config", "/nonexistent.toml"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("/nonexistent.toml is not a readable file"), "{said}");
}

#[tokio::test]
async fn a_key_may_stand_only_in_a_file_of_its_owner() {
    let place = Place::new(sandbox::Options::default(), "").await;
    let config = "[[numbers]]\nname = \"shop\"\nkey = \"ps_inline_0123456789\"\n";
    let file = place.write("inline.toml", config);
    assert!(pilotgate::config::load(&file).is_ok());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let (code, said) = run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("chmod 600"), "{said}");
    assert!(!said.contains("ps_inline"), "{said}");
}

// On threads of its own, since the client has to answer the gateway's farewell while the test waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_directory_or_port_is_refused() {
    let place = Place::new(sandbox::Options::default(), "").await;
    let gateway = place.serve();
    drop(place.client().await);
    let same = fs::read_to_string(place.path("pilotgate.toml")).unwrap();
    assert!(refusal(&place, &same).contains(&format!("cannot listen on {}", place.grpc)));
    let elsewhere =
        same.replace(&place.grpc.to_string(), "127.0.0.1:0").replace(&place.http.to_string(), "127.0.0.1:0");
    let said = refusal(&place, &elsewhere);
    assert!(said.contains("in use by another pilotgate") && said.contains("data"), "{said}");
    gateway.signal("TERM");
    assert!(gateway.wait().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_and_a_second_one_ends_at_once() {
    let place = Place::new(sandbox::Options::default(), "").await;
    let gateway = place.serve();
    let mut client = place.client().await;
    client.send_message(text(READER, "r-1")).await.unwrap();
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    frames.message().await.unwrap();
    gateway.signal("TERM");
    let mut last = None;
    let ended = loop {
        match frames.message().await {
            Ok(Some(response)) => last = response.frame,
            Ok(None) => panic!("ended without a reason"),
            Err(status) => break status,
        }
    };
    assert!(matches!(last, Some(Frame::Drain(_))), "{last:?}");
    assert_eq!(reason_of(&ended), "DRAINING");
    assert!(gateway.wait().success());

    // A send that Pilot Status sits on holds up the orderly end; the second signal does not wait for it.
    let slow = serde_json::json!({ "slow_answer_ms": 15_000 });
    place.double.control().patch_switches(slow.as_object().unwrap()).unwrap();
    let gateway = place.serve();
    let mut client = place.client().await;
    let stuck = tokio::spawn(async move { client.send_message(text("+5511987650016", "r-2")).await });
    while !place.double.control().messages().iter().any(|seen| seen.recipient.ends_with("0016")) {
        tokio::task::yield_now().await;
    }
    gateway.signal("TERM");
    while place.log().matches("asked to end").count() < 2 {
        tokio::task::yield_now().await;
    }
    gateway.signal("TERM");
    let status = tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap();
    assert_eq!(status.code(), Some(130));
    stuck.await.unwrap().unwrap_err();
}
