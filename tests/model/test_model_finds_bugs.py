"""The model is not vacuous: with a bug in the product it fails, and by one of its own checks."""

import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from hypothesis import Phase

from tests.model.bugs import BUGS, Plant
from tests.model.followers import Follower
from tests.model.machine import Messenger
from tests.model.running import prepare, run_model

T = TypeVar("T")

EXAMPLES = 40
SEED = int(os.environ.get("QUICKIM_TEST_SEED", "1"))

found: list[BaseException] = []


class Finder(Messenger):
    """Keeps what it finds."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See World."""
        with _kept():
            return super().run(work)

    def check_complete(self, follower: Follower) -> None:
        """See World."""
        with _kept():
            super().check_complete(follower)


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except (AssertionError, pytest.fail.Exception) as failure:
        found.append(failure)
        raise


@pytest.mark.slow
@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
@pytest.mark.django_db(transaction=True)
def test_the_model_finds(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    prepare(monkeypatch)
    found.clear()
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        run_model(SEED, EXAMPLES, phases=(Phase.generate,), machine=Finder)
    assert found, raised.value
