"""People and their roles: inviting, changing a role, removing; each act is audited in its transaction."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from django.urls import reverse
from django.utils.translation import gettext as _

from notifyguard.accounts import audit
from notifyguard.accounts.models import Membership, Role, User
from notifyguard.accounts.permissions import tenants_of


class PeopleError(ValueError):
    """The act is not possible; the message says why and what to do."""


class Invited(NamedTuple):
    """The new membership, and whether the person had no account before."""

    membership: Membership
    is_new: bool


def list_people() -> list[Membership]:
    """Return the scope's memberships by email address, each person loaded."""
    return list(Membership.objects.select_related("user").order_by("user__email"))


def find_person(email: str) -> User | None:
    return User.objects.filter(email=normalize_email(email)).first()


def normalize_email(email: str) -> str:
    return User.objects.normalize_email(email).strip().lower()


def invite(*, email: str, name: str, role: str, actor: audit.Actor) -> Invited:
    """Give a person a role in the scope's tenant, making their account if there is none. Raises ``PeopleError``.

    Whoever makes an account hands over its first password. So an account that its owner has not yet shown to be
    theirs, by a verified address, is not let into a second organisation: it may be in somebody else's hands.
    The operator can add such a person (``set_role``, the command ``person``).
    """
    person = find_person(email)
    if person and Membership.objects.filter(user=person).exists():
        raise PeopleError(_("%(email)s is a member already: change the role in the list.") % {"email": person.email})
    if person and not EmailAddress.objects.filter(user=person, email__iexact=person.email, verified=True).exists():
        raise PeopleError(_("%(email)s can't be added here: ask the operator to do it.") % {"email": person.email})
    is_new = person is None
    if person is None:
        person = User.objects.create_user(normalize_email(email), None, name=name.strip())
    return Invited(set_role(person, role, actor=actor), is_new)


def set_role(person: User, role: str, *, actor: audit.Actor) -> Membership:
    """Give a person a role in the scope's tenant, or change the one they have. Raises ``PeopleError``."""
    admins = _lock_admins()
    membership: Membership | None = Membership.objects.filter(user=person).first()
    if membership is None:
        membership = Membership(user=person, role=role)
        membership.save(force_insert=True)
        _audit(actor, "person.added", person, after={"email": person.email, "role": role})
    elif membership.role != role:
        before = membership.role
        _keep_an_admin(admins, leaving=membership)
        membership.role = role
        membership.save(update_fields=["role"])
        named = {"email": person.email}
        _audit(actor, "person.role_changed", person, before=named | {"role": before}, after=named | {"role": role})
    return membership


def remove(membership: Membership, *, actor: audit.Actor) -> None:
    """End a membership; the person's account and their name in the audit log stay. Raises ``PeopleError``."""
    _keep_an_admin(_lock_admins(), leaving=membership)
    person = membership.user
    Membership.objects.filter(id=membership.id).delete()
    _audit(actor, "person.removed", person, before={"email": person.email, "role": membership.role})


def find_membership_row(membership_id: uuid.UUID) -> Membership | None:
    row: Membership | None = Membership.objects.select_related("user").filter(id=membership_id).first()
    return row


def may_hand_over_password(person: User) -> bool:
    """Tell whether an admin of the scope's tenant may give this person a link to set a password.

    Only for an account that never had one and is in no other organisation: the link is as good as the account.
    """
    return person.is_active and not person.has_usable_password() and len(tenants_of(person.pk)) == 1


def password_path(person: User) -> str:
    """Return the path where the person sets a password; it works once, for as long as PASSWORD_RESET_TIMEOUT says."""
    key = default_token_generator.make_token(person)
    return reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(person), "key": key})


def _lock_admins() -> list[uuid.UUID]:
    """Lock the admins' rows in one order, so that two admins can't step down at the same moment; return their ids."""
    admins = Membership.objects.select_for_update().filter(role=Role.ADMIN).order_by("id")
    return [row.id for row in admins]


def _keep_an_admin(admins: list[uuid.UUID], *, leaving: Membership) -> None:
    if admins == [leaving.id]:
        raise PeopleError(_("This is the last admin: make somebody else admin first."))


def _audit(actor: audit.Actor, action: str, person: User, **states: dict[str, str]) -> None:
    audit.record(actor, action, object_type="person", object_id=person.pk, **states)
