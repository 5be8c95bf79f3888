"""One settings file for every environment; what differs comes from the environment (docs/operations.md)."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import structlog
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from notifyguard.env import database, env, env_bool, env_int, env_list

BASE_DIR = Path(__file__).resolve().parent.parent

# `manage.py demo` only supervises: it starts the database that its children then use.
SUPERVISING = len(sys.argv) > 1 and sys.argv[1] in {"demo", "classify", "collectstatic", "help", "makemessages"}

DEBUG = env_bool("DEBUG")
SECRET_KEY = env("SECRET_KEY", "supervisor-signs-nothing" if SUPERVISING else None)
ENCRYPTION_KEYS = env_list("NOTIFYGUARD_ENCRYPTION_KEYS", "" if SUPERVISING else None)
PUBLIC_URL = env("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "127.0.0.1,localhost")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SNS_CERT_URLS = env_list("NOTIFYGUARD_SNS_CERT_URLS")
ALLOW_LOOPBACK = env_bool("NOTIFYGUARD_ALLOW_LOOPBACK")
METRICS_TOKEN = env("NOTIFYGUARD_METRICS_TOKEN", "")
WEBHOOK_BODY_LIMIT = env_int("NOTIFYGUARD_WEBHOOK_BODY_LIMIT", 2 * 1024 * 1024)
# Stand-ins for the providers' own hosts, e.g. sendgrid=http://127.0.0.1:8100: for the sandbox and tests alone.
PROVIDER_URLS = dict(pair.split("=", 1) for pair in env_list("NOTIFYGUARD_PROVIDER_URLS"))
SEND_TIMEOUT_S = env_int("NOTIFYGUARD_SEND_TIMEOUT_S", 20)
# How long a call may be under way before its worker counts as lost and its outcome as unknown.
SEND_LEASE_S = env_int("NOTIFYGUARD_SEND_LEASE_S", SEND_TIMEOUT_S * 3)
RAW_RETENTION_DAYS = env_int("NOTIFYGUARD_RAW_RETENTION_DAYS", 30)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "rest_framework",
    "notifyguard",
    "notifyguard.accounts",
    "deliveries",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "notifyguard.accounts.middleware.LanguageMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "notifyguard.urls"
WSGI_APPLICATION = "notifyguard.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "notifyguard.accounts.middleware.tenant_context",
            ],
        },
    }
]

# `default` is the application's role: it owns no table and row-level security binds it. `owner` migrates.
_url = env("DATABASE_URL", "" if SUPERVISING else None)
DATABASES = {"default": database(_url), "owner": database(env("DATABASE_OWNER_URL", _url))} if _url else {}
DATABASE_ROUTERS = ["notifyguard.accounts.tenancy.OwnerMigrates"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 0.3, "socket_timeout": 0.5},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A webhook must not wait for a broker that is away: the sweep finds what was not told (deliveries/tasks.py).
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 0.3,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "visibility_timeout": 600,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_ROUTES = {
    "deliveries.process_inbox": {"queue": "inbox"},
    "deliveries.sweep": {"queue": "inbox"},
    # A provider that answers slowly must not delay a webhook.
    "deliveries.send_queued": {"queue": "send"},
    "deliveries.run_plan": {"queue": "send"},
    "deliveries.take_off_lists": {"queue": "send"},
}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "deliveries.sweep", "schedule": 2.0, "options": {"expires": 10}},
    "sweep-sending": {"task": "deliveries.sweep_sending", "schedule": 2.0, "options": {"expires": 10}},
    "fold-tallies": {"task": "deliveries.fold_tallies", "schedule": 5.0, "options": {"expires": 10}},
    "prepare-partitions": {"task": "deliveries.prepare_partitions", "schedule": timedelta(hours=6)},
    "retention": {"task": "deliveries.apply_retention", "schedule": timedelta(hours=1)},
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "notifyguard.accounts.adapter.ClosedSignup"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = None
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_DEFAULT_HTTP_PROTOCOL = PUBLIC_URL.split(":", 1)[0]
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # an admin, not the person, entered the address
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG or PUBLIC_URL.startswith("http://")
SOCIALACCOUNT_PROVIDERS: dict[str, object] = {}
if OIDC_URL := env("NOTIFYGUARD_OIDC_URL", ""):
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {
        "APPS": [
            {
                "provider_id": "oidc",
                "name": env("NOTIFYGUARD_OIDC_NAME", "Single sign-on"),
                "client_id": env("NOTIFYGUARD_OIDC_CLIENT_ID"),
                "secret": env("NOTIFYGUARD_OIDC_SECRET"),
                "settings": {"server_url": OIDC_URL},
            }
        ]
    }
SOCIALACCOUNT_ADAPTER = "notifyguard.accounts.adapter.KnownPeopleOnly"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

EMAIL_BACKEND = env("EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
EMAIL_HOST = env("EMAIL_HOST", "localhost")
EMAIL_PORT = env_int("EMAIL_PORT", 25)
EMAIL_HOST_USER = env("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS")
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", "notifyguard@localhost")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ja", _("Japanese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = Path(env("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True

_https = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env_bool("NOTIFYGUARD_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["deliveries.api.auth.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["deliveries.api.auth.HasRole"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "deliveries.api.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "NotifyGuard API",
    "DESCRIPTION": "Deliveries of notices, the Notification Error List and what could not be read.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
}

DATA_UPLOAD_MAX_MEMORY_SIZE = WEBHOOK_BODY_LIMIT + 1024

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "INFO")},
    "loggers": {"django.request": {"level": "ERROR"}, "celery.beat": {"level": "WARNING"}},
}
