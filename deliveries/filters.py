"""What deliveries can be narrowed down by: one filter for the pages, the CSV and the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Literal

import django_filters
from django import forms
from django.core.validators import EMPTY_VALUES, MaxValueValidator, MinValueValidator
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat
from django.db.models.lookups import In
from django.http import HttpRequest, QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deliveries import queries, words
from deliveries.codes import CODES, REASONS
from deliveries.conditions import BadCondition, Condition, Op, grouped, read_all
from deliveries.enums import OPEN_STATES, Channel, State
from deliveries.models import Delivery
from deliveries.search import anything_begins, name_begins, recipient_begins, recipient_forms, starts_with, title_begins
from notifyguard.accounts.models import Tenant

__all__ = ["PRIVATE_PARAMETERS", "DeliveryFilter", "DeliveryFilterForm", "TimeField", "starts_with"]

TimeField = Literal["failed_at", "first_at"]
Choices = list[tuple[str, str | Promise]]

# A search for one of these is about people or one message; audit entries and logs never quote it.
PRIVATE_PARAMETERS = frozenset({"q", "recipient", "provider_message_id"})

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)


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


class _Conditions(_Several):
    """Conditions as an address carries them (deliveries/conditions.py)."""

    def to_python(self, value: Any) -> list[Any]:
        try:
            return read_all(super().to_python(value))
        except BadCondition as error:
            raise forms.ValidationError(str(error)) from error

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
    return Q(code=codes[0]) if len(codes) == 1 else _frequent("code", codes)


def _frequent(column: str, values: Iterable[str]) -> Q:
    """SQL for "one of these values", of which there are many: no index on the column is used for it."""
    return Q(In(Concat(F(column), Value(""), output_field=TextField()), list(values)))


def _any_state(states: list[str]) -> Q:
    """SQL for "one of these states" among all deliveries: failures, and what waits, are few and indexed."""
    failures = [state for state in states if state in OPEN_STATES]
    found = Q(error_state__in=failures) if failures else Q()
    for state in states:
        if state not in OPEN_STATES:
            found |= Q(state=state)
    return found


def _meets(own: DeliveryFilter, condition: Condition) -> Q:
    """SQL for one condition."""
    field, op, value = condition.field, condition.op, condition.value
    if isinstance(value, date):
        return Q(**{f"{field}__{'gte' if op == Op.AFTER else 'lt'}": own.midnight(value)})
    if op == Op.ATLEAST:
        return Q(**{f"{field}__gte": value})
    if op == Op.STARTS:
        return _begins(own, field, str(value))
    same = _equals(own, field, str(value))
    return ~same if op == Op.NOT else same


def _equals(own: DeliveryFilter, field: str, text: str) -> Q:
    if field == "recipient":
        return Q(recipient_key__in=recipient_forms(text))
    if field == "title":
        return Q(title_key=text.lower())
    if field == "domain":
        return Q(domain=text.lower().removeprefix("@"))
    return Q(**{{"state": own.state_column, "connection": "connection_id"}.get(field, field): text})


def _begins(own: DeliveryFilter, field: str, text: str) -> Q:
    if field == "title":
        return title_begins(text, on_error_list=own.on_error_list)
    if field == "name":
        return name_begins(text)
    return recipient_begins(text)


def _any_group(own: DeliveryFilter, conditions: list[Condition]) -> Q:
    """Within a group all must hold, between groups any."""
    found = Q()
    for group in grouped(conditions):
        wanted = Q()
        for condition in group:
            wanted &= _meets(own, condition)
        found |= wanted
    return found


def _undelivered(status: str) -> Q:
    """SQL for one status of the report: each failure has exactly one, a notice still on its way has none."""
    if status == words.INVALID:
        return _frequent("code", words.INVALID_CODES)  # what is deferred never has one of these
    if status == words.ANY:
        return Q(error_state__in=queries.UNDELIVERED_STATES)
    return _STATUS_STATES[status] & ~Q(code__in=words.INVALID_CODES)


_STATUS_STATES: Mapping[str, Q] = {
    State.BOUNCED: _frequent("error_state", [State.BOUNCED, State.BLOCKED])
    | (_frequent("error_state", [State.EXPIRED]) & Q(channel=Channel.EMAIL)),
    State.SPAM_REPORT: Q(error_state=State.SPAM_REPORT),
    State.DROPPED: Q(error_state=State.DROPPED),
    State.UNDELIVERED: Q(error_state=State.UNDELIVERED),
    State.REJECTED: Q(error_state=State.REJECTED),
    State.EXPIRED: Q(error_state=State.EXPIRED) & ~Q(channel=Channel.EMAIL),
    State.FAILED: Q(error_state=State.FAILED),
}


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
        lambda own, states: Q(error_state__in=states) if own.on_error_list else _any_state(states),
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
    c = _By(_Conditions, _any_group, label=_("Conditions"))
    undelivered = _By(
        forms.ChoiceField,
        lambda _own, status: _undelivered(status),
        label=_("Status"),
        choices=_options(words.UNDELIVERED),
        invalid=_(
            "There is no status “%(value)s”: use any, bounced, invalid, spam_report, dropped, undelivered, rejected,"
            " expired or failed."
        ),
    )
    notice = _By(
        forms.UUIDField,
        lambda _own, notice_id: Q(notice_id=notice_id),
        label=_("Notice"),
        invalid=_("A notice is named by its id, for example 0198c2a4-5f7e-7d31-9c55-0c8b0f6d2b11."),
    )
    q = _By(
        forms.CharField,
        lambda own, text: anything_begins(text, own.tenant.id, on_error_list=own.on_error_list),
        label=_("Search"),
        max_length=320,
    )
    recipient = _By(
        forms.CharField,
        lambda _own, recipient: Q(recipient_key__in=recipient_forms(recipient)),
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
    on_error_list: bool
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
        self.on_error_list = time_field == "failed_at"
        # On the error list both columns say the same, and the list's indexes have this one.
        self.state_column = "error_state" if self.on_error_list else "state"
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
