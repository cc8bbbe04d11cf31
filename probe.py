"""Measures position bias: python probe.py run=RUN, python probe.py model=smollm2_135m."""

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="probe")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.ProbeRunConfig)
        from fullcontext.probe.run import run

        run(config, compose.run_info())


if __name__ == "__main__":
    entry.launch(main)
