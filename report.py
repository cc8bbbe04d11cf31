"""Compares runs on one page: python report.py RUN [RUN ...]; python report.py --status SWEEP."""

import sys

import hydra
from omegaconf import DictConfig

from fullcontext import command_line, compose, entry

compose.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="report")
def main(cfg: DictConfig) -> None:
    with entry.errors_for_people():
        config = compose.typed(cfg, compose.schema.ReportConfig)
        from fullcontext.report.run import run

        run(config, compose.run_info())


if __name__ == "__main__":
    sys.argv[1:] = command_line.positional("runs", command_line.flag("status", sys.argv[1:]))
    entry.launch(main)
