"""The one place where routes are mounted."""

from __future__ import annotations

from django.urls import include, path

from deliveries.webhooks import receive
from notifyguard import health

urlpatterns = [
    path("webhooks/<slug:provider>/<str:token>", receive, name="webhook"),
    path("api/v1/", include("deliveries.api.urls")),
    path("accounts/", include("allauth.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("notifyguard.accounts.urls")),
    path("t/<slug:slug>/", include("deliveries.web.urls")),
]
