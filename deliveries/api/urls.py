"""The API's addresses, below /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from deliveries.api import contacts, notifications, plans, suppressions, views

urlpatterns = [
    path("deliveries/", views.DeliveriesView.as_view(), name="api-deliveries"),
    path("deliveries/<uuid:delivery_id>/", views.DeliveryView.as_view(), name="api-delivery"),
    path("deliveries/<uuid:delivery_id>/resend/", plans.ResendView.as_view(), name="api-resend"),
    path("attempts/<uuid:attempt_id>/", plans.AttemptView.as_view(), name="api-attempt"),
    path("resends/", plans.PlansView.as_view(), name="api-plans"),
    path("resends/<uuid:plan_id>/", plans.PlanView.as_view(), name="api-plan"),
    path("resends/<uuid:plan_id>/<slug:step>/", plans.PlanStepView.as_view(), name="api-plan-step"),
    path("contacts/", contacts.ContactsView.as_view(), name="api-contacts"),
    path("contacts/<str:external_id>/", contacts.ContactView.as_view(), name="api-contact"),
    path("notifications/", notifications.NotificationsView.as_view(), name="api-notifications"),
    path("notifications/<uuid:notice_id>/", notifications.NotificationView.as_view(), name="api-notification"),
    path("suppressions/", suppressions.SuppressionsView.as_view(), name="api-suppressions"),
    path("suppressions/<uuid:suppression_id>/", suppressions.SuppressionView.as_view(), name="api-suppression"),
    path("unparsed/", views.UnparsedView.as_view(), name="api-unparsed"),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    # Only what ends in a slash: Django then still redirects an address that lacks it.
    re_path(r"^(?:[\s\S]*/)?$", views.NothingHereView.as_view(), name="api-nothing-here"),
]
