"""Puts long inputs into parameters: python adapt.py model=tiny document=book.txt question="..."."""

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="adapt")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.AdaptConfig)
        from fullcontext.adapt.run import run

        run(config, compose.run_info())


if __name__ == "__main__":
    entry.launch(main)
