"""Routes of the contacts, mounted at ``/t/<slug>/contacts/``."""

from __future__ import annotations

from django.urls import path

from deliveries.web import contact_import as imports
from deliveries.web import contacts

urlpatterns = [
    path("", contacts.contact_list, name="contacts"),
    path("new/", contacts.contact_new, name="contact_new"),
    path("import/", imports.contact_imports, name="contact_imports"),
    path("import/template", imports.contact_template, name="contact_template"),
    path("import/<uuid:import_id>/", imports.contact_import, name="contact_import"),
    path("import/<uuid:import_id>/apply", imports.contact_import_apply, name="contact_import_apply"),
    path("import/<uuid:import_id>/discard", imports.contact_import_discard, name="contact_import_discard"),
    path("<uuid:contact_id>/", contacts.contact, name="contact"),
    path("<uuid:contact_id>/edit", contacts.contact_edit, name="contact_edit"),
    path("<uuid:contact_id>/hint", contacts.contact_hint, name="contact_hint"),
    path("<uuid:contact_id>/no-address", contacts.contact_no_address, name="contact_no_address"),
    path("<uuid:contact_id>/remove", contacts.contact_remove, name="contact_remove"),
]
