from __future__ import annotations

from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return encoder names of tiny models, one in each published format."""
    folder: Path = tmp_path_factory.mktemp("weights")
    tiny.register(folder)
    return tiny.write_published(folder)
