"""Faults to plant: connectors that do one thing wrong, each with the test of its suite that must find it.

``ORDERED``, ``COMPETING``, ``LOCAL``, ``STAGED`` and ``REMOTE`` list them. Each is put over a good connector;
`Link` and `Linked` give any connector a connection that breaks.
"""

from __future__ import annotations

from typing import Final

from headrace.testing.conformance.planted import fault, sinks, sources
from headrace.testing.conformance.planted.fault import Around, Fault, Link, Linked

__all__ = ["COMPETING", "LOCAL", "ORDERED", "REMOTE", "STAGED", "Around", "Fault", "Link", "Linked"]

#: Each fault, and the test that must find it; others may find it, too.
ORDERED: Final[dict[type[Fault], str]] = {
    sources.LosesTheLastBatch: "test_all_events_come_once_and_in_order",
    sources.SkipsBetweenPolls: "test_limits_hold_whatever_they_are",
    sources.Reorders: "test_all_events_come_once_and_in_order",
    sources.DoublesOnReconnect: "test_a_broken_connection_is_transient_and_loses_and_doubles_nothing",
    sources.LosesOnReconnect: "test_a_broken_connection_is_transient_and_loses_and_doubles_nothing",
    fault.HidesBrokenConnections: "test_a_broken_connection_is_transient_and_loses_and_doubles_nothing",
    fault.RaisesWhatTheLibraryDoes: "test_a_broken_connection_is_transient_and_loses_and_doubles_nothing",
    sources.IgnoresTheLimitOfEvents: "test_limits_hold_whatever_they_are",
    sources.IgnoresTheLimitOfBytes: "test_large_events_come_whole",
    sources.WaitsForEvents: "test_a_poll_that_finds_nothing_is_none_at_once",
    sources.EndsForGood: "test_what_comes_later_is_read_on_from_where_one_stood",
    sources.JoinsWrongly: "test_all_events_come_once_and_in_order",
    sources.CountsAnewAfterARestart: "test_every_offset_is_a_place_to_start_from",
    sources.EndsTooEarly: "test_begin_and_end_are_those_of_what_is_there",
    sources.StartsTooLate: "test_nothing_before_the_offset_at_a_time_came_after_it",
    sources.PromisesTooMuch: "test_a_promise_of_quiet_is_kept",
    sources.ReadsOnePartition: "test_partitions_are_apart",
    sources.TrimsBodies: "test_what_is_no_event_comes_as_it_is",
    fault.LeavesFilesOpen: "test_closing_leaves_nothing_open",
    fault.ClosesOnce: "test_closing_twice_is_no_error",
}
COMPETING: Final[dict[type[Fault], str]] = {
    sources.AcknowledgesEarly: "test_what_nobody_finished_comes_back",
    sources.FinishesNothing: "test_a_finished_message_never_comes_again",
    sources.FinishesWhatIsLost: "test_who_lost_a_lease_cannot_finish",
    sources.RenewsNothing: "test_a_renewed_lease_holds",
    sources.ReleasesNothing: "test_released_messages_come_at_once",
    sources.ReclaimsNothing: "test_a_new_process_of_an_instance_reclaims_its_own",
    sources.NeverGivesAgain: "test_a_commit_that_is_undone_finishes_nothing",
    sources.LeasesTwice: "test_instances_never_hold_the_same_message",
    sources.IsExhaustedTooSoon: "test_exhausted_tells_the_truth",
    sources.IsNeverExhausted: "test_exhausted_tells_the_truth",
    sources.Reorders: "test_all_messages_come_once_within_the_limits",
    sources.IgnoresTheLimitOfEvents: "test_all_messages_come_once_within_the_limits",
    fault.HidesBrokenConnections: "test_a_broken_connection_is_transient_and_loses_nothing",
    fault.LeavesFilesOpen: "test_closing_leaves_nothing_open",
}
LOCAL: Final[dict[type[Fault], str]] = {
    sinks.LosesTheLastRow: "test_what_commits_wrote_is_there_once_and_in_order",
    sinks.ReordersRows: "test_what_commits_wrote_is_there_once_and_in_order",
    sinks.WritesTwice: "test_what_commits_wrote_is_there_once_and_in_order",
    sinks.WritesOutsideTheCommit: "test_preparing_writes_nothing",
    sinks.WritesOnce: "test_a_commit_that_is_undone_leaves_nothing",
    sinks.NamesNoFailure: "test_a_row_that_cannot_be_written_is_named",
    sinks.NamesAnotherRow: "test_a_row_that_cannot_be_written_is_named",
    fault.LeavesFilesOpen: "test_closing_leaves_nothing_open",
}
STAGED: Final[dict[type[Fault], str]] = {
    sinks.LosesTheLastRow: "test_what_commits_published_is_there_once_and_in_order",
    sinks.ReordersRows: "test_what_commits_published_is_there_once_and_in_order",
    sinks.WritesTwice: "test_what_commits_published_is_there_once_and_in_order",
    sinks.PublishesAsItStages: "test_a_commit_that_is_undone_publishes_nothing",
    sinks.PublishesNothing: "test_what_commits_published_is_there_once_and_in_order",
    sinks.KeepsWhatWasStaged: "test_what_was_staged_and_not_published_is_swept",
    fault.ClosesOnce: "test_closing_leaves_nothing_open",
}
REMOTE: Final[dict[type[Fault], str]] = {
    sinks.LosesTheLastRow: "test_what_was_delivered_is_there_in_order",
    sinks.ReordersRows: "test_what_was_delivered_is_there_in_order",
    sinks.DoublesWhatIsRepeated: "test_a_block_delivered_again_changes_nothing",
    sinks.TakesProducersForOne: "test_equal_blocks_under_their_own_names_are_all_there",
    sinks.DeliversAsItPrepares: "test_preparing_delivers_nothing",
    fault.HidesBrokenConnections: "test_a_dead_target_is_transient_and_loses_nothing",
    fault.RaisesWhatTheLibraryDoes: "test_a_dead_target_is_transient_and_loses_nothing",
    sinks.TriesForEver: "test_rows_that_are_refused_for_ever_are_no_transient_error",
    sinks.NamesNoFailure: "test_a_row_that_cannot_be_written_is_named",
    fault.LeavesFilesOpen: "test_closing_leaves_nothing_open",
}
