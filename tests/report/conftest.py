"""The run folder most tests start from."""

import json
from pathlib import Path

import pytest

from tests.report.folders import answers, u_shape, write_answers, write_run


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A training run probed before (flat at 0.5) and after (a U: 1 at the ends, 0.5 between)."""
    folder = write_run(tmp_path / "runs" / "demo")
    write_answers(folder, 0, answers(lambda depth: 0.5))
    write_answers(folder, 4, answers(u_shape))
    data = {
        "sources": {
            "fine_grained": {"ratio_requested": 0.75, "examples": 6, "tokens": 300},
            "instruction": {"ratio_requested": 0.25, "examples": 2, "tokens": 20},
        },
        "length": {
            "law": "uniform",
            "edges": [0, 64, 128],
            "requested": [4, 4],
            "realised": [3, 5],
            "p_value": 0.48,
        },
        "depth": {
            "placement": "shuffle",
            "edges": [0, 0.5, 1],
            "expected": [4, 4],
            "realised": [8, 0],
            "p_value": 0.005,
        },
        "dropped": {"evidence_does_not_fit": 3},
        "segments": {"count": 1234},
    }
    (folder / "data.json").write_text(json.dumps(data))
    return folder
