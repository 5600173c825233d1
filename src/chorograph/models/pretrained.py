"""What lies in the layout of Hugging Face's libraries, loaded whole or refused: no code of it runs, no hub is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular, naming_damage
from chorograph.models.weights import check_whole

AGAIN = "get all of its files again"


def check_files(folder: Path) -> None:
    """Raise `InputError` for a folder with pipes or devices in it, which a library would wait for or read for ever."""
    for path in folder.rglob("*"):
        if not path.is_dir():
            check_regular(path)


def load_pretrained(kind: Any, named: str | Path, what: str, **asked: Any) -> Any:
    """Return a model of transformers, from a folder or by the name of one.

    Raises `InputError` naming it where it is damaged, where a weight is missing, which the library would draw at random
    and say nothing of, or where one is no finite number.
    """
    from transformers import logging

    logging.disable_progress_bar()
    check_files(Path(named))
    with naming_damage(Path(named), what, AGAIN):
        model, told = kind.from_pretrained(
            named, **{"local_files_only": True, **asked}, trust_remote_code=False, output_loading_info=True
        )
    if lacking := sorted(told["missing_keys"]):
        raise InputError(f"{named}: its weights lack {lacking[0]}, {len(lacking)} in all; {AGAIN}")
    check_whole(model, str(named))
    return model


def load_tokenizer(kind: Any, named: str | Path, **asked: Any) -> Any:
    """Return a tokenizer or processor of transformers; `InputError` naming where it lies for one that is damaged."""
    with naming_damage(Path(named), "a tokenizer or processor", AGAIN):
        return kind.from_pretrained(named, **{"local_files_only": True, **asked}, trust_remote_code=False)
