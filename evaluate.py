"""Scores on public tasks: python evaluate.py run=RUN suite=short, with lm-evaluation-harness."""

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.EvaluateConfig)
        from fullcontext.evaluate.run import run

        run(config, compose.run_info())


if __name__ == "__main__":
    entry.launch(main)
