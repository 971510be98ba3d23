"""The app whose start plants what the environment names."""

import os
from pathlib import Path

from django.apps import AppConfig

from tests.chaos.planting.signals import DIRECTORY, listen

BUG = "QUICKIM_TEST_PLANT"
"""The name of one bug of tests.chaos.planting.bugs."""
FAILPOINT = "QUICKIM_TEST_FAIL_AT"
"""The name of one failpoint, and how often it is passed before it strikes: ``after_commit:20``."""


class PlantingConfig(AppConfig):
    """Last of all apps: everything that it changes is there already."""

    name = "tests.chaos.planting"
    label = "planting"

    def ready(self) -> None:
        """Plant."""
        # Models must be ready, and the settings module is imported before they are.
        from tests.chaos.planting.bugs import PLANTS  # noqa: PLC0415
        from tests.chaos.planting.failpoints import arm  # noqa: PLC0415

        if name := os.environ.get(BUG):
            PLANTS[name]()
        if failpoint := os.environ.get(FAILPOINT):
            arm(failpoint)
        if directory := os.environ.get(DIRECTORY):
            listen(Path(directory))
