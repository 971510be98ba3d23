"""Django's settings, built from the environment by `quickim.env`; our own are in `settings.QUICKIM`.

Law: nothing here is read from the environment directly, no secret has a default. Whoever imports this in a
malformed environment (manage.py, uvicorn, daphne, pytest) exits with code 1 and one line for each problem.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from quickim import backends
from quickim.env import Configuration, ConfigurationError, read_configuration
from quickim.observability.logs import logging_configuration

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    QUICKIM: Configuration = read_configuration(os.environ, BASE_DIR)
except ConfigurationError as error:
    # Not ImproperlyConfigured: servers that import an application would print that with a traceback.
    sys.exit(str(error))

DEBUG = QUICKIM.debug
SECRET_KEY = QUICKIM.secret_key
ALLOWED_HOSTS = [*QUICKIM.allowed_hosts, *QUICKIM.admin_hosts]

INSTALLED_APPS = [
    # Before staticfiles, whose runserver it replaces; elsewhere it would only load Twisted, 16 MB a process.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "gateway.desk.apps.DeskConfig",  # django.contrib.admin with our site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_eventstream",
    "conversations",
    "messaging",
    "gateway",
    "quickim",
]

# Of pages for people only: endpoints, /notify and the desk's live stream never come here (quickim.rest.edge).
MIDDLEWARE = [
    "gateway.desk.middleware.secure_cookies",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ASGI_APPLICATION = "quickim.asgi.application"
ROOT_URLCONF = "quickim.urls"
# Paths are exact: an unknown one is answered 10004, not redirected.
APPEND_SLASH = False

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"desk": "gateway.desk.tags"},
        },
    }
]

DATABASES = backends.databases(QUICKIM.database_url, QUICKIM.data_dir)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = backends.channel_layers(QUICKIM.redis_urls, QUICKIM.layer_keys)

# Django's own default, 2.5 MB, knows nothing of our limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = QUICKIM.max_body_bytes

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["gateway.tokens.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "EXCEPTION_HANDLER": "quickim.rest.answers.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

# Dotted path of the guard of /inner/*: the apps below the gateway know it only by this name.
INNER_GUARD = "gateway.guard.guard_inner"
# And of what is asked of each call once that let it pass: it may take a look into the database.
INNER_SIGNATURE_GUARD = "gateway.signatures.guard_signature"

# The same for what `serve` says at the start: the checks are the roof's.
STARTUP_FINDINGS = "quickim.checks.startup_findings"

SIMPLE_JWT: dict[str, Any] = {
    "ALGORITHM": "HS256",
    # Never SECRET_KEY, with which django-eventstream signs a parameter that overrides user and channels.
    "SIGNING_KEY": QUICKIM.jwt_keys[0].key,
    "ISSUER": "quick-im",
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=QUICKIM.token_ttl_seconds),
    "LEEWAY": 10,
}

# Its Redis listener (EVENTSTREAM_REDIS) dies for good after an outage; the hub feeds its streams instead.
EVENTSTREAM_CHANNELMANAGER_CLASS = "gateway.eventstream.ChannelManager"
EVENTSTREAM_STORAGE_CLASS = "gateway.eventstream.MessageStorage"

LANGUAGE_CODE = "en-us"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"

# Cookies of the support desk, and of nothing else.
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"
SESSION_COOKIE_AGE = 12 * 3_600
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = QUICKIM.https
SECURE_HSTS_SECONDS = 31_536_000 if QUICKIM.https else 0
# What other names of the domain do, and whether browsers ship with its name, is for the owner of the domain to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGGING = logging_configuration(QUICKIM.log_format, access_log=QUICKIM.access_log, debug=QUICKIM.debug)
