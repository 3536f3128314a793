"""Every connector does what its contract says: a class with its harness for each."""

import contextlib

import pytest

from headrace.testing.conformance import (
    CompetingSourceSuite,
    LocalSinkSuite,
    OrderedSourceSuite,
    RemoteSinkSuite,
    StagedSinkSuite,
)
from headrace.testing.postgresql import fresh_database
from tests.conformance import harnesses


def harness_of(kind):
    """A fixture that opens a harness in a folder of its own, and closes it."""

    @pytest.fixture
    def harness(self, tmp_path):
        with contextlib.closing(kind(tmp_path)) as opened:
            yield opened

    return harness


class TestHubSource(OrderedSourceSuite):
    harness = harness_of(harnesses.HubIn)


class TestExchangeSource(OrderedSourceSuite):
    harness = harness_of(harnesses.ExchangeIn)


class TestFileSource(OrderedSourceSuite):
    harness = harness_of(harnesses.FilesIn)


class TestCsvSource(OrderedSourceSuite):
    harness = harness_of(harnesses.CsvIn)


class TestGzipSource(OrderedSourceSuite):
    harness = harness_of(harnesses.GzipIn)


class TestParquetSource(OrderedSourceSuite):
    harness = harness_of(harnesses.ParquetIn)


class TestAvroSource(OrderedSourceSuite):
    harness = harness_of(harnesses.AvroIn)


class TestQueueSource(CompetingSourceSuite):
    harness = harness_of(harnesses.QueueIn)


class TestQueueSink(LocalSinkSuite):
    harness = harness_of(harnesses.QueueOut)


class TestTableSink(LocalSinkSuite):
    harness = harness_of(harnesses.TableOut)


class TestTopicSink(LocalSinkSuite):
    harness = harness_of(harnesses.TopicOut)


class TestFileSink(StagedSinkSuite):
    harness = harness_of(harnesses.FileOut)


class TestPackedFileSink(StagedSinkSuite):
    harness = harness_of(harnesses.PackedOut)


class TestParquetFileSink(StagedSinkSuite):
    harness = harness_of(harnesses.TypedFilesOut)


class TestAvroFileSink(StagedSinkSuite):
    harness = harness_of(harnesses.AvroOut)


class TestCsvFileSink(StagedSinkSuite):
    harness = harness_of(harnesses.CsvOut)


class TestSqliteSink(RemoteSinkSuite):
    harness = harness_of(harnesses.SqliteOut)


class TestPythonSink(RemoteSinkSuite):
    harness = harness_of(harnesses.PythonOut)


class TestHubSink(RemoteSinkSuite):
    harness = harness_of(harnesses.HubOut)


class TestWebhookSink(RemoteSinkSuite):
    harness = harness_of(harnesses.WebhookOut)


class TestPostgresqlSink(RemoteSinkSuite):
    @pytest.fixture
    def harness(self, postgresql_server):
        return harnesses.PostgresqlOut(fresh_database(postgresql_server))


class TestConsoleSink(RemoteSinkSuite):
    @pytest.fixture
    def harness(self, capsysbinary):
        return harnesses.ConsoleOut(capsysbinary)
