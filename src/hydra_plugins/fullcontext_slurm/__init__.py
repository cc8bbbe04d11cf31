"""Hydra's launcher for sweeps on SLURM; Hydra finds plugins in the namespace `hydra_plugins`."""
