"""Routes of a person: the start page and the language."""

from __future__ import annotations

from django.urls import path

from notifyguard.accounts import views

urlpatterns = [
    path("", views.home, name="home"),
    path("language/", views.language, name="language"),
]
