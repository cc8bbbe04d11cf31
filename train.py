"""Trains: python train.py data=in2_mix model=mistral7b, python train.py experiments=demo."""

import hydra
from omegaconf import DictConfig

from fullcontext import compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    with entry.errors_for_people():
        from fullcontext.train import preflight, resuming

        info = compose.run_info()
        config = resuming.settled(compose.typed(cfg, compose.schema.TrainConfig), info)
        preflight.check(config, info.output_dir)
        from fullcontext.train.run import run

        return run(config, info)


def within_budget(words: list[str]) -> None:
    from fullcontext.plan import budget

    budget.refuse(words)


if __name__ == "__main__":
    entry.launch(main, first=within_budget)
