import csv
import re
import shutil
import socketserver
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from threading import Thread

import pytest

from fullcontext.compose import ConfigError, RunInfo
from fullcontext.config.verbs import ReportConfig
from fullcontext.report.run import run
from tests.report.folders import answers, u_shape, write_answers, write_run
from tests.report.test_offline import framed, whole

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ITSELF = re.compile(
    r" (https?://)?(?!fonts\.)[a-z0-9.-]+\.(google|googleapis|gvt1)\.com[:/]"
)
"""What the browser asks for of its own accord, whatever it shows."""


def report(out, *folders, **settings):
    config = ReportConfig(runs=[str(folder) for folder in folders], permutations=100, **settings)
    return run(config, RunInfo(out, {}, [])).read_text()


class Outline(HTMLParser):
    """Checks that tags nest and collects ids, headings and table cells."""

    void = frozenset({"meta", "br", "input"})

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.tags = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_a_page_figures_and_a_table(trained, tmp_path, capsys):
    report(tmp_path / "out", trained.parent)
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    assert "70.0 [45.0, 87.0]" in (tmp_path / "out" / "table.md").read_text()
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} >= {
        "depth_document.png",
        "diagnostic_document.png",
        "train_loss_by_step.png",
        "train_loss_by_tokens.png",
        "train_loss_by_seconds.png",
        "train_lr_by_step.png",
        "train_grad_norm_by_step.png",
        "data_length_0.png",
    }


def test_output_overrides_the_folder_of_the_verb(trained, tmp_path):
    report(tmp_path / "unused", trained, output=str(tmp_path / "chosen"))
    assert (tmp_path / "chosen" / "report.html").exists()
    assert not (tmp_path / "unused").exists()


def test_the_page_is_well_formed_and_accessible(trained, tmp_path):
    outline = Outline(report(tmp_path, trained))
    assert len(outline.ids) == len(set(outline.ids))
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("h1") == 1
    assert tags.count("table") == tags.count("caption") > 3
    assert all(attrs.get("scope") for tag, attrs in outline.tags if tag == "th")
    plots = [attrs for tag, attrs in outline.tags if tag == "svg" and attrs["class"] == "plot"]
    assert plots and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)


def test_the_page_asks_for_nothing_outside_itself(trained, tmp_path):
    page = report(tmp_path, trained)
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<iframe", page)
    assert all(target.startswith("#") for target in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_the_same_input_gives_the_same_bytes(trained, tmp_path):
    assert report(tmp_path / "a", trained) == report(tmp_path / "b", trained)
    for path in (tmp_path / "a").rglob("*.*"):
        again = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == again.read_bytes()


def test_all_that_comes_from_runs_is_escaped(tmp_path):
    evil = "<img src=x>&\"'"
    folder = write_run(tmp_path / "run", name=evil, state="failed", error=evil)
    (folder / "config.yaml").write_text("claim: '<img src=x>'\nseed: '<img src=x>'\n")
    (folder / "data.json").write_text(
        '{"dropped": {"<img src=x>": 1}, "sources": {"<img src=x>": {"examples": 1}}}'
    )
    write_answers(folder, 0, answers(u_shape, task="<img src=x>"))
    page = report(tmp_path / "out", folder, write_run(tmp_path / "other"), title=evil)
    assert "<img" not in page
    Outline(page)


def test_failed_and_unfinished_runs_are_named_with_their_error(trained, tmp_path):
    write_run(trained.parent / "broken", state="failed", step=2, error="loss is not finite")
    write_run(trained.parent / "cut", state="running", step=3)
    page = report(tmp_path / "out", trained.parent)
    assert "2 of 3 runs did not finish." in page
    assert "broken: failed at step 2 of 4: <code>loss is not finite</code>" in page
    assert "cut: running at step 3 of 4" in page


def test_damaged_files_are_listed_on_the_page(trained, tmp_path):
    (trained / "data.json").write_text("{")
    assert f"<code>{trained / 'data.json'}: not JSON" in report(tmp_path, trained)


def test_the_claim_stands_beside_what_was_obtained(trained, tmp_path):
    (trained / "config.yaml").write_text("probe: {bins: 5}\nclaim: It stays flat.\n")
    page = report(tmp_path, trained)
    assert "It stays flat." in page
    assert "avg 70.0 [45.0, 87.0], changed by +20.0 " in page


def test_realised_data_stands_beside_what_was_requested(trained, tmp_path):
    page = report(tmp_path, trained)
    assert "<td>6<small>75.0 %</small></td><td>6<small>75.0 %</small></td>" in page
    assert "law uniform. chi-square: p 0.48: no sign of a departure." in page
    assert "placement shuffle. chi-square: p 0.005: departs from what was requested." in page
    assert "<span>evidence does not fit</span><span>3</span>" in page
    assert "<span>count</span><span>1,234</span>" in page


def test_few_items_are_flagged_on_the_page(trained, tmp_path):
    assert "fewest items in a bin: 8, below 50 (every curve)" in report(tmp_path, trained)


def test_pointing_at_a_run_fades_the_lines_of_others_and_no_table(trained, tmp_path):
    page = report(tmp_path, trained)
    assert "main:has(.k0:is(:hover, :focus)) svg .run:not(.r0)" in page


def test_runs_with_next_to_nothing_make_a_page(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"seed: {name}\n")
    page = report(tmp_path / "out", tmp_path)
    assert "2 of 2 runs did not finish." in page
    Outline(page)


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no run in"):
        report(tmp_path / "out", tmp_path)


def sweep(tmp_path):
    """Two values and two seeds, probed at two lengths, strictly too, and on two items at once."""
    for value in (32, 64):
        for seed in (0, 1):
            folder = write_run(tmp_path / "sweep" / f"{value}_{seed}", name="sweep")
            config = f"seed: {seed}\ndata: {{size: {value}}}\nprobe: {{bins: 5}}\n"
            (folder / "config.yaml").write_text(config)
            given = [
                replace(each, length=length, window=4096, strict=each.score / 2)
                for length in (1024, 2048)
                for each in answers(u_shape)
            ]
            write_answers(folder, 4, given)
            two = [
                replace(each, distance=(each.position % 4) / 4)
                for each in answers(u_shape, task="spread")
            ]
            write_answers(folder, 4, two)
    return tmp_path / "sweep"


def test_a_sweep_is_compared_by_group_length_and_setting(tmp_path):
    page = report(tmp_path / "out", sweep(tmp_path))
    Outline(page)
    assert "4 runs (4 trained) in 2 groups, each of one configuration" in page
    assert "document at 2K" in page and '<h2 id="effects-h">' in page
    assert "rows: context length in tokens; columns: depth" in page
    assert "rows: the place half-way between the two items; columns: their distance" in page
    written = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert written >= {
        "length_document.png",
        "length_document_relative.png",
        "sweep_data_size_document_at_1K_avg.png",
        "sweep_data_size_document_at_1K_litm.png",
        "depth_document_at_1K.png",
        "depth_document_at_2K.png",
    }


def test_the_csv_is_tidy(tmp_path):
    report(tmp_path / "out", sweep(tmp_path))
    text = (tmp_path / "out" / "statistics.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == [
        *("group", "run", "seed", "data.size", "task", "length", "step"),
        *("statistic", "value", "low", "high", "n", "p"),
    ]
    (row,) = (
        row
        for row in rows
        if row["seed"] == "1" and row["data.size"] == "64" and row["task"] == "document"
        if row["length"] == "2048" and row["statistic"] == "avg"
    )
    assert (row["value"], row["n"]) == ("0.7", "40")
    assert {"avg minus size=32", "strict avg", "depth bin 1 of 5", "gap"} <= {
        row["statistic"] for row in rows
    }


def test_the_baseline_is_chosen(tmp_path):
    page = report(tmp_path / "out", sweep(tmp_path), baseline="size=64")
    assert "minus <b>size=64</b>" in page


def test_runs_known_from_wandb_alone_are_told(tmp_path):
    path = tmp_path / "offline-run-20260101_000000-abc" / "run-abc.wandb"
    path.parent.mkdir()
    path.write_bytes(framed(whole()))
    page = report(tmp_path / "out", path)
    assert "Read from files of W&amp;B alone: 1 of 1." in page and "but no answers" in page
    Outline(page)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")
def test_chromium_shows_light_and_dark_and_asks_for_nothing(tmp_path):
    report(tmp_path / "out", sweep(tmp_path))
    page = tmp_path / "out" / "report.html"
    with refusing_proxy() as (port, asked):
        assert (screenshot(tmp_path, "light", page, port) > 200).mean() > 0.8
        assert (screenshot(tmp_path, "dark", page, port) < 60).mean() > 0.8
        narrow = screenshot(tmp_path, "light", page, port, width=500)  # Chromium's least
        assert narrow.shape[1] == 500 and (narrow > 200).mean() > 0.7
        assert [each for each in asked if not CHROMIUM_ITSELF.search(each)] == []
        other = tmp_path / "other.html"
        other.write_text('<img src="http://outside.example/a.png">')
        screenshot(tmp_path, "light", other, port)
        assert any("outside.example" in each for each in asked)  # the proxy would have seen it


@contextmanager
def refusing_proxy():
    """A proxy for everything, loopback too, that refuses and notes the first line of a request."""
    asked = []

    class Refuse(socketserver.StreamRequestHandler):
        def handle(self):
            asked.append(self.rfile.readline(1000).decode(errors="replace"))
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


def screenshot(tmp_path, scheme, page, port, width=1200):
    """Grey levels of the page, shape (height, width)."""
    from matplotlib.image import imread

    picture, profile = tmp_path / f"{scheme}{width}.png", tmp_path / f"profile_{scheme}"
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    flags += " --disable-background-networking --disable-component-update --disable-sync"
    flags += " --disable-default-apps --disable-extensions --disable-domain-reliability"
    flags += f" --blink-settings=preferredColorScheme={int(scheme == 'light')}"
    flags += f" --proxy-server=127.0.0.1:{port} --proxy-bypass-list=<-loopback>"
    where = [f"--user-data-dir={profile}", f"--screenshot={picture}"]
    where.append(f"--window-size={width},2400")
    command = [CHROMIUM, *flags.split(), *where, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    shutil.rmtree(profile, ignore_errors=True)
    return 255 * imread(picture)[:, :, :3].mean(axis=2)
