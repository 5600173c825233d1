"""Secrets in addresses: they come from the environment, and nothing that is kept or shown holds them."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, urlsplit

from chorograph.ground.errors import SettingError

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: Parts of a query that are secrets by their names.
_SECRET = re.compile(r"key|token|secret|password|passwd|^sig$|signature|credential|^auth", re.IGNORECASE)


def check_no_secret(address: str) -> str:
    """Return an address that holds no secret in plain; `SettingError` says how to write one that does.

    A secret is written as `${NAME}`, the name of a variable of the environment.
    """
    if not _NAME.sub("", address).isprintable():
        raise SettingError("an address is one line of printable characters")
    try:
        parts = urlsplit(address)
        query, password = parse_qsl(parts.query, keep_blank_values=True), parts.password
    except ValueError:
        raise SettingError("an address is not readable as a URL") from None
    named = [name for name, value in query if _SECRET.search(name) and value and not value.startswith(("${", "{"))]
    if password and not password.startswith("${"):
        named.append("password")
    if named:
        raise SettingError(
            f"the address holds {named[0]} in plain, and it would stand in the area's manifest; put it into a variable "
            f"of the environment and write {named[0]}=${{NAME_OF_THE_VARIABLE}}"
        )
    return address


def with_secrets(address: str) -> str:
    """Return an address with the variables of the environment that it names; `SettingError` for one that is not set."""
    return _NAME.sub(lambda match: secret(match[1]), address)


def secret(name: str) -> str:
    """Return a variable of the environment; `SettingError` where it is not set."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingError(f"the environment has no variable {name}; set it to the token or key of the service")
    return value
