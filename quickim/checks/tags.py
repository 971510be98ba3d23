"""The tag of our own checks: `manage.py check --tag quickim`."""

QUICKIM = "quickim"
