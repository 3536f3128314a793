"""Fixtures of tests that put a disk of their own below the processes."""

import pytest

from tests.crash.disks import FaultyDisk, mounted
from tests.crash.processes import Sandbox


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


@pytest.fixture
def small_disk(sandbox):
    """A file system in place of the data folder."""
    with mounted(sandbox.data) as disk:
        yield disk


@pytest.fixture
def faulty_disk(tmp_path_factory):
    return FaultyDisk(tmp_path_factory.mktemp("faulty"))
