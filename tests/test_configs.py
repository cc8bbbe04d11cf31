"""Every YAML file composes, every sweep point too, and what cannot be run is refused by name."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fullcontext import command_line
from fullcontext.compose import ROOT, VERBS, ConfigError, compose_verb, plain, read_yaml, write_yaml
from fullcontext.config import SotuCorpus, TrainConfig


def options(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))


def raw(*overrides: str, verb: str = "train"):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra_compose(verb, overrides=list(overrides), return_hydra_config=True)


def verb_of(experiment: str) -> str:
    """The script that the header of an experiment calls with it."""
    text = (ROOT / "experiments" / f"{experiment}.yaml").read_text()
    return next((verb for verb in VERBS if f"{verb}.py experiments={experiment}" in text), "train")


@pytest.mark.parametrize("name", options("experiments"))
def test_every_experiment_composes_and_starts_with_its_claim(name: str) -> None:
    verb = verb_of(name)
    assert isinstance(compose_verb(verb, [f"experiments={name}"]), VERBS[verb])
    lines = (ROOT / "experiments" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_" and lines[1].startswith("# ")


SWEEPS = [*options("sweeps"), *(f"scaled/{name}" for name in options("sweeps/scaled"))]


def header_of(sweep: str) -> str:
    """What a sweep says before its parameters."""
    return (ROOT / "sweeps" / f"{sweep}.yaml").read_text().split("hydra:")[0]


def points(*overrides: str, verb: str = "train") -> list[list[str]]:
    """The overrides of each point of the chosen sweep; of an interval its ends."""
    return [list(point) for point in product(*axes(*overrides, verb=verb))]


def values(*overrides: str, verb: str = "train") -> list[list[str]]:
    """The first point of the chosen sweep, and those that differ from it in one axis."""
    lines = axes(*overrides, verb=verb)
    start = [line[0] for line in lines]
    return [
        start,
        *(
            [*start[:at], value, *start[at + 1 :]]
            for at in range(len(lines))
            for value in lines[at][1:]
        ),
    ]


def axes(*overrides: str, verb: str) -> list[list[str]]:
    """The overrides of each axis of the chosen sweep."""
    params = raw(*overrides, verb=verb).hydra.sweeper.params
    given = [f"{key}={value}" for key, value in params.items()]
    found = []
    for text, each in zip(given, OverridesParser.create().parse_overrides(given), strict=True):
        line = [text]
        if each.is_interval_sweep():
            line = [f"{each.key_or_group}={end}" for end in (each.value().start, each.value().end)]
        elif each.is_sweep_override():
            line = [f"{each.key_or_group}={value}" for value in each.sweep_string_iterator()]
        found.append(line)
    return found


def sweeping(name: str) -> tuple[str, list[str]]:
    """The verb of a sweep, and the words that choose it."""
    if name.startswith("scaled/"):
        name = name.removeprefix("scaled/")
        experiment = max((e for e in options("experiments") if name.startswith(f"{e}_")), key=len)
        return "train", [
            f"experiments={experiment}",
            f"sweeps={name.removeprefix(f'{experiment}_')}",
        ]
    header = header_of(name)
    verb = next(verb for verb in VERBS if f"# python {verb}.py" in header)
    chosen = [f"sweeps={name}", *(["data=pairs"] if "data=pairs" in header else [])]
    return verb, [*chosen, *(["experiments=lift_llama8b"] if verb == "adapt" else [])]


@pytest.mark.parametrize("name", SWEEPS)
def test_every_value_of_every_sweep_composes(name: str) -> None:
    verb, chosen = sweeping(name)
    for point in values(*chosen, verb=verb):
        compose_verb(verb, [*chosen, *point])


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_every_point_of_every_sweep_composes(name: str) -> None:
    verb, chosen = sweeping(name)
    for point in points(*chosen, verb=verb):
        compose_verb(verb, [*chosen, *point])


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_says_its_question_its_command_and_its_cost(name: str) -> None:
    header = header_of(name)
    assert header.startswith("# @package _global_\n# ") and "?" in header
    assert f"sweeps={name.split('/')[0]}" in header or name.startswith("scaled/")
    assert re.search("python (train|improve|adapt).py", header) and "# Costs " in header


@pytest.mark.parametrize("name", options("slurm"))
def test_every_slurm_profile_chooses_our_launcher_and_the_stock_one_is_there(name: str) -> None:
    assert "fullcontext_slurm" in raw(f"slurm={name}").hydra.launcher._target_
    assert "submitit" in raw("hydra/launcher=submitit_slurm").hydra.launcher._target_


HEADERS = [*(ROOT / "experiments").glob("*.yaml"), *(ROOT / "sweeps").glob("*.yaml"),
           *(ROOT / "docs").glob("*.md")]  # fmt: skip
SENT = sorted({
    profile for file in HEADERS
    for profile in re.findall(r"^(?:# )?python adapt\.py .*slurm=(\w+)", file.read_text(), re.M)
})  # fmt: skip


@pytest.mark.parametrize("profile", SENT)
def test_adapting_is_sent_to_one_process_a_job_which_is_all_that_it_takes(profile: str) -> None:
    launcher = raw(f"slurm={profile}", "document=book.txt", verb="adapt").hydra.launcher
    assert launcher.nodes * launcher.tasks_per_node == 1


GROUP_FILES = [f for f in sorted((ROOT / "conf").glob("*/*.yaml")) if f.parent.name != "hydra"]


@pytest.mark.parametrize(("group", "name"), [(f.parent.name, f.stem) for f in GROUP_FILES])
def test_every_option_of_every_group_composes(group: str, name: str) -> None:
    overrides = [f"{group}={name}"]
    if name == "key_value_symbols":
        overrides += ["model=symbols", "data=key_value_symbols", "probe.context_tokens=80"]
    if group == "model" and name != "mistral7b":
        overrides += ["data=key_value_symbols", "probe.context_tokens=256"]
    if (group, name) == ("suite", "custom"):
        overrides += ["suite.tasks=[boolq]"]
    verb = {"instructions": "synthesize", "suite": "evaluate"}.get(group, "train")
    if name == "gated_memory":
        verb, overrides = "adapt", [*overrides, "document=book.txt"]
    compose_verb(verb, overrides)


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "report"])
def test_every_verb_composes(verb: str) -> None:
    needed = ["document=book.txt"] if verb == "adapt" else []
    assert isinstance(compose_verb(verb, needed), VERBS[verb])


def test_the_default_run_is_the_papers() -> None:
    config = compose_verb("train", ["data=in2_mix", "model=mistral7b"])
    assert config.data.mixture == {
        "fine_grained": 0.63, "integration": 0.17, "short_context": 0.09, "instruction": 0.11
    }  # fmt: skip
    assert list(config.data.examples.values()) == [1_100_000, 300_000, 150_000, 200_000]
    assert (config.data.segment_size, config.data.context_range) == (128, [4096, 32768])
    assert config.batch_size == 128 and config.epochs == 1 and config.steps == 13_671
    assert (config.schedule.decay, config.schedule.warmup_ratio) == ("cosine", 0.03)
    assert config.schedule.peak == 1e-6 and config.objective.name == "sft"
    assert config.sharding.strategy == "full_shard" and config.sharding.cpu_offload
    assert config.model.path == "mistralai/Mistral-7B-Instruct-v0.2"
    assert config.model.architecture.num_parameters == 7_241_732_096


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+experiment=film7b", r"unknown config keys: experiment; write experiments=NAME.*film7b"),
        ("+data.foo=1", r"unknown config keys: data.foo"),
        ("data.mixture.fine_grained=0.7", r"data.mixture sums to 1.07, not 1 .*change the ratios"),
        ("data.mixture.fine_grained=-0.1", r"data.mixture.fine_grained=-0.1 .*in \[0, 1\]"),
        ("+data.mixture.gossip=0", r"'gossip' is unknown; choose from fine_grained"),
        ("data.examples.integration=0", r"data.mixture.integration=0.17 but .* ask for at least 1"),
        ("data.context_range=[9,8]", r"context_range=\[9, 8\] must be \[least, most\]"),
        ("data.segment_size=0", r"data.segment_size=0 is out of range"),
        ("data.separator=' '", r"data.separator=' ' must be white space that ends in a newline"),
        ("data.prompt='{context} {question}'", r"data.prompt=.* newline right before and after"),
        ("data.prompt='{question}\n{context}\n'", r"data.prompt=.* \{question\} after \{context\}"),
        ("data.prompt_before='{question}{context}\n'", r"prompt_before=.* newline right before"),
        ("data.filler_segment_size=2", r"data.filler_segment_size=2 is out of range"),
        ("data.hard_neighbours=0", r"data.hard_neighbours=0 is out of range"),
        ("batch_size=0", r"batch_size=0 is out of range"),
        ("schedule.peak=0", r"schedule.peak=0.0 is out of range"),
        ("schedule.warmup_ratio=1.5", r"schedule.warmup_ratio=1.5 is out of range.*\[0, 1\]"),
        ("max_tokens=1000", r"max_tokens=1000 is below the longest example"),
        ("data.context_range=[4096,65536]", r"max_tokens=32768 is below|exceeds model.arch"),
        ("data.mixture.instruction=0.00001", r"instruction=1e-05 is below 0.0001"),
        ("probe.tasks=[gossip]", r"probe.tasks='gossip' is unknown; choose from document"),
        ("positions.rope_theta=0.5", r"positions.rope_theta=0.5 .*above 1"),
        ("optimizer.clip_norm=0", r"optimizer.clip_norm=0.0 .*above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_by_key_value_and_remedy(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_verb("train", [override])


def test_files_corpus_needs_its_path() -> None:
    with pytest.raises(ConfigError, match="path"):
        compose_verb("train", ["corpus=files"])


def test_a_config_survives_its_yaml(tmp_path: Path) -> None:
    for overrides in ([], ["experiments=demo"], ["corpus=files", "corpus.path=x"]):
        config = compose_verb("train", overrides)
        write_yaml(config, tmp_path / "config.yaml")
        assert read_yaml(tmp_path / "config.yaml", TrainConfig) == config


def test_a_config_of_another_version_is_refused(tmp_path: Path) -> None:
    tree = plain(compose_verb("train"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree | {"gone": 1}))
    with pytest.raises(ConfigError, match=r"does not fit this version.*gone.*commit.txt"):
        read_yaml(tmp_path / "config.yaml", TrainConfig)


def test_positional_runs_are_quoted() -> None:
    assert command_line.positional("runs", ["a b,c", "x/y", "title=t", "--cfg"]) == [
        "runs=['a b,c','x/y']", "title='t'", "--cfg"
    ]  # fmt: skip
    assert command_line.positional("runs", ["a", "baseline=seed=1"]) == [
        "runs=['a']", "baseline='seed=1'"
    ]  # fmt: skip
    assert command_line.positional("runs", ["baseline=null"]) == ["baseline=null"]
    assert command_line.positional("runs", ["--cfg", "job", "a"]) == ["runs=['a']", "--cfg", "job"]


def test_yaml_holds_no_targets_and_code_no_untyped_config() -> None:
    for path in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "experiments").glob("*.yaml")]:
        assert "_target_" not in path.read_text(), path
    for path in (ROOT / "src" / "fullcontext").rglob("*.py"):
        if path.name != "compose.py":
            assert "DictConfig" not in path.read_text(), path


def test_dataclasses_have_a_yaml_of_their_own_defaults() -> None:
    assert OmegaConf.structured(SotuCorpus()).text_tokens == 600


def test_help_answers_without_torch() -> None:
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--cfg', 'job'];"
        "runpy.run_path('train.py', run_name='__main__'); assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=film7b"], "write experiments=NAME"),
        (["+experiment=film7b"], "write experiments=NAME"),
        (["sweep=x"], "write sweeps=NAME"),
        (["data.segment_sise=3"], "segment_sise"),
        (["batch_size=many"], "batch_size"),
    ],
)
def test_the_command_line_refuses_and_exits_non_zero(words: list[str], message: str) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and message in done.stderr + done.stdout


def test_a_probe_longer_than_the_model_is_refused_where_there_is_one() -> None:
    compose_verb("train", ["probe.context_tokens=40000"])
    with pytest.raises(ConfigError, match=r"probe.context_tokens=40000 exceeds .*=32768"):
        compose_verb("train", ["probe=val", "probe.context_tokens=40000"])


def test_a_flag_becomes_an_override_whatever_the_folder_is_called() -> None:
    for words in (["--status", "a b"], ["--status=a b"]):
        assert command_line.flag("status", words) == ["status='a b'"]
