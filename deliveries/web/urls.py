"""Routes of a tenant's pages, mounted at ``/t/<slug>/``."""

from __future__ import annotations

from django.urls import include, path

from deliveries.web.dashboard import dashboard
from deliveries.web.delivery import delivery
from deliveries.web.error_list import error_list
from deliveries.web.export import error_export
from deliveries.web.headers import headers
from deliveries.web.hook import resend_hook, resend_hook_remove, resend_hook_secret
from deliveries.web.mail_log import mail_log, mail_log_export
from deliveries.web.plans import plan, plan_list, plan_new, plan_results, plan_step
from deliveries.web.policies import retry_edit, retry_list
from deliveries.web.report import undelivered
from deliveries.web.resend import delivery_correct, delivery_resend, delivery_resend_others
from deliveries.web.suppressions import (
    suppression,
    suppression_add,
    suppression_list,
    suppression_provider,
    suppression_remove,
)
from deliveries.web.ticket import ticket

urlpatterns = [
    path("", dashboard, name="dashboard"),
    path("errors/", error_list, name="error_list"),
    path("errors/export", error_export, name="error_export"),
    path("deliveries/<uuid:delivery_id>/", delivery, name="delivery"),
    path("deliveries/<uuid:delivery_id>/resend", delivery_resend, name="delivery_resend"),
    path("deliveries/<uuid:delivery_id>/correct", delivery_correct, name="delivery_correct"),
    path("deliveries/<uuid:delivery_id>/resend-others", delivery_resend_others, name="delivery_resend_others"),
    path("resends/", plan_list, name="plans"),
    path("resends/new", plan_new, name="plan_new"),
    path("resends/<uuid:plan_id>/", plan, name="plan"),
    path("resends/<uuid:plan_id>/step", plan_step, name="plan_step"),
    path("resends/<uuid:plan_id>/results", plan_results, name="plan_results"),
    path("settings/retry/", retry_list, name="retry"),
    path("settings/retry/<str:code>/", retry_edit, name="retry_edit"),
    path("settings/resend-hook/", resend_hook, name="resend_hook"),
    path("settings/resend-hook/secret", resend_hook_secret, name="resend_hook_secret"),
    path("settings/resend-hook/remove", resend_hook_remove, name="resend_hook_remove"),
    path("mail-log/", mail_log, name="mail_log"),
    path("mail-log/export", mail_log_export, name="mail_log_export"),
    path("undelivered/", undelivered, name="undelivered"),
    path("headers/", headers, name="headers"),
    path("deliveries/<uuid:delivery_id>/ticket", ticket, name="ticket"),
    path("suppressions/", suppression_list, name="suppressions"),
    path("suppressions/add", suppression_add, name="suppression_add"),
    path("suppressions/<uuid:suppression_id>/", suppression, name="suppression"),
    path("suppressions/<uuid:suppression_id>/provider", suppression_provider, name="suppression_provider"),
    path("suppressions/<uuid:suppression_id>/remove", suppression_remove, name="suppression_remove"),
    path("contacts/", include("deliveries.web.contact_urls")),
    path("", include("deliveries.web.connection_urls")),
]
