"""The API's addresses, below /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from deliveries.api import views

urlpatterns = [
    path("deliveries/", views.DeliveriesView.as_view(), name="api-deliveries"),
    path("deliveries/<uuid:delivery_id>/", views.DeliveryView.as_view(), name="api-delivery"),
    path("unparsed/", views.UnparsedView.as_view(), name="api-unparsed"),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    # Only what ends in a slash: Django then still redirects an address that lacks it.
    re_path(r"^(?:.*/)?$", views.NothingHereView.as_view(), name="api-nothing-here"),
]
