"""Tenants in the settings: their shares reach the queues, and no letter of one is shown to another."""

import json

import pytest

from headrace.cli.main import main
from headrace.errors import UserError
from headrace.local.dead_letters import DeadLetter, DeadLetters
from headrace.local.fair_queue import TenantShare
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.project import Project
from headrace.project.opening import open_source

SETTINGS = """
[inputs.work]
kind = "queue"
[tenants.acme]
weight = 2
max_in_flight = 100
retention_days = 365
[tenants.alarms]
urgent = true
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "headrace.toml").write_text(text)
        return Project.load(tmp_path)

    return load


def test_a_job_that_opens_gives_its_queue_the_shares_as_they_are_now(load):
    project = load(SETTINGS)
    assert project.tenants["acme"].retention_days == 365
    with Namespace.open(project.data) as namespace:
        open_source(project, namespace, "job", "work", "0").close()
        shares = {name: count.share for name, count in Queue(namespace, "work").tenants().items()}
        assert shares == {"acme": TenantShare(2, max_in_flight=100), "alarms": TenantShare(urgent=True)}
        open_source(
            load(SETTINGS.split("[tenants.alarms]", maxsplit=1)[0]), namespace, "job", "work", "0"
        ).close()
        assert Queue(namespace, "work").tenants()["alarms"].share == TenantShare()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("weight = 0", "tenants.acme.*weight must be from 0.001 to 1000, not 0"),
        ("max_in_flight = 0", "tenants.acme.*max_in_flight must be at least 1, not 0"),
        ("retention_days = -1", "tenants.acme.retention_days"),
        ("wieght = 1", "tenants.acme.*wieght"),
    ],
)
def test_a_mistake_in_a_tenant_is_told_with_its_place(load, line, problem):
    with pytest.raises(UserError, match=problem):
        load(f"[tenants.acme]\n{line}\n")


@pytest.fixture
def letters(load, tmp_path, capsys):
    """Return what `dead-letters` prints, on both streams, where two tenants have some."""
    with Namespace.open(load("").data) as namespace, namespace.transaction() as tx:
        letters = [
            DeadLetter("", "queue", "work", 0, n, f"body of {tenant}".encode(), "bad", tenant=tenant, cost=n)
            for n, tenant in enumerate(["acme", "acme", "zenith"], 1)
        ]
        DeadLetters(namespace).add(tx, letters)

    def printed(*arguments):
        code = main(["dead-letters", *arguments, "--project", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return printed


def test_letters_of_a_tenant_are_shown_without_a_word_of_others(letters):
    _, text = letters("--tenant", "acme")
    assert "tenant acme" in text
    assert "zenith" not in text
    document = json.loads(letters("--tenant", "acme", "--json")[1])
    assert [letter["tenant"] for letter in document["dead_letters"]] == ["acme", "acme"]
    assert document["total"] == 2


def test_that_others_have_letters_is_not_told_either(letters):
    assert letters("--tenant", "nobody")[1].strip().endswith("there are no dead letters")
    assert letters("--tenant", "acme", "--id", "3") == letters("--tenant", "nobody", "--id", "3")
    assert letters("--tenant", "zenith", "--count")[1].startswith("1 dead letter\n")


def test_a_retried_message_goes_back_to_its_tenant(letters, load):
    assert letters("retry", "--tenant", "acme")[0] == 0
    with Namespace.open(load("").data) as namespace:
        queue = Queue(namespace, "work")
        assert {message.tenant for message in queue.claim(limit=9, owner="me")} == {"acme"}
        assert DeadLetters(namespace).count(tenant="zenith") == DeadLetters(namespace).count() == 1
