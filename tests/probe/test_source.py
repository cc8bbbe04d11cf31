import json
from dataclasses import replace

import pytest

from fullcontext.compose import ConfigError, RunInfo, compose_verb, write_yaml
from fullcontext.model import attention
from fullcontext.probe import source


@pytest.fixture(scope="module")
def trained(text, text_model, tmp_path_factory):
    """A training run's folder with an exported model at step 60."""
    folder = tmp_path_factory.mktemp("trained")
    config, _ = text
    run = compose_verb("train", ["experiments=demo", "name=mine"])
    write_yaml(replace(run, model=config.model), folder / "config.yaml")
    (folder / "status.json").write_text(json.dumps({"verb": "train", "step": 60}))
    text_model.config._attn_implementation = "sdpa"
    text_model.save_pretrained(folder / "export")
    text_model.config._attn_implementation = attention.NAME
    return folder


def info(*overrides, folder):
    return RunInfo(folder, {}, list(overrides))


def test_a_run_is_probed_with_its_own_model_and_data(text, text_model, trained, tmp_path):
    config = replace(text[0], run=str(trained))
    found = source.find(config, info(folder=tmp_path))
    assert found.config.data.name == "in2_laptop"
    assert found.config.model == text[0].model
    assert found.config.name == "mine"
    model, step = source.load_model(found)
    assert step == 60
    own = text_model.state_dict()
    assert all(value.equal(own[name]) for name, value in model.state_dict().items())


def test_a_named_step_takes_the_checkpoint_and_not_the_export(text, trained, tmp_path):
    config = replace(text[0], run=str(trained), step=20)
    found = source.find(config, info(folder=tmp_path))
    assert found.weights is None
    with pytest.raises(ConfigError, match="no whole checkpoint of step 20"):
        source.load_model(found)


@pytest.mark.parametrize("override", ["model=tiny", "data.separator=x", "+positions.rope_theta=1"])
def test_overrides_that_a_run_would_ignore_are_refused(text, trained, tmp_path, override):
    config = replace(text[0], run=str(trained))
    with pytest.raises(ConfigError, match=r"remove the override"):
        source.find(config, info("seed=1", override, folder=tmp_path))


def test_a_folder_that_is_no_training_run_is_refused(text, tmp_path):
    config = replace(text[0], run=str(tmp_path))
    with pytest.raises(ConfigError, match=r"it has no config\.yaml"):
        source.find(config, info(folder=tmp_path))
    write_yaml(text[0], tmp_path / "config.yaml")
    (tmp_path / "status.json").write_text('{"verb": "probe"}')
    with pytest.raises(ConfigError, match=r"probe\.py wrote it"):
        source.find(config, info(folder=tmp_path))


def test_a_step_without_a_run_is_refused(text, tmp_path):
    with pytest.raises(ConfigError, match="step=3 needs a run"):
        source.find(replace(text[0], step=3), info(folder=tmp_path))


def test_answers_of_other_settings_are_not_mixed_in(text, tmp_path):
    config = text[0]
    source.refuse_other_settings(config, tmp_path)
    write_yaml(config, tmp_path / "config.yaml")
    (tmp_path / "answers").mkdir()
    same = replace(config.probe, tasks=["code"], bins=7)
    source.refuse_other_settings(replace(config, threads=2, probe=same), tmp_path)
    with pytest.raises(ConfigError, match="another probe, seed; choose another folder"):
        other = replace(config.probe, context_tokens=512)
        source.refuse_other_settings(replace(config, seed=1, probe=other), tmp_path)
