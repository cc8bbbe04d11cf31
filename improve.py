"""Improves on its own samples: python improve.py recipe=sealong_llama8b."""

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="improve")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.ImproveConfig)
        from fullcontext.improve.run import run

        run(config, compose.run_info())


if __name__ == "__main__":
    entry.launch(main)
