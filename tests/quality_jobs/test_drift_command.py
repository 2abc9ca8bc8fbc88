"""`fixfirst drift` as cron and CI run it: real files in, a table, an exit code and metrics out."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bot.quality import samples
from bot.quality.drift import Numbers
from tests.health.conftest import needed
from tests.quality_jobs.outside import ROOT, csv_file, fixfirst, parquet_file
from tests.servers import free_port, program, running

LANGUAGES = ["en", "de", "fr"]


def gauss(rows: int, mean: float, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(mean, 1) for _ in range(rows)]


def columns(rows: int, mean: float, seed: int, weights: Sequence[int] = (5, 3, 2)) -> dict[str, Sequence[object]]:
    chance = random.Random(seed)
    return {
        "prompt_length": gauss(rows, mean, seed),
        "language": chance.choices(LANGUAGES, weights, k=rows),
        "stream": [chance.random() < 0.5 for _ in range(rows)],
    }


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return csv_file(tmp_path / "reference.csv", columns(4_000, 0, 1))


def test_what_has_not_drifted_ends_with_0(tmp_path: Path, reference: Path) -> None:
    current = csv_file(tmp_path / "current.csv", columns(4_000, 0, 2))
    done = fixfirst("drift", "--reference", reference, "--current", current)
    assert done.returncode == 0, done.stderr
    assert "None of 3 features has drifted." in done.stdout


def test_what_has_drifted_ends_with_1_and_stands_first(tmp_path: Path, reference: Path) -> None:
    current = parquet_file(tmp_path / "current.parquet", columns(4_000, 1, 2, weights=(5, 3, 3)))
    done = fixfirst("drift", "--reference", reference, "--current", current)
    assert done.returncode == 1, done.stderr
    table = done.stdout.split("threshold\n")[1].splitlines()
    assert table[0].startswith("prompt_length")
    assert table[0].endswith("drifted")
    assert "1 of 3 features has drifted: prompt_length." in done.stdout


def test_a_threshold_of_ones_own_decides(tmp_path: Path, reference: Path) -> None:
    current = csv_file(tmp_path / "current.csv", columns(4_000, 0.3, 2))
    asked = ("drift", "--reference", reference, "--current", current, "--method", "psi")
    assert fixfirst(*asked).returncode == 0
    assert fixfirst(*asked, "--threshold", "psi=0.05").returncode == 1


def test_csv_and_parquet_of_the_same_rows_give_the_same_scores(tmp_path: Path, reference: Path) -> None:
    now = columns(4_000, 0.4, 3)
    told = [
        json.loads(fixfirst("drift", "--reference", reference, "--current", path, "--format", "json").stdout)["scores"]
        for path in (csv_file(tmp_path / "c.csv", now), parquet_file(tmp_path / "c.parquet", now))
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 4 + 2 + 2


def test_empty_fields_are_counted_and_told(tmp_path: Path, reference: Path) -> None:
    now = columns(4_000, 0, 2)
    half = [value if index % 2 else None for index, value in enumerate(now["prompt_length"])]
    current = csv_file(tmp_path / "current.csv", {**now, "prompt_length": half})
    done = fixfirst("drift", "--reference", reference, "--current", current)
    assert done.returncode == 1, "a feature that half went missing has drifted"
    assert "missing      0.00% before, 50.00% now" in done.stdout


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"prompt_length": gauss(37, 0, 1)}, "has 37 rows, below 500"),
        ({"prompt_length": [f"id-{n}" for n in range(4_000)]}, "is a number in the reference and a category"),
        ({"language": ["en"] * 4_000}, "has no column prompt_length"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence_and_ends_with_2(
    tmp_path: Path, reference: Path, now: dict[str, Sequence[object]], said: str
) -> None:
    current = csv_file(tmp_path / "current.csv", now)
    done = fixfirst("drift", "--reference", reference, "--current", current, "--feature", "prompt_length")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_samples_too_small_for_a_distance_are_no_drift_and_no_good_news(tmp_path: Path, reference: Path) -> None:
    current = csv_file(tmp_path / "current.csv", columns(600, 0, 2))
    asked = ("drift", "--reference", reference, "--current", current)
    none = fixfirst(*asked, "--method", "ks,wasserstein", "--feature", "prompt_length")
    assert none.returncode == 2
    assert "too few to say: the current sample has 600 values, below 1,000" in none.stderr
    some = fixfirst(*asked, "--method", "ks,psi", "--feature", "prompt_length")
    assert some.returncode == 0
    assert "ks           not told: too few to say" in some.stdout


def test_a_feature_with_too_many_categories_for_its_rows_is_named(tmp_path: Path) -> None:
    chance = random.Random(5)

    def sample(name: str) -> Path:
        routes = [f"route-{chance.randrange(300)}" for _ in range(4_000)]
        return csv_file(tmp_path / name, {"route": routes, "stream": [chance.random() < 0.5 for _ in range(4_000)]})

    done = fixfirst("drift", "--reference", sample("a.csv"), "--current", sample("b.csv"))
    assert done.returncode == 0
    assert "None of 2 features has drifted. Not told of: route." in done.stdout


@pytest.mark.parametrize("text", ["", "a,b\n1\n", "\x00\x01PAR1"])
def test_a_file_that_is_none_is_a_sentence(tmp_path: Path, reference: Path, text: str) -> None:
    (tmp_path / "current.csv").write_text(text)
    done = fixfirst("drift", "--reference", reference, "--current", tmp_path / "current.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert fixfirst("drift", "--reference", reference, "--current", tmp_path / "none.csv").returncode == 2


def test_ids_are_not_scored_as_categories(tmp_path: Path) -> None:
    ids = csv_file(tmp_path / "ids.csv", {"request": [f"r-{n}" for n in range(4_000)]})
    done = fixfirst("drift", "--reference", ids, "--current", ids)
    assert done.returncode == 2
    assert "is it an id, or free text?" in done.stderr


def test_numbers_that_are_names_can_be_taken_for_categories(tmp_path: Path) -> None:
    before = csv_file(tmp_path / "before.csv", {"shard": ["07", "11"] * 500})
    now = csv_file(tmp_path / "now.csv", {"shard": ["07", "08"] * 500})
    asked = ("drift", "--reference", before, "--current", now, "--format", "json")
    told = json.loads(fixfirst(*asked, "--category", "shard").stdout)
    assert {one["method"] for one in told["scores"]} == {"psi", "js"}
    assert told["drifted"] == ["shard"]


def test_a_sample_of_many_rows_says_by_which_seed_and_is_the_same_each_time(tmp_path: Path, reference: Path) -> None:
    current = csv_file(tmp_path / "current.csv", columns(4_000, 0.1, 9))
    asked = ("drift", "--reference", reference, "--current", current, "--rows", "1000", "--seed", "7")
    first, again = fixfirst(*asked), fixfirst(*asked)
    assert "Of numbers 1,000 rows were taken, chosen by seed 7." in first.stdout
    assert first.stdout == again.stdout
    assert fixfirst(*asked[:-1], "8").stdout != first.stdout


def test_rows_are_chosen_evenly_from_the_whole_file(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "long.parquet", {"at": [float(n) for n in range(100_000)]})
    sample = samples.opened(path, samples.Choice())
    (pair,) = samples.read(sample, sample, ["at"], seed=3, limit=2_000)
    assert isinstance(pair.reference, Numbers)
    kept = sorted(pair.reference.values)
    assert len(set(kept)) == 2_000
    worst = max(abs(value / 100_000 - rank / 2_000) for rank, value in enumerate(kept))
    assert worst < 0.04, "the KS limit of 2,000 even draws at one in a thousand"


def test_the_metrics_pass_promtool_and_replace_the_file_in_one_step(tmp_path: Path, reference: Path) -> None:
    current = csv_file(tmp_path / "current.csv", columns(4_000, 1, 2))
    target = tmp_path / "drift.prom"
    target.write_text("model_drift_score 1\n")
    asked = ("drift", "--reference", reference, "--current", current, "--model", 'a "model"\\1', "--textfile", target)
    assert fixfirst(*asked).returncode == 1
    text = target.read_text()
    checked = subprocess.run(
        [needed("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert 'model_drift_score{model="a \\"model\\"\\\\1",feature="prompt_length",method="psi"}' in text
    assert "model_drift_last_run_timestamp_seconds" in text
    assert target.stat().st_mode & 0o777 == 0o644, "node_exporter runs as somebody else"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def test_a_failed_run_leaves_the_old_metrics_so_that_their_age_is_seen(tmp_path: Path, reference: Path) -> None:
    target = tmp_path / "drift.prom"
    target.write_text("old\n")
    lost = tmp_path / "lost.csv"
    asked = ("drift", "--reference", reference, "--current", lost, "--model", "m", "--textfile", target)
    assert fixfirst(*asked).returncode == 2
    assert target.read_text() == "old\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    """A real Pushgateway."""
    port = free_port()
    found = program("prometheus-pushgateway", "prometheus-pushgateway")
    with running([found, f"--web.listen-address=127.0.0.1:{port}"], port, tmp_path / "log"):
        yield f"http://127.0.0.1:{port}"


def test_a_pushgateway_holds_the_last_run_of_each_model(tmp_path: Path, reference: Path, gateway: str) -> None:
    import httpx2

    drifted = csv_file(tmp_path / "drifted.csv", columns(4_000, 1, 2))
    asked = ("drift", "--reference", reference, "--current", drifted, "--pushgateway", gateway)
    assert fixfirst(*asked, "--model", "org/chat").returncode == 1
    assert fixfirst(*asked, "--model", "search", "--feature", "stream").returncode == 0
    assert fixfirst(*asked, "--model", "org/chat", "--feature", "prompt_length").returncode == 1
    text = httpx2.get(f"{gateway}/metrics").text
    assert 'model="search"' in text
    assert 'feature="prompt_length",instance="",job="fixfirst_drift",method="ks",model="org/chat"' in text
    assert 'feature="language"' not in text, "the second run of the model has taken the place of the first"


def test_a_gateway_that_is_away_is_an_error_and_not_a_drift(tmp_path: Path, reference: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    asked = ("drift", "--reference", reference, "--current", reference, "--model", "m", "--pushgateway", nowhere)
    done = fixfirst(*asked)
    assert done.returncode == 2
    assert "does not answer" in done.stderr


@pytest.mark.parametrize("address", ["http://ci:geheim@127.0.0.1:{port}", "http://ci:geheim@127.0.0.1:port", "geheim"])
def test_no_failure_tells_the_password_of_the_gateway(tmp_path: Path, reference: Path, address: str) -> None:
    nowhere = address.replace("{port}", str(free_port()))
    done = fixfirst("drift", "--reference", reference, "--current", reference, "--model", "m", "--pushgateway", nowhere)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "geheim" not in done.stdout + done.stderr


def test_the_gateway_is_not_looked_for_behind_a_proxy(
    reference: Path, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asked = ("drift", "--reference", reference, "--current", reference, "--model", "m", "--pushgateway", gateway)
    assert fixfirst(*asked).returncode == 0


def test_without_the_extra_it_says_which_to_install(tmp_path: Path, reference: Path) -> None:
    """An interpreter in which PyArrow cannot be imported, as where the extra was not installed."""
    code = "import sys; sys.modules['pyarrow'] = None; from bot.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "drift", "--reference", str(reference), "--current", str(reference)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'fixfirst[drift]'" in done.stderr
