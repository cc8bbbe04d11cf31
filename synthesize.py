"""Makes a store of segments and questions: python synthesize.py corpus=sotu model=tiny."""

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="synthesize")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.SynthesizeConfig)
        from fullcontext.data.synthesis import run

        run(config, compose.run_info())


if __name__ == "__main__":
    entry.launch(main)
