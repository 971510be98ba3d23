"""The product's settings with one bug or failpoint planted: only server processes of chaos run under these."""

from quickim.settings import *  # noqa: F403
from quickim.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.planting.apps.PlantingConfig"]
