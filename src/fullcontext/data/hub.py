"""Records of a data set of the Hugging Face hub, or of a folder in its format, streamed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.request import getproxies

import pyarrow as pa

from fullcontext.compose import ConfigError
from fullcontext.data.files import Record
from fullcontext.model import hub

T = TypeVar("T")


class Setting(NamedTuple):
    """How a data set is asked for: what messages name."""

    path: str
    config: str
    split: str
    instead: str
    """What to use without a network."""


def records(path: str, config: str | None, split: str, setting: Setting) -> Iterator[Record]:
    """The records in the order of the data set; what is read stays in no cache.

    Raises ConfigError if it cannot be reached, has no such config or split (saying which there
    are), or breaks off.
    """
    return _streamed(path, config, split, setting, iter)


def tables(path: str, config: str | None, split: str, setting: Setting) -> Iterator[pa.Table]:
    """The same as Arrow tables of a thousand rows, of which no value becomes a Python object."""

    def batches(stream: Any) -> Iterator[pa.Table]:
        return iter(stream.with_format("arrow").iter(batch_size=1000))

    return _streamed(path, config, split, setting, batches)


def _streamed(
    path: str,
    config: str | None,
    split: str,
    setting: Setting,
    opened: Callable[[Any], Iterator[T]],
) -> Iterator[T]:
    import datasets

    refuse_unreachable(path, setting)
    done = 0
    try:
        name = _expanded(path)
        options = _options(name, config)
        stream = datasets.load_dataset(name, config, split=split, streaming=True, **options)
        for item in opened(stream):
            yield item
            done += 1
    except Exception as error:  # datasets raises many kinds for few things; all end here
        raise _unreadable(error, path, setting, done) from error


def _options(path: str, config: str | None) -> dict[str, Any]:
    """Keeps Parquet files from being held in memory whole, as Arrow would to read ahead."""
    import datasets
    from pyarrow.dataset import ParquetFragmentScanOptions

    builder = datasets.load_dataset_builder(path, config)
    if not hasattr(builder.config, "fragment_scan_options"):
        return {}
    scan = ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
    return {"fragment_scan_options": scan, "batch_size": 256}


def parts(
    path: str, config: str | None, split: str | None, setting: Setting
) -> Iterator[tuple[str | None, str]]:
    """Config and split of everything that a data set has of what was asked for; None is all."""
    import datasets

    refuse_unreachable(path, setting)
    try:
        name = _expanded(path)
        configs = [config] if config else datasets.get_dataset_config_names(name)
        for each in configs:
            splits = [split] if split else datasets.get_dataset_split_names(name, each)
            yield from ((each, one) for one in splits)
    except Exception as error:  # as above
        raise _unreadable(error, path, setting, 0) from error


def refuse_unreachable(path: str, setting: Setting) -> None:
    """Raises ConfigError at once where the hub's client would try for a minute."""
    is_path = path.startswith(("/", ".", "~")) or path.endswith((".jsonl", ".json", ".txt"))
    if is_path and not Path(path).expanduser().exists():
        raise ConfigError(
            f"{setting.path}={path!r} does not exist; name a file or folder that does"
        )
    if not is_folder(path) and not hub.answers() and not getproxies():
        raise ConfigError(
            f"{setting.path}={path!r} is no folder here, and the hub does not answer; connect to"
            f" it, or use {setting.instead}"
        )


def is_folder(path: str) -> bool:
    """Whether a data set lies on this machine."""
    return Path(path).expanduser().is_dir()


def _expanded(path: str) -> str:
    return str(Path(path).expanduser()) if is_folder(path) else path


def _unreadable(error: Exception, path: str, setting: Setting, done: int) -> ConfigError:
    said = " ".join(str(error).split())[:400]
    named = f"{setting.path}={path!r}"
    if isinstance(error, ValueError) and "vailable splits" in said:
        return ConfigError(f"{named}: {said}; choose one of them as {setting.split}")
    if isinstance(error, ValueError) and "onfig" in said and "vailable" in said:
        return ConfigError(f"{named}: {said}; choose one of them as {setting.config}")
    return ConfigError(
        f"{named} cannot be read after {done:,} records ({type(error).__name__}: {said}); connect"
        f" to the hub or mend the files, or use {setting.instead}"
    )
