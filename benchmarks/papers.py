"""Documents a second: hub -> query with `classify` -> table, against scoring the same documents alone.

One instance in this process, the documents already in the hub. Run by hand: ``python -m benchmarks.papers``.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import polars as pl

from headrace.engine.job import Instance
from headrace.engine.operators.effect import BLOCK_ROWS
from headrace.events.batch import ValueType
from headrace.experiments.papers import encoded
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from headrace.models.generator import generate_documents
from headrace.models.scorer import Argument
from headrace.models.storage import load_model
from headrace.project import Project
from headrace.project.opening import opened_job

SETTINGS = """
[inputs.papers]
kind = "hub"
[outputs.scimlevents]
kind = "table"
row_key = "id"
[functions.classify]
model = "papers"
[jobs.classify]
sql = '''
WITH scored AS (SELECT id, class, title, classify(doc) AS guess FROM papers)
SELECT id, class, title, guess.best AS bestguess, guess.second AS secondguess INTO scimlevents FROM scored
'''
"""


def documents(count: int) -> pl.DataFrame:
    public = Path(__file__).parents[2] / "shared" / "data" / "arxiv_public.parquet"
    if public.exists():
        return pl.read_parquet(public, columns=["id", "doc", "class", "title"]).head(count)
    return generate_documents(load_model("papers").model, count, seed=1)


def pipeline_s(papers: pl.DataFrame) -> tuple[float, dict[str, float]]:
    """Return the seconds from the first read to the last commit, and the busy time of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "headrace.toml").write_text(SETTINGS)
        project = Project.load(folder)
        with Namespace.open(project.data) as namespace:
            with Hub.ensure(namespace.hubs_folder, "papers", partitions=4) as hub:
                for block in papers.iter_slices(1_000):
                    hub.publish_bodies(encoded(block))
            Progress(namespace).request_stop("classify", "end")
            with opened_job(project, namespace, "classify", 0) as job:
                instance = Instance(job, namespace)
                began = time.perf_counter()
                instance.run()
                took_s = time.perf_counter() - began
            stored = Table(namespace, "scimlevents").count()
            assert stored == papers.height, f"{stored} of {papers.height} stored"
            return took_s, instance.clocks.counters()


def scoring_s(papers: pl.DataFrame) -> float:
    """Return the seconds that the model alone takes for the same documents in the same blocks."""
    model = load_model("papers")
    began = time.perf_counter()
    for block in papers["doc"].to_frame().iter_slices(BLOCK_ROWS):
        model.score([Argument({ValueType.TEXT: block["doc"]}, block.height)])
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=36_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    papers = documents(arguments.count)
    whole, alone = [], []
    counters: dict[str, float] = {}
    for _ in range(arguments.runs):
        alone.append(papers.height / scoring_s(papers))
        took_s, counters = pipeline_s(papers)
        whole.append(papers.height / took_s)
    ratios = [a / b for a, b in zip(whole, alone, strict=True)]
    print(f"{papers.height:,} documents, medians of {arguments.runs} runs side by side")
    print(f"hub -> classify -> table  {statistics.median(whole):>10,.0f} documents/s")
    print(f"scoring alone             {statistics.median(alone):>10,.0f} documents/s")
    print(f"ratio                     {statistics.median(ratios):>10.2f}")
    stages = {name: value for name, value in counters.items() if name.endswith("_ms") and value}
    print("stages of the last run    " + ", ".join(f"{name} {value:,.0f}" for name, value in stages.items()))


if __name__ == "__main__":
    main()
