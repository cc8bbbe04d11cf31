"""Whether the Hugging Face hub can be asked at all: its client retries for most of a minute."""

import os
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

TIMEOUT_S = 1.5


@cache
def answers() -> bool:
    """Whether the hub may be asked (HF_HUB_OFFLINE) and takes a connection."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return False
    address = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), TIMEOUT_S):
            return True
    except OSError:
        return False


def is_cached(repository: str) -> bool:
    """Whether safetensors of a repository lie in the hub's cache on this machine."""
    home = os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")
    cache_folder = Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub"))
    name = "models--" + repository.replace("/", "--")
    return any((cache_folder / name).glob("snapshots/*/*.safetensors"))
