//! Whatever the gateway has can be written and read again without a difference; and what is wrong with a file.

use proptest::{collection, option, prelude::*};
use prost_types::Duration;

use super::{
    file::parse,
    plan::{Action, Manner, plan},
    present::Present,
};
use crate::{
    cli::export,
    proto::admin::v1::{Caller, CallerState, Grant, Number, NumberPace, NumberQuota, NumberState, Quota},
};

fn spans() -> impl Strategy<Value = Option<Duration>> {
    let whole = (3600_i64..400_000_000).prop_map(|seconds| Duration { seconds, nanos: 0 });
    option::of(whole)
}

fn gaps() -> impl Strategy<Value = Option<Duration>> {
    option::of((0_i64..86_400, 1..1_000_000_000_i32).prop_map(|(seconds, nanos)| Duration { seconds, nanos }))
}

fn limits() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
    (option::of(0..=i64::MAX as u64), option::of(0..=i64::MAX as u64))
}

prop_compose! {
    fn number(index: usize)(
        description in any::<String>(),
        told in any::<bool>(),
        rotate_interval in spans(),
        per_second in prop_oneof![Just(0.0), 0.001..100_000.0],
        burst in 1..1_000_000_u32,
        min_gap in gaps(),
        gap_jitter in prop_oneof![Just(0.0), 0.0..10.0],
        (per_minute, per_day) in limits(),
        read_back in 0..4,
    ) -> Number {
        Number {
            name: format!("n{index}"),
            description: description.chars().take(500).collect(),
            upstream_id: if told { format!("wn \"{index}\"\u{7f}") } else { String::new() },
            phone_number: if told { format!("+55119876500{index:02}") } else { String::new() },
            state: NumberState::Enabled.into(),
            rotate_interval,
            pace: Some(NumberPace { per_second, burst, min_gap, gap_jitter }),
            quota: Some(NumberQuota { per_minute, per_day }),
            read_back,
            etag: index.to_string(),
            ..Default::default()
        }
    }
}

fn grant() -> impl Strategy<Value = Grant> {
    let words = || collection::vec("[^\\p{C}]{1,20}", 0..3);
    let number = prop_oneof![Just("*".to_owned()), Just("n0".to_owned())];
    (number, collection::vec(1..=5, 1..4), words(), words()).prop_map(
        |(number, permissions, templates, recipient_prefixes)| Grant {
            number,
            permissions,
            templates,
            recipient_prefixes,
        },
    )
}

prop_compose! {
    fn caller(index: usize)(
        description in any::<String>(),
        identities in 0..3_usize,
        admin in proptest::sample::subsequence(vec!["vault.view", "callers.manage", "numbers.view"], 0..=3).prop_shuffle(),
        grants in collection::vec(grant(), 0..4),
        (per_minute, per_day) in limits(),
    ) -> Caller {
        Caller {
            name: format!("c{index}"),
            description: description.chars().take(500).collect(),
            state: CallerState::Enabled.into(),
            identities: (0..identities).rev().map(|it| format!("mtls:dns:{index}.{it}")).collect(),
            admin_rights: admin.into_iter().map(str::to_owned).collect(),
            grants,
            quota: Some(Quota { per_minute, per_day }),
            etag: index.to_string(),
            ..Default::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_changes_nothing(
        numbers in (number(0), number(1)),
        callers in (caller(0), caller(1)),
    ) {
        let present = Present { numbers: vec![numbers.0, numbers.1], callers: vec![callers.0, callers.1] };
        let text = export::toml(&present.numbers, &present.callers);
        let wishes = parse(&text).map_err(|problems| TestCaseError::fail(format!("{text}\n{problems:?}")))?;
        let items = plan(&wishes, &present, Manner { prune: true, set_keys: true });
        let items = items.map_err(|problems| TestCaseError::fail(format!("{text}\n{problems:?}")))?;
        prop_assert_eq!(items.len(), 4);
        for item in items {
            let changes: Vec<_> = item.changes.iter().map(|it| (it.field, &it.before, &it.after)).collect();
            prop_assert!(item.action == Action::Unchanged, "{}\n{} {:?}", text, item.name, changes);
        }
    }
}

#[test]
fn everything_wrong_with_a_file_is_told_with_its_place() {
    let told = |text: &str| parse(text).err().unwrap_or_default();
    assert_eq!(told("[[numbers]]\nname = 'a'\nspeed = 3\n").len(), 1);
    assert!(
        told("[[numbers]]\nname = 'a'\nspeed = 3\n")[0].starts_with("numbers.0.speed: unknown setting speed; known")
    );
    assert!(told("[grpc]\nlisten = ''\n")[0].starts_with("grpc: unknown setting grpc; known here: numbers, callers"));
    let text = "[[numbers]]\nname = 'A'\nkey = 'ps_secret-in-the-file'\nphone = '12'\nrotate_every = '5m'\n\
                pace = { per_second = 0.0 }\n\
                [[numbers]]\nname = 'b'\nupstream_id = 'x'\n[[numbers]]\nname = 'c'\nupstream_id = 'x'\n\
                [[callers]]\nname = 'shop'\nidentities = ['me', 'mtls:dns:a', 'mtls:dns:a']\nadmin = ['all']\n\
                [[callers.grants]]\nnumber = 'b'\npermissions = []\n[[callers]]\nname = 'shop'\n";
    let problems = told(text);
    let begins = [
        "number \"A\": name: ",
        "number \"A\": phone: must be E.164",
        "number \"A\": key: must be a reference such as { file = \"PATH\" }, not the key itself",
        "number \"A\": rotate_every: must be at least 1h",
        "number \"A\": pace: per_second must be 0.001 to 100000",
        "number \"c\": \"x\" already stands for number \"b\"",
        "caller \"shop\": identities: \"me\" must be jwt:",
        "caller \"shop\": admin: \"all\" ",
        "caller \"shop\": grants: on \"b\": permissions must not be empty",
        "caller \"shop\": identities: \"mtls:dns:a\" is there twice",
        "caller \"shop\": is there twice",
    ];
    assert_eq!(problems.len(), begins.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem:?} {begin:?}");
    }
    assert!(!problems.concat().contains("ps_secret"));
}

#[test]
fn a_file_that_does_not_fit_what_is_there_is_refused() {
    let number = |name: &str, upstream_id: &str| Number {
        name: name.to_owned(),
        upstream_id: upstream_id.to_owned(),
        ..Default::default()
    };
    let owner = Caller { name: "owner".to_owned(), identities: vec!["mtls:dns:a".to_owned()], ..Default::default() };
    let present = Present { numbers: vec![number("old", "x"), number("odd", "")], callers: vec![owner] };
    let text = "[[numbers]]\nname = 'new'\nupstream_id = 'x'\n[[callers]]\nname = 'shop'\nidentities = ['mtls:dns:a']\n\
                [[callers.grants]]\nnumber = 'odd'\npermissions = ['send']\n\
                [[callers.grants]]\nnumber = 'none'\npermissions = ['send']\n";
    let problems = |prune| {
        let wishes = parse(text).unwrap_or_default();
        plan(&wishes, &present, Manner { prune, set_keys: false }).err().unwrap_or_default()
    };
    let first = [
        "number \"new\": \"x\" already stands for number \"old\", which the file does not change",
        "number \"new\": key is missing, and the number is not registered yet",
        "caller \"shop\": \"mtls:dns:a\" already stands for caller \"owner\", which the file does not change",
    ];
    let missing = "caller \"shop\": grants: there is no number \"none\"";
    assert_eq!(problems(false), [&first[..], &[missing]].concat());
    let pruned = "caller \"shop\": grants: there is no number \"odd\"";
    assert_eq!(problems(true), [&first[..], &[missing, pruned]].concat());
}
