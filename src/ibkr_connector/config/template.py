"""The commented settings file this package ships, and writing it for the user."""

from __future__ import annotations

import os
import secrets
from importlib.resources import files
from pathlib import Path

from ibkr_connector.config.load import CONFIG_NAME
from ibkr_connector.errors import ConfigurationError


def template_text() -> str:
    """The text of the template: every key, with its meaning, unit, default and environment variable."""
    return files(__package__).joinpath(CONFIG_NAME).read_text(encoding="utf-8")


def write_template(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write the template to a file only its owner can read (0600), and return the file's path.

    A folder, or a path that ends in a separator, gets `ibkr_config.ini` inside. An existing file is
    replaced only with `force`, in one step. Raises ConfigurationError where the file exists or cannot be written.
    """
    target = Path(path).expanduser()
    if target.is_dir() or str(path).endswith(("/", os.sep)):
        target /= CONFIG_NAME
    data = template_text().encode("utf-8")
    try:
        _make_folder(target.parent)
        if not force:
            _create(target, data)
        else:
            draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            try:
                _create(draft, data)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{target} exists already.",
            remedy="Edit it, choose another path, or replace it with --force.",
            field="path",
            origin=str(target),
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror or type(error).__name__}.",
            remedy="Choose a folder you may write to.",
            field="path",
            origin=str(target),
        ) from error
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(error.errno, f"{folder} is not a folder") from error


def _create(path: Path, data: bytes) -> None:
    """Create a file that did not exist, readable by its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
