"""Loading is lazy, and what is missing is named."""

import os
import subprocess
import sys

import pytest

from fullcontext import llm
from fullcontext.compose import ROOT, ConfigError
from fullcontext.llm.meter import Meter
from tests.llm.asking import config


def test_the_package_its_meter_and_cache_import_no_client_and_no_torch() -> None:
    code = (
        "import sys, fullcontext.llm.meter, fullcontext.llm.cache;"
        "print({'torch', 'transformers', 'openai', 'tenacity', 'httpx2'} & set(sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert said.stdout.decode().strip() == "set()"


def test_a_missing_client_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("endpoint", "body"):
        monkeypatch.delitem(sys.modules, f"fullcontext.llm.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    settings = config("http://localhost:1/v1")
    with pytest.raises(ConfigError, match=r"package openai; pip install 'fullcontext\[writers\]'"):
        llm.load(settings, "writer", Meter(settings, "writer"))
