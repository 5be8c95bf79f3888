"""Forms of the connection and settings pages: what is asked, and what is wrong with an answer."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import phonenumbers
from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from deliveries.web.steps import KEY_COMES_LATER
from notifyguard.accounts.models import Role, Tenant
from providers.base import Field, Provider

# Fields that rotate as secrets do but are none: they may be seen while they are entered.
NOT_CONFIDENTIAL = frozenset({"public_key"})
TOKEN_DAYS = (30, 90, 365)
NEVER = 0
LONGEST_BODY_DAYS = 3650


@cache
def zone_names() -> tuple[str, ...]:
    """Reading the names takes hundreds of files, so once."""
    return tuple(sorted(zoneinfo.available_timezones() - {"Factory", "localtime"}))


class PlainForm(forms.Form):
    """A form without colons after its labels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class ConnectionForm(PlainForm):
    """What a connection is called and the provider's own fields; the key is asked for a new connection only.

    ``sharing`` asks what only the operator may choose: whether the connection is shared, and by what it is routed.
    """

    name = forms.CharField(
        label=_("Name"), max_length=200, help_text=_("How this source is called here, in lists and on deliveries.")
    )

    def __init__(self, provider: Provider, *args: Any, is_new: bool, sharing: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.provider = provider
        for field in provider.fields:
            if is_new or not field.secret:
                self.fields[field.name] = _provider_field(field, provider)
        if sharing and is_new:
            self.fields["shared"] = forms.BooleanField(
                label=_("Shared by several organisations"),
                required=False,
                help_text=_("One account of the provider serves them all; each event is led to one by the route key."),
            )
        if sharing:
            keys = ", ".join(provider.route_keys)
            self.fields["route_by"] = forms.CharField(
                label=_("Route key"),
                required=not is_new,
                max_length=64,
                help_text=gettext("What tells the organisations apart in an event: %(keys)s.") % {"keys": keys},
            )

    def provider_values(self) -> dict[str, str]:
        """Return the answers to the provider's own fields."""
        names = {field.name for field in self.provider.fields}
        return {name: value for name, value in self.cleaned_data.items() if name in names}


def _provider_field(field: Field, provider: Provider) -> forms.CharField:
    comes_later = field.secret and provider.name in KEY_COMES_LATER
    help_text = gettext(field.help) if field.help else ""
    if comes_later:
        help_text += " " + gettext("Leave it empty if it is not shown yet: it can be entered after the URL was pasted.")
    return forms.CharField(
        label=gettext(field.label),
        help_text=help_text.strip(),
        required=field.required and not comes_later,
        max_length=2_000,
        widget=_secret_widget(field) if field.secret else forms.TextInput,
    )


def _secret_widget(field: Field) -> forms.Widget:
    attributes = {"autocomplete": "off", "spellcheck": "false"}
    if field.name in NOT_CONFIDENTIAL:
        return forms.TextInput(attributes)
    return forms.PasswordInput({**attributes, "autocomplete": "new-password"})


class SecretForm(PlainForm):
    """A new key or secret; the one before it stays valid."""

    secret = forms.CharField(max_length=2_000)

    def __init__(self, field: Field, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["secret"].label = gettext(field.label)
        self.fields["secret"].help_text = gettext(field.help) if field.help else ""
        self.fields["secret"].widget = _secret_widget(field)


class SecretText(forms.Textarea):
    """A secret of several lines; what was entered is never shown again, not even beside an error."""

    def format_value(self, value: Any) -> str | None:
        return None


class SendingForm(PlainForm):
    """What sending through a connection takes; a secret that is left empty stays as it is."""

    def __init__(self, fields: Iterable[Field], entered: Collection[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in fields:
            self.fields[field.name] = _sending_field(field, is_kept=field.secret and field.name in entered)


def _sending_field(field: Field, *, is_kept: bool) -> forms.CharField:
    help_text = gettext(field.help) if field.help else ""
    if is_kept:
        help_text += " " + gettext("It is entered already: leave this empty to keep it.")
    return forms.CharField(
        label=gettext(field.label),
        help_text=help_text.strip(),
        required=field.required and not is_kept,
        max_length=10_000,
        widget=_sending_widget(field),
    )


def _sending_widget(field: Field) -> forms.Widget:
    if field.name == "private_key":
        return SecretText({"rows": 4, "autocomplete": "off", "spellcheck": "false"})
    return _secret_widget(field) if field.secret else forms.TextInput({"autocomplete": "off"})


class RouteForm(PlainForm):
    """Which organisation gets the events of a route value."""

    tenant = forms.ChoiceField(label=_("Organisation"))
    value = forms.CharField(label=_("Value"), max_length=254)

    def __init__(self, tenants: list[Tenant], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(str(tenant.id), tenant.name) for tenant in tenants if not tenant.is_operator]
        self.fields["tenant"].choices = [("", "—"), *choices]  # type: ignore[attr-defined]


class HeldForm(RouteForm):
    """The same for a value that held events carry."""

    connection = forms.UUIDField(widget=forms.HiddenInput)
    value = forms.CharField(max_length=254, widget=forms.HiddenInput)


class InviteForm(PlainForm):
    """Whom to give a role."""

    email = forms.EmailField(label=_("Email address"), widget=forms.EmailInput({"autocomplete": "off"}))
    name = forms.CharField(label=_("Name"), max_length=200, required=False)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.VIEWER)


class RoleForm(PlainForm):
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)


class ApiTokenForm(PlainForm):
    """A token's name, what it may do and until when."""

    name = forms.CharField(
        label=_("Name"), max_length=200, help_text=_("Which program uses it, so that you know what revoking it stops.")
    )
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.VIEWER)
    days = forms.TypedChoiceField(label=_("Expires"), coerce=int, initial=90)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(days, gettext("In %(days)d days") % {"days": days}) for days in TOKEN_DAYS]
        self.fields["days"].choices = [*choices, (NEVER, gettext("Never"))]  # type: ignore[attr-defined]

    def expires_at(self) -> datetime | None:
        days: int = self.cleaned_data["days"]
        return None if days == NEVER else timezone.now() + timedelta(days=days)


class OrganisationForm(PlainForm):
    """An organisation's name, what a day is in its numbers, its language, and what holds for what it sends."""

    name = forms.CharField(label=_("Name"), max_length=200)
    timezone = forms.ChoiceField(
        label=_("Time zone"),
        help_text=_("Times are shown in it, and it says what a day is. When it changes, the days are counted anew."),
    )
    language = forms.ChoiceField(
        label=_("Language"),
        choices=settings.LANGUAGES,
        help_text=_("Of what is sent to the whole organisation. Each person chooses the language of the pages."),
    )
    body_days = forms.IntegerField(
        label=_("Days for which texts are kept"),
        min_value=1,
        max_value=LONGEST_BODY_DAYS,
        help_text=_("The text of a notice is kept encrypted for so long, to send it again; then it is erased."),
    )
    region = forms.CharField(
        label=_("Country of mobile numbers"),
        help_text=_("Two letters, such as JP: the country of numbers that are written without one."),
    )
    sms_price = forms.DecimalField(
        label=_("Price of an SMS part"),
        required=False,
        min_value=0,
        max_digits=8,
        decimal_places=4,
        help_text=_("For the estimate before a resend; a long text takes several parts."),
    )
    sms_currency = forms.CharField(
        label=_("Currency"), required=False, help_text=_("Three letters, such as JPY or EUR.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["timezone"].choices = [(name, name) for name in zone_names()]  # type: ignore[attr-defined]

    def clean_region(self) -> str:
        region: str = self.cleaned_data["region"].strip().upper()
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise forms.ValidationError(gettext("This is not a country: use two letters such as JP."))
        return region

    def clean_sms_currency(self) -> str:
        currency: str = self.cleaned_data["sms_currency"].strip().upper()
        if currency and not re.fullmatch("[A-Z]{3}", currency):
            raise forms.ValidationError(gettext("This is not a currency: use three letters such as JPY."))
        return currency

    def clean(self) -> dict[str, Any]:
        has_price = self.cleaned_data.get("sms_price") is not None
        if has_price and self.cleaned_data.get("sms_currency") == "":
            self.add_error("sms_currency", gettext("Say in which currency the price is."))
        return self.cleaned_data
