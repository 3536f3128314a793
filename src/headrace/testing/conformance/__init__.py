"""Conformance suites: what every source and every sink must do, as tests to subclass.

::

    class TestHub(OrderedSourceSuite):
        @pytest.fixture
        def harness(self, tmp_path):
            with contextlib.closing(HubHarness(tmp_path)) as harness:
                yield harness

A suite is a class of tests that each take a *harness*: what publishes events beside the connector, opens it
as a process that starts would, breaks its connection, and reads back what it wrote. What a harness says that
its connector cannot do is skipped. The tests are plain functions, which raise AssertionError: `verdicts` runs
them without pytest. `planted` has the faults that the suites are known to find.
"""

from headrace.testing.conformance.competing_source import CompetingHarness, CompetingSourceSuite
from headrace.testing.conformance.local_sink import LocalSinkSuite
from headrace.testing.conformance.ordered_source import OrderedHarness, OrderedSourceSuite
from headrace.testing.conformance.remote_sink import RemoteHarness, RemoteSinkSuite
from headrace.testing.conformance.running import verdicts
from headrace.testing.conformance.sinking import CommitHarness
from headrace.testing.conformance.staged_sink import StagedSinkSuite

__all__ = [
    "CommitHarness",
    "CompetingHarness",
    "CompetingSourceSuite",
    "LocalSinkSuite",
    "OrderedHarness",
    "OrderedSourceSuite",
    "RemoteHarness",
    "RemoteSinkSuite",
    "StagedSinkSuite",
    "verdicts",
]
