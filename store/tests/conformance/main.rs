//! One suite for every backend: the promises of [`decisiongraph_store::Store`] as tests.
//!
//! A test is a function of a backend. The list at the end makes one test of it per backend. Statements past the
//! contract ([`backend::Fresh::raw`]) only do things that the store never would: tampering, and changes by future
//! programs.

mod backend;
mod fold;
mod log;

mod appends;
mod builds;
mod changes;
mod commits;
mod drifts;
mod failures;
mod leases;
mod members;
mod moves;
mod pages;
mod pauses;
mod queries;
mod rows;
mod runs;
mod schema;
mod seals;
mod skips;
mod snapshots;
mod splits;
mod strays;

/// Makes a test of every function for one backend.
macro_rules! suite {
    ($backend:ident $kind:ident: $($module:ident [$($test:ident),* $(,)?])*) => {
        mod $backend {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(crate::backend::Blank::$kind).await;
                })*
            })*
        }
    };
}

macro_rules! every_backend {
    ($($list:tt)*) => {
        #[cfg(feature = "sqlite")]
        suite! { sqlite Sqlite: $($list)* }
        #[cfg(feature = "throwaway-postgres")]
        suite! { postgres Postgres: $($list)* }
    };
}

every_backend! {
    schema [
        migrates_twice,
        two_processes_migrate_at_once,
        upstream_goes_on_where_a_fork_was_first,
        a_newer_schema_is_refused,
        a_newer_schema_that_serves_older_programs_is_worked_on,
        rows_of_the_schema_before_are_brought_up,
        without_a_schema_it_says_what_to_run,
    ]
    appends [
        stores_what_was_offered,
        each_gets_its_verdict,
        all_or_nothing_stores_nothing,
        repeats_are_found,
        a_repeat_after_the_finish_is_legal,
        refused_events_draw_no_position,
        a_trace_with_its_last_possible_number_takes_no_more,
        a_reused_event_id_is_a_conflict,
        hostile_ids_are_kept_apart,
        tenants_do_not_meet,
        two_appenders_race_for_one_trace,
        two_appenders_offer_the_same_event,
        numbers_are_drawn_in_order_and_between_given_ones,
        a_repeat_finds_the_event_whatever_was_drawn_for_it,
        many_producers_draw_the_numbers_of_one_trace,
        a_review_request_is_stored_and_changes_no_row,
        appends_wake_readers,
    ]
    pages [
        pages_have_two_limits,
        a_large_payload_among_small_ones,
        a_page_is_bounded_by_all_that_it_holds,
        an_event_that_is_too_large_to_hold_is_named_and_not_read,
        heads_are_as_of_a_position,
        history_is_of_types_and_a_position,
        trace_events_page_by_position,
        events_are_chosen_by_type_actor_and_trace,
        positions_are_found_by_id_and_by_count,
        starts_and_finishes_are_listed_backwards,
        last_positions,
        lag_is_counted_to_a_bound,
        tenants_are_listed,
        tenant_heads_are_of_events_and_of_scopes,
        tenants_of_a_stretch_come_by_their_last_event,
        tenants_behind_are_those_with_work_to_do,
        the_mark_is_the_last_position,
    ]
    leases [
        a_scope_is_made_at_the_origin,
        a_live_owner_keeps_its_scope,
        a_dead_owner_is_taken_over,
        the_same_owner_takes_a_new_epoch,
        a_released_scope_is_free,
        a_late_release_changes_nothing,
        leaving_frees_everything,
        a_name_belongs_to_one_incarnation,
        a_clock_that_is_set_back_freezes_nothing,
        a_lease_is_ended_for_a_process_of_this_machine_that_is_gone,
        two_processes_take_one_scope,
    ]
    members [
        a_node_says_who_it_is,
        a_command_at_work_is_no_member,
        a_node_that_left_or_died_owns_nothing,
        a_node_whose_process_is_gone_is_a_dead_member_until_it_is_forgotten,
        a_cordon_holds_by_name,
        tenants_are_handed_over,
        a_hand_over_leaves_others_alone,
    ]
    changes [
        what_was_asked_for_is_listed_latest_first_with_its_first_end,
        an_entry_without_its_end_tells_if_its_process_died,
        the_record_of_the_schema_before_is_kept,
    ]
    pauses [heads_page_by_tenant, a_pause_stays_until_it_is_resumed, a_pause_fences_the_writer_and_leaves_ownership_alone]
    commits [
        rows_cursor_and_digest_move_together,
        an_empty_batch_moves_the_cursor,
        an_old_epoch_changes_nothing,
        a_wrong_cursor_changes_nothing,
        a_wrong_generation_changes_nothing,
        a_duplicate_is_told_and_changes_nothing,
        a_tampered_row_stops_its_update,
        a_tampered_row_stops_its_deletion,
        two_commits_of_one_lease_cannot_both_win,
        checkpoints_are_chained,
        old_checkpoints_go,
    ]
    rows [
        prior_rows_of_hostile_ids,
        prior_rows_by_a_hashed_column,
        what_must_be_known_is_bounded_by_its_bytes,
        streams_come_in_both_orders,
        streams_of_one_view_do_not_block_each_other,
        generations_and_tenants_are_apart,
    ]
    builds [
        built_resumed_finished_flipped_swept,
        a_build_of_its_own_storage,
        a_build_that_is_indexed_early,
        a_build_behind_does_not_flip,
        a_flip_fences_the_live_lease,
        a_flip_resolves_what_it_passes,
        a_resumed_build_fences_its_former_writer,
        a_build_batch_is_fenced_by_its_cursor,
        an_abandoned_build_is_gone,
        a_second_start_of_a_run_starts_over,
        sweeping_is_bounded,
    ]
    failures [
        one_open_row_an_event,
        open_failures_are_one_entry_a_scope,
        a_passing_commit_resolves,
        failures_are_listed_newest_first,
    ]
    skips [
        the_event_of_an_open_failure_is_skipped_once,
        a_resolved_failure_is_not_skipped,
        a_revoked_skip_holds_no_longer,
        skips_are_listed_newest_first,
        a_batch_past_a_skip_makes_its_generation_deviate,
    ]
    drifts [drift_holds_until_a_clean_verify_or_a_flip]
    runs [
        a_run_from_start_to_end,
        a_repeated_request_starts_nothing,
        the_same_request_twice_at_once_starts_one,
        one_job_a_scope,
        an_orphan_holds_nothing,
        an_orphan_is_adopted,
        a_cancelled_run_is_adopted,
        cancelling,
        another_process_is_fenced,
        runs_are_listed_newest_first,
    ]
    queries [
        edges_of_a_node_by_position,
        edges_touching_nodes_by_id,
        edges_along_a_long_log,
        edges_end_early_at_a_bound_of_bytes,
        precedents_of_a_policy,
        precedents_without_a_policy,
    ]
    snapshots [
        a_snapshot_sees_one_instant,
        a_snapshot_survives_flip_and_sweep,
        a_view_sees_the_newest,
        every_snapshot_is_whole,
    ]
    moves [
        a_moved_log_keeps_positions_and_times,
        a_log_moves_into_an_empty_database_only,
        a_move_without_its_end_leaves_nothing,
        a_moved_event_passes_every_rule_of_an_append,
        readers_and_appends_wait_for_a_move,
    ]
    strays [one_bad_row_is_left_out_of_every_list, an_event_that_cannot_be_read_is_that_events_fault]
    splits [any_split_gives_the_same_rows_and_digest]
    seals [
        a_tree_grows_only_from_its_head,
        a_first_batch_begins_a_tree_only_where_there_is_none,
        a_stale_writer_of_a_tree_is_fenced,
        a_pause_fences_a_sealer,
        a_batch_without_events_moves_the_cursor_alone,
        trees_that_grow_at_once_do_not_take_one_another_along,
        leaves_nodes_and_heads_read_back,
        a_tree_that_was_begun_has_its_origin,
        notes_are_stored_once_and_thinned_to_the_last_of_each_hour,
        events_are_read_with_all_that_is_sealed,
        pages_of_sealed_columns_have_two_limits,
        damaged_rows_fail_no_list,
        a_fork_takes_the_common_leaves_over,
        a_fork_is_fenced_and_needs_the_head_and_every_leaf,
        a_repair_replaces_nodes_and_frontier,
        any_split_seals_the_same_leaves_and_root,
    ]
}
