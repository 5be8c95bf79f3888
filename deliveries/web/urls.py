"""Routes of a tenant's pages, mounted at ``/t/<slug>/``."""

from __future__ import annotations

from django.urls import include, path

from deliveries.web.dashboard import dashboard
from deliveries.web.delivery import delivery
from deliveries.web.error_list import error_list
from deliveries.web.export import error_export

urlpatterns = [
    path("", dashboard, name="dashboard"),
    path("errors/", error_list, name="error_list"),
    path("errors/export", error_export, name="error_export"),
    path("deliveries/<uuid:delivery_id>/", delivery, name="delivery"),
    path("", include("deliveries.web.connection_urls")),
]
