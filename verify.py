"""Checks that every layout gives one gradient: python verify.py experiments=film7b."""

import sys

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.TrainConfig)
        from fullcontext.verify.run import run

        run(config)


if __name__ == "__main__":
    sys.argv.append("hydra.run.dir=outputs/verify")  # the settings are train.py's, the folder not
    entry.launch(main)
