"""How allauth meets our people: nobody signs up by themselves, an admin invites them."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest


class ClosedSignup(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class KnownPeopleOnly(DefaultSocialAccountAdapter):
    """Single sign-on lets in people who already have an account here, by verified email address."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: object) -> bool:
        return False
