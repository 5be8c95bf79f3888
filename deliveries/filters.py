"""What deliveries can be narrowed down by: one filter for the pages, the CSV and the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Literal

import django_filters
from django import forms
from django.core.validators import EMPTY_VALUES, MaxValueValidator, MinValueValidator
from django.db.models import BooleanField, F, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat
from django.db.models.lookups import In
from django.http import HttpRequest, QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deliveries import words
from deliveries.codes import CODES, REASONS
from deliveries.gather import recipient_key
from deliveries.models import Delivery
from notifyguard.accounts.models import Tenant

TimeField = Literal["failed_at", "first_at"]
Choices = list[tuple[str, str | Promise]]

# A search for one of these is about people or one message; audit entries and logs never quote it.
PRIVATE_PARAMETERS = frozenset({"q", "recipient", "provider_message_id"})

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)


def starts_with(column: str, prefix: str) -> Func:
    """SQL for "begins with" that an index answers even under row-level security.

    LIKE is not leakproof, so under a policy it never reaches an index; the byte-wise comparisons of
    ``varchar_pattern_ops`` are, and do. Nothing in the prefix needs escaping.
    """
    bounds = [_byte_wise(column, "~>=~", prefix)]
    if (end := _first_after(prefix)) is not None:
        bounds.append(_byte_wise(column, "~<~", end))
    return Func(*bounds, template="(%(expressions)s)", arg_joiner=" AND ", output_field=BooleanField())


def _byte_wise(column: str, operator: str, text: str) -> Func:
    return Func(
        F(column), Value(text), template="%(expressions)s", arg_joiner=f" {operator} ", output_field=BooleanField()
    )


def _first_after(prefix: str) -> str | None:
    """The first text after all that begin with ``prefix``, by code point as UTF-8 sorts; None: there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    last = stem[-1]
    # Between these two lie the surrogates, which are no characters.
    return stem[:-1] + ("\ue000" if last == "\ud7ff" else chr(ord(last) + 1))


class _Several(forms.MultipleChoiceField):
    """Several of a list; the empty choice of a form ("all") means none of them."""

    def to_python(self, value: Any) -> list[str]:
        return [item for item in super().to_python(value) if item]


class _Ids(_Several):
    """Several uuids. Another tenant's id is valid and finds nothing, like one that never was."""

    def to_python(self, value: Any) -> list[str]:
        one = forms.UUIDField(error_messages=self.error_messages)
        return [str(one.clean(item)) for item in super().to_python(value)]

    def valid_value(self, _value: Any) -> bool:
        return True


class _YesNo(forms.ChoiceField):
    """``true`` or ``false`` in any case, as scripts write them."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).lower()


class _By(django_filters.Filter):
    """One parameter: the form field that reads it, and the condition that a value of it means."""

    def __init__(
        self,
        field_class: type[forms.Field],
        condition: Callable[[DeliveryFilter, Any], Q],
        *,
        label: str | Promise,
        invalid: str | Promise = "",
        **field: Any,
    ) -> None:
        if invalid:
            field["error_messages"] = {"invalid": invalid, "invalid_choice": invalid}
        super().__init__(label=label, **field)
        self.field_class = field_class
        self.condition = condition

    def filter(self, qs: QuerySet[Delivery], value: Any) -> QuerySet[Delivery]:
        return qs if value in EMPTY_VALUES else qs.filter(self.condition(self.parent, value))


def _options(labels: Mapping[Any, str | Promise]) -> Choices:
    return [("", ""), *((str(value), label) for value, label in labels.items())]


def _code_options() -> Choices:
    return [(code, code) for code in CODES]


def _reason_options() -> Choices:
    return [(reason, reason) for reason in REASONS]


def _codes_for(answer: str, channel: str | None) -> list[str]:
    """The codes with that answer to who can act. Those of other channels would only mislead PostgreSQL's estimate."""
    return [
        key
        for key, code in CODES.items()
        if code.actionable == answer and (channel is None or channel in code.channels)
    ]


def _any_code(codes: list[str]) -> Q:
    """SQL for "one of these codes" that reads the list newest first and stops when the page is full.

    Many rows have one of them. Given the bare column, PostgreSQL goes by the index on codes instead, fetches all
    of those rows and sorts them (60 ms for 19,000); the concatenation keeps it from that.
    """
    if len(codes) == 1:
        return Q(code=codes[0])
    return Q(In(Concat(F("code"), Value(""), output_field=TextField()), codes))


def _recipient_forms(text: str) -> list[str]:
    """The forms under which a recipient may be stored; in a URL a number's plus sign often arrives as a space."""
    key = recipient_key(text)
    return [key, f"+{key}"] if key.isascii() and key.isdigit() else [key]


def _search(text: str) -> Q:
    found = Q(starts_with("title_key", text.lower())) | Q(starts_with("name", text))
    found |= Q(starts_with("provider_message_id", text))
    for form in _recipient_forms(text):
        found |= Q(starts_with("recipient_key", form))
    return found


def _day(label: str | Promise, condition: Callable[[DeliveryFilter, date], Q]) -> _By:
    outside = _("Choose a day between 1970-01-01 and 9998-12-31.")
    return _By(
        forms.DateField,
        condition,
        label=label,
        invalid=_("Write the day as year-month-day, for example 2026-11-30."),
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=[MinValueValidator(_FIRST_DAY, outside), MaxValueValidator(_LAST_DAY, outside)],
    )


class DeliveryFilterForm(forms.Form):
    """Refuses what would otherwise be ignored: days the wrong way round, a second value where one is meant."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("from"), cleaned.get("to")
        if first and last and first > last:
            self.add_error("to", _("The last day lies before the first one: choose a later day."))
        for name, field in self.fields.items():
            if not isinstance(field, forms.MultipleChoiceField) and self._times_given(name) > 1:
                self.add_error(name, _("Give this only once."))
        return cleaned

    def _times_given(self, name: str) -> int:
        return len(self.data.getlist(name)) if isinstance(self.data, QueryDict) else 1


class DeliveryFilter(django_filters.FilterSet):
    """Narrows a queryset of deliveries; ``tenant`` gives the time zone of ``from`` and ``to``.

    ``time_field`` is what the list is ordered by and what the days are about: ``failed_at`` on the Notification
    Error List, ``first_at`` where all deliveries are shown. With invalid values ``form.errors`` names each field
    and what to do, and ``qs`` is empty, so that a filter is never half applied.
    """

    channel = _By(
        forms.ChoiceField,
        lambda _own, channel: Q(channel=channel),
        label=_("Channel"),
        choices=_options(words.CHANNELS),
        invalid=_("There is no channel “%(value)s”: use email, lineworks or sms."),
    )
    state = _By(
        _Several,
        lambda own, states: Q(**{f"{own.state_column}__in": states}),
        label=_("State"),
        choices=_options(words.STATES)[1:],
        invalid=_(
            "There is no state “%(value)s”: use accepted, deferred, delivered, bounced, blocked, dropped, spam_report,"
            " undelivered, expired, rejected or failed."
        ),
    )
    code = _By(
        _Several,
        lambda _own, codes: Q(code__in=codes),
        label=_("Reason code"),
        choices=_code_options,
        invalid=_("There is no reason code “%(value)s”: use one from the list of reason codes."),
    )
    reason = _By(
        _Several,
        lambda _own, reasons: Q(reason__in=reasons),
        label=_("Reason"),
        choices=_reason_options,
        invalid=_("There is no reason “%(value)s”: use one that the list shows."),
    )
    persistence = _By(
        forms.ChoiceField,
        lambda _own, persistence: Q(persistence=persistence),
        label=_("Persistence"),
        choices=_options(words.PERSISTENCES),
        invalid=_("There is no persistence “%(value)s”: use hard or soft."),
    )
    actionable = _By(
        forms.ChoiceField,
        lambda own, answer: _any_code(_codes_for(answer, own.chosen().get("channel"))),
        label=_("Can you fix it?"),
        choices=_options(words.ACTIONABLES),
        invalid=_("“%(value)s” does not say who can act: use yes, no or partly."),
    )
    connection = _By(
        _Ids,
        lambda _own, ids: Q(connection_id__in=ids),
        label=_("Connection"),
        invalid=_("A connection is named by its id, for example 0198c2a4-5f7e-7d31-9c55-0c8b0f6d2b11."),
    )
    domain = _By(
        forms.CharField,
        lambda _own, domain: Q(domain=domain.lower().removeprefix("@")),
        label=_("Receiving domain"),
        max_length=255,
    )
    q = _By(forms.CharField, lambda _own, text: _search(text), label=_("Search"), max_length=320)
    recipient = _By(
        forms.CharField,
        lambda _own, recipient: Q(recipient_key__in=_recipient_forms(recipient)),
        label=_("Recipient"),
        max_length=320,
    )
    provider_message_id = _By(
        forms.CharField,
        lambda _own, message_id: Q(provider_message_id=message_id),
        label=_("Provider's message id"),
        max_length=200,
    )
    open = _By(
        _YesNo,
        lambda _own, answer: Q(error_state__isnull=answer == "false"),
        label=_("On the error list"),
        choices=_options({"true": _("Yes"), "false": _("No")}),
        invalid=_("“%(value)s” does not say whether it is open: use true or false."),
    )

    tenant: Tenant
    time_field: TimeField
    state_column: str

    class Meta:
        form = DeliveryFilterForm

    def __init__(
        self,
        data: QueryDict | dict[str, Any] | None,
        queryset: QuerySet[Delivery],
        *,
        tenant: Tenant,
        time_field: TimeField = "failed_at",
        request: HttpRequest | None = None,
    ) -> None:
        self.tenant = tenant
        self.time_field = time_field
        # On the error list both columns say the same, and the list's indexes have this one.
        self.state_column = "error_state" if time_field == "failed_at" else "state"
        super().__init__(data, queryset, request=request)

    @classmethod
    def get_filters(cls) -> dict[str, django_filters.Filter]:
        """Add the two days; Python keeps the name ``from`` for itself."""
        filters: dict[str, django_filters.Filter] = super().get_filters()
        filters["from"] = _day(_("From"), lambda own, day: Q(**{f"{own.time_field}__gte": own.midnight(day)}))
        filters["to"] = _day(
            _("To"), lambda own, day: Q(**{f"{own.time_field}__lt": own.midnight(day + timedelta(days=1))})
        )
        return filters

    def filter_queryset(self, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        if self.form.errors:
            return queryset.none()
        return super().filter_queryset(queryset)  # type: ignore[no-any-return]

    def chosen(self) -> dict[str, Any]:
        """The valid parameters that were given, without the empty ones."""
        return {name: value for name, value in self.form.cleaned_data.items() if value not in EMPTY_VALUES}

    def midnight(self, day: date) -> datetime:
        """When the day begins where the tenant is."""
        return datetime.combine(day, time.min, tzinfo=self.tenant.zone)
