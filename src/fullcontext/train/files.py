"""The files of a checkpoint, hashed while they are written."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter


class HashingWriter(FileSystemWriter):
    """torch's writer, synced; `hashes` has the SHA-256 of every file that this rank wrote.

    The hash is of what was meant, not of what a disk gave back. Errors name the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sync_files=True)
        self.hashes: dict[str, str] = {}
        self.fs = _Hashing(self.hashes)


class _Hashing(FileSystem):
    def __init__(self, hashes: dict[str, str]) -> None:
        self._hashes = hashes

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        try:
            with super().create_stream(path, mode) as stream:
                hashed = _Hashed(stream)
                yield hashed
        except Exception as error:
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise OSError(f"{path}: {getattr(cause, 'strerror', None) or cause}") from error
        self._hashes[Path(path).name] = hashed.hash.hexdigest()

    def rename(self, path: Any, new_path: Any) -> None:
        super().rename(path, new_path)
        self._hashes[Path(new_path).name] = self._hashes.pop(Path(path).name)


class _Hashed:
    """A file opened for writing, front to back."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.hash = stream, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return int(self._stream.write(data))

    def tell(self) -> int:
        return int(self._stream.tell())

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()
