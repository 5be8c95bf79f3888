"""Routes of the pages about connections, unreadable items, quarantine and settings."""

from __future__ import annotations

from django.urls import path

from deliveries.web import connections, quarantine, sending, settings_pages, unparsed

urlpatterns = [
    path("connections/", connections.connection_list, name="connections"),
    path("connections/new/", connections.connection_choose, name="connection_choose"),
    path("connections/new/<slug:provider>/", connections.connection_new, name="connection_new"),
    path("connections/<uuid:connection_id>/", connections.connection_detail, name="connection"),
    path("connections/<uuid:connection_id>/arrivals/", connections.connection_first_event, name="connection_arrivals"),
    path("connections/<uuid:connection_id>/test/", connections.connection_test, name="connection_test"),
    path("connections/<uuid:connection_id>/key/", connections.connection_secret, name="connection_secret"),
    path("connections/<uuid:connection_id>/edit/", connections.connection_edit, name="connection_edit"),
    path("connections/<uuid:connection_id>/switch/", connections.connection_switch, name="connection_switch"),
    path("connections/<uuid:connection_id>/sending/", sending.connection_sending, name="connection_sending"),
    path(
        "connections/<uuid:connection_id>/sending/check/",
        sending.connection_sending_check,
        name="connection_sending_check",
    ),
    path(
        "connections/<uuid:connection_id>/sending/prefer/",
        sending.connection_sending_prefer,
        name="connection_sending_prefer",
    ),
    path(
        "connections/<uuid:connection_id>/sending/stop/",
        sending.connection_sending_stop,
        name="connection_sending_stop",
    ),
    path("connections/<uuid:connection_id>/routes/", connections.route_add, name="route_add"),
    path(
        "connections/<uuid:connection_id>/routes/<uuid:route_id>/remove/",
        connections.route_remove,
        name="route_remove",
    ),
    path("unparsed/", unparsed.unparsed, name="unparsed"),
    path("unparsed/retry/", unparsed.unparsed_retry, name="unparsed_retry"),
    path("quarantine/", quarantine.held_list, name="quarantine"),
    path("quarantine/route/", quarantine.held_route, name="quarantine_route"),
    path("settings/", settings_pages.settings_index, name="settings"),
    path("settings/people/", settings_pages.people_list, name="people"),
    path("settings/people/<uuid:membership_id>/role/", settings_pages.person_role, name="person_role"),
    path("settings/people/<uuid:membership_id>/remove/", settings_pages.person_remove, name="person_remove"),
    path("settings/people/<uuid:membership_id>/link/", settings_pages.person_link, name="person_link"),
    path("settings/tokens/", settings_pages.token_list, name="api_tokens"),
    path("settings/tokens/<uuid:token_id>/revoke/", settings_pages.token_revoke, name="api_token_revoke"),
    path("settings/audit/", settings_pages.audit_log, name="audit_log"),
    path("settings/organisation/", settings_pages.organisation, name="organisation"),
]
