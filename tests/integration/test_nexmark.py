"""The benchmark's queries mean what its peers compute."""

from pathlib import Path

import polars as pl
import pytest

import headrace as hr
from benchmarks.nexmark.catalogue import CATALOGUE, text_of
from benchmarks.nexmark.compare import differing, rows_of
from benchmarks.nexmark.generate import generate
from benchmarks.nexmark.peer_loop import LOOPS
from benchmarks.nexmark.peer_polars import PLANS, READS, columns, written
from headrace.events.formats.json import encode_lines, from_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nexmark") / "data"
    generate(folder, 250_000)
    return folder


@pytest.mark.parametrize("query", CATALOGUE)
def test_a_query_gives_the_rows_of_the_batch_and_of_the_loop(query: str, data: Path, tmp_path: Path) -> None:
    files = {kind: data / f"{kind}.jsonl" for kind in CATALOGUE[query].inputs}
    ours = rows_of(query, _saved(tmp_path / "ours", hr.query(text_of(query), files)["out"]))
    frames = {kind: pl.read_ndjson(files[kind], schema=columns(query, kind)) for kind in READS[query]}

    batch = PLANS[query](**{kind: frame.lazy() for kind, frame in frames.items()})
    looped = LOOPS[query](**{kind: frame.iter_slices(7_000) for kind, frame in frames.items()})

    assert ours.height
    for theirs in (batch, pl.concat(rows for rows in looped if rows.height)):
        (tmp_path / "theirs").write_text(written(theirs).collect().write_ndjson())
        assert rows_of(query, tmp_path / "theirs").equals(ours)


def _saved(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_bytes(encode_lines(from_rows(rows)))
    return path


def test_a_row_that_is_twice_on_one_side_differs() -> None:
    rows = pl.DataFrame({"n": [1, 2, 2]})
    extra, missing = differing(rows, pl.DataFrame({"n": [1, 2, 3]}))
    assert extra["n"].to_list() == [2]
    assert missing["n"].to_list() == [3]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("once", "again"):
        generate(tmp_path / name, 1_000)
    for kind in ("persons", "auctions", "bids"):
        once, again = ((tmp_path / name / f"{kind}.jsonl").read_bytes() for name in ("once", "again"))
        assert once == again
        assert once
