//! What every store promises, as checks that run against any adapter.
//!
//! A check gets a store with nothing in it. When it is through, the store is closed and opened again, and must tell
//! exactly what it told before.

pub mod accept;
pub mod audit;
pub mod checks;
pub mod close;
pub mod doubts;
pub mod expiry;
pub mod inbound;
pub mod list;
pub mod log;
pub mod outbox;
pub mod quotas;
pub mod read;
pub mod record;
pub mod registry;
pub mod settle;
pub mod subscriptions;
pub mod trim;
pub mod undecided;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use pilotgate::{
    domain::{
        event::Event,
        message::Message,
        position::{Epoch, Position},
    },
    store::{AuditEnds, AuditRecord, DueChecks, Record, Store},
};

use crate::fixtures;

/// A place where a store is kept.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Opens the store that is kept there; a new one the first time.
    async fn open(&self) -> Arc<dyn Store>;
}

/// One test for each check, so that a failure names the promise. The expression makes a new place.
macro_rules! conformance {
    ($backend:expr) => {
        conformance! { @store $backend,
            accept::a_new_message_is_pending_with_one_entry,
            accept::the_same_request_is_answered_with_its_message,
            accept::another_request_under_a_used_id_is_told_whose_it_is,
            accept::a_request_id_counts_within_its_caller,
            accept::without_request_id_every_request_is_new,
            accept::a_released_request_id_stands_for_whatever_comes_next,
            accept::a_request_id_tells_what_it_stands_for,
            accept::of_concurrent_requests_under_one_id_one_is_new,
            settle::an_attempt_is_counted_named_and_told,
            settle::a_further_attempt_keeps_what_the_first_brought,
            settle::a_known_outcome_is_counted_and_not_told,
            settle::an_unknown_word_settles_too,
            settle::what_does_not_exist_is_not_settled,
            undecided::what_is_decided_is_not_listed,
            undecided::a_row_is_hastened_unless_somebody_works_on_it,
            undecided::a_moved_subscription_is_acknowledged_again_once_it_is_carried,
            undecided::subscriptions_are_read_in_order,
            subscriptions::a_subscription_resumes_behind_what_was_acknowledged,
            subscriptions::a_subscription_belongs_to_one_filter,
            subscriptions::callers_have_so_many_subscriptions_each,
            subscriptions::concurrent_acknowledgements_end_at_the_latest,
            subscriptions::unused_subscriptions_go,
            subscriptions::many_unused_subscriptions_go_in_steps,
            record::a_fact_is_appended_once,
            record::an_early_fact_is_kept_once,
            record::early_facts_join_in_the_order_in_which_they_came,
            record::an_early_fact_brings_ids_that_lead_to_further_ones,
            record::a_recorded_fact_brings_ids_that_lead_to_early_ones,
            record::an_upstream_id_is_never_overruled_by_other_ids,
            record::early_facts_keep_to_their_number,
            record::an_early_fact_that_is_repeated_keeps_the_earliest_time,
            record::a_delivery_after_a_failure_is_told_as_a_correction,
            record::a_message_known_by_our_id_takes_facts_and_ids,
            record::times_are_told_as_they_are_stored,
            record::facts_recorded_together_appear_together,
            inbound::an_event_is_told_once,
            inbound::events_and_updates_stand_in_the_order_in_which_they_came,
            inbound::what_is_told_at_two_numbers_is_two_events,
            inbound::an_answer_names_the_message_it_answers,
            inbound::an_event_whose_entry_was_trimmed_is_news_again,
            inbound::what_waits_too_long_is_told_once_and_goes_on_waiting,
            inbound::what_is_told_as_unattributed_comes_oldest_first,
            inbound::a_claim_is_told_as_one,
            read::a_message_is_found_by_each_of_its_ids,
            read::an_id_names_the_newest_message_of_its_number,
            read::of_the_messages_asked_for_those_that_exist_are_given,
            read::pending_messages_come_oldest_first,
            list::a_callers_messages_are_listed_as_they_stand,
            list::a_list_keeps_to_its_range_and_limit,
            doubts::a_doubt_is_settled_by_what_looks_like_it,
            doubts::a_doubt_that_comes_later_finds_what_looks_like_it,
            doubts::what_may_be_about_two_settles_none,
            doubts::what_was_before_the_message_is_not_about_it,
            doubts::one_reading_of_a_message_from_before_is_not_about_it,
            doubts::what_is_only_claimed_keeps_no_proven_fact_from_its_doubt,
            doubts::what_only_its_likeness_names_brings_no_id_unless_it_is_proven,
            checks::an_open_message_is_due_a_while_after_its_last_news,
            checks::a_message_that_leaves_later_is_due_after_that,
            checks::the_longest_due_come_first_and_keep_to_their_number,
            checks::what_was_read_is_folded_in_and_what_brought_nothing_is_put_off,
            checks::news_that_come_while_it_is_read_are_not_put_off,
            checks::a_claim_is_told_by_nobody_and_due_at_once,
            checks::other_news_leave_a_claim_and_do_not_put_it_off,
            checks::a_claim_that_is_repeated_keeps_its_turn_and_its_count,
            checks::claims_are_half_of_what_is_due_at_most,
            checks::a_claim_waits_for_its_message_and_is_due_when_that_is_known,
            checks::the_time_of_a_claim_is_not_that_of_the_fact_that_proves_it,
            checks::a_claim_about_a_doubt_settles_it_by_its_reading_alone,
            outbox::a_queued_message_is_due_at_once,
            outbox::a_queued_request_is_answered_with_its_message,
            outbox::of_each_number_and_recipient_only_the_oldest_is_due,
            outbox::a_lease_puts_its_row_off,
            outbox::a_limit_leaves_the_rest_due,
            outbox::a_lease_without_an_answer_leaves_a_question,
            outbox::whoever_was_overtaken_changes_nothing,
            outbox::an_attempt_that_did_not_arrive_leaves_no_trace,
            outbox::an_attempt_that_may_have_arrived_stays_the_first_one,
            outbox::an_accepted_message_joins_its_early_facts,
            outbox::ended_leases_are_due_at_once,
            outbox::the_oldest_body_is_told,
            expiry::a_row_that_nobody_works_on_is_withdrawn,
            expiry::a_withdrawn_message_joins_its_early_facts,
            expiry::what_has_expired_fails_and_makes_way,
            expiry::a_doubt_that_has_expired_stays_a_doubt,
            expiry::a_lease_keeps_its_row_until_it_is_forsaken,
            expiry::a_message_that_has_moved_on_is_told_nothing_by_its_expiry,
            expiry::the_limit_leaves_the_rest_expired,
            log::pages_follow_each_other_without_holes,
            log::a_time_leads_to_the_entry_before,
            log::the_oldest_entry_is_known,
            log::the_head_never_runs_ahead_of_what_can_be_read,
            log::concurrent_writers_all_get_a_place_of_their_own,
            trim::entries_go_oldest_first_up_to_a_time,
            trim::a_long_log_goes_in_steps,
            trim::writes_come_in_between_the_steps,
            trim::messages_go_by_their_standing_and_age,
            trim::messages_accepted_out_of_order_go_all_the_same,
            trim::a_message_that_is_gone_is_not_found_and_its_request_id_is_free,
            trim::early_facts_go_oldest_first,
            trim::early_facts_that_go_were_told,
            trim::a_message_that_is_to_be_read_back_for_a_claim_stays,
            trim::what_is_gone_takes_no_room,
            audit::entries_are_numbered_and_chained,
            audit::of_concurrent_writers_each_gets_a_number_of_its_own,
            audit::entries_are_found_by_what_they_say,
            audit::an_attempt_and_its_entry_are_one_commit,
            audit::a_failed_attempt_is_told_with_its_message,
            audit::a_leased_attempt_and_its_entry_are_one_commit,
            audit::an_attempt_that_left_no_answer_is_told,
            audit::the_oldest_entries_go_and_the_rest_hangs_on_their_last_link,
            audit::what_is_young_keeps_what_is_behind_it,
            audit::checkpoints_stay_bounded_and_reach_back,
            registry::a_record_changes_only_from_the_version_that_was_seen,
            registry::a_change_of_several_happens_to_all_or_none,
            registry::of_concurrent_changes_from_one_version_one_is_done,
            registry::bytes_are_sealed_anew_only_where_they_are_what_was_read,
            quotas::a_limit_holds_until_its_window_ends,
            quotas::what_is_not_recorded_counts_nowhere,
            quotas::limits_are_exact_among_concurrent_writers,
            quotas::a_clock_that_is_put_back_gives_nothing_anew,
            quotas::windows_that_are_over_go,
            quotas::limits_are_those_of_a_count,
        }
        conformance! { @place $backend,
            subscriptions::acknowledgements_are_there_after_reopening,
            close::writes_in_the_queue_are_finished,
            close::later_calls_fail,
            close::each_log_has_an_identity_of_its_own,
            audit::the_log_goes_on_after_reopening,
            registry::records_are_there_after_reopening,
            quotas::what_the_outbox_does_not_take_counts_nowhere,
            quotas::what_was_used_outlives_the_process,
            trim::positions_and_times_go_on_where_everything_was_trimmed,
        }
    };
    (@store $backend:expr, $($room:ident::$check:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::conformance::uphold(&$backend, $crate::conformance::$room::$check).await;
        }
    )*};
    (@place $backend:expr, $($room:ident::$check:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::conformance::$room::$check(|| $backend).await;
        }
    )*};
}

/// Runs a check against a new store, then compares what is told before and after closing.
pub async fn uphold(backend: &dyn Backend, check: impl AsyncFn(Arc<dyn Store>)) {
    let store = backend.open().await;
    check(Arc::clone(&store)).await;
    let before = Told::by(&*store).await;
    store.close().await;
    // The handle still lives: closing alone must give the place free.
    let reopened = backend.open().await;
    assert_eq!(Told::by(&*reopened).await, before);
    reopened.close().await;
}

/// Everything that a store tells.
#[derive(Debug, PartialEq)]
struct Told {
    epoch: Epoch,
    cursor_key: [u8; 32],
    head: Position,
    oldest: (Position, Option<Timestamp>),
    log: Vec<Event>,
    messages: Vec<Message>,
    pending: Vec<Message>,
    checks: Vec<DueChecks>,
    records: Vec<Record>,
    audited: Vec<AuditRecord>,
    audit_ends: AuditEnds,
}

impl Told {
    async fn by(store: &dyn Store) -> Self {
        let log = fixtures::log(store).await;
        let mut ids: Vec<_> = log.iter().filter_map(Event::update).map(|update| update.origins.message_id).collect();
        ids.sort();
        ids.dedup();
        let mut messages = store.messages(ids).await.unwrap();
        messages.sort_by_key(|message| message.origins.message_id);
        Self {
            epoch: store.epoch(),
            cursor_key: store.cursor_key(),
            head: *store.head().borrow(),
            oldest: store.oldest().await.unwrap(),
            log,
            messages,
            pending: store.pending(usize::MAX).await.unwrap(),
            checks: vec![
                store.checks(&fixtures::main(), Timestamp::MAX, usize::MAX).await.unwrap(),
                store.checks(&fixtures::number_named("other"), Timestamp::MAX, usize::MAX).await.unwrap(),
            ],
            records: store.records().await.unwrap(),
            audited: audit::entries(store).await,
            audit_ends: store.audit_ends().await.unwrap(),
        }
    }
}
