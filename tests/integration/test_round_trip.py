"""Every abstract, byte for byte, through hub, query, queue and table."""

import json
from pathlib import Path

import polars as pl
import pytest

from headrace.engine.job import Instance
from headrace.experiments.papers import encoded
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.local.table import Table
from headrace.models.generator import generate_documents
from headrace.models.storage import load_model
from headrace.project import Project
from headrace.project.opening import opened_job

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "arxiv_public.parquet"

SETTINGS = """
[inputs.papers]
kind = "hub"
[inputs.work]
kind = "queue"
[outputs.work]
kind = "queue"
[outputs.rows]
kind = "table"
row_key = "id"
[jobs.pass]
sql = "SELECT * INTO work FROM papers"
[jobs.store]
sql = "SELECT id, doc, title INTO rows FROM work"
"""

#: What texts can hold that a format could break.
HARD = [
    "",
    " leading and trailing ",
    'quotes " and \\ and / and \\" and \\\\',
    "line\nbreaks\r\n\tand tabs",
    "control \x00 \x01 \x1f \x7f",
    "non-ASCII: é ß Σ ﬁ \u2028 \u2029 \ufeff 漢字 😀 e\u0301",
    r"LaTeX: $\alpha_{i}\leq\frac{1}{2}$, \emph{x}, \\, \"o, {\'e}, ``quotes''",
    "null",
    "NaN",
    "12345678901234567890",
    "2026-01-01T00:00:00Z",
    '{"doc": "not a record"}',
    "[1, 2]",
    '\':null,":null, ": null}',
    "x" * 100_000,
]


def through_everything(folder, papers):
    (folder / "headrace.toml").write_text(SETTINGS)
    project = Project.load(folder)
    with Namespace.open(project.data) as namespace:
        with Hub.ensure(namespace.hubs_folder, "papers", partitions=4) as hub:
            for block in papers.iter_slices(1_000):
                hub.publish_bodies(encoded(block))
        run(project, namespace, "pass")
        run(project, namespace, "store")
        return {row.row_key: json.loads(row.properties) for row in Table(namespace, "rows").read()}


def run(project, namespace, job):
    Progress(namespace).request_stop(job, "end")
    with opened_job(project, namespace, job, 0) as opened:
        Instance(opened, namespace).run()


def check(papers, rows):
    assert len(rows) == papers.height
    for paper in papers.iter_rows(named=True):
        row = rows[paper["id"]]
        assert row["doc"].encode() == paper["doc"].encode()
        assert row["title"].encode() == paper["title"].encode()


@pytest.mark.skipif(not PUBLIC.exists(), reason="the public abstracts are not here")
def test_every_public_abstract_comes_out_as_it_went_in(tmp_path):
    papers = pl.read_parquet(PUBLIC, columns=["id", "doc", "title"])
    check(papers, through_everything(tmp_path, papers))


def test_made_documents_and_hard_texts_come_out_as_they_went_in(tmp_path):
    made = generate_documents(load_model("papers").model, 500, seed=3).select("id", "doc", "title")
    hard = pl.DataFrame({"id": [f"hard{n}" for n in range(len(HARD))], "doc": HARD, "title": HARD[::-1]})
    papers = pl.concat([made, hard])
    check(papers, through_everything(tmp_path, papers))


def test_the_queue_bodies_that_the_seed_system_wrote_are_read_too(tmp_path):
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    project = Project.load(tmp_path)
    body = json.dumps({"id": "a", "doc": "braces { in } text", "title": "t"}).encode()
    wrapped = b"@\x06string\x083http://schemas.microsoft.com/2003/10/Serialization/\x9a\x05" + body + b"\x01"
    with Namespace.open(project.data) as namespace:
        with namespace.transaction() as tx:
            Queue(namespace, "work").send(tx, [wrapped, body.replace(b'"a"', b'"b"')])
        run(project, namespace, "store")
        rows = {row.row_key: json.loads(row.properties) for row in Table(namespace, "rows").read()}
    assert rows == {key: {"doc": "braces { in } text", "title": "t"} for key in "ab"}
