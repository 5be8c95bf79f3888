"""The demo's parts: its people can be sent to as intended, and the sandbox learns its accounts at each start."""

from __future__ import annotations

import stat

import pytest

from deliveries.checks import check_recipient, suggest
from notifyguard import demo_sandbox
from notifyguard.demo_data import ACME, SAKURA
from notifyguard.demo_notices import (
    ACME_NOTICES,
    ACME_PEOPLE,
    ACME_TROUBLES,
    SAKURA_NOTICES,
    SAKURA_PEOPLE,
    SAKURA_TROUBLES,
)
from providers.base import Channel
from providers.sandbox.server import Sandbox

ORGANISATIONS = [
    pytest.param(ACME, ACME_PEOPLE, ACME_NOTICES, ACME_TROUBLES, "GB", id="acme"),
    pytest.param(SAKURA, SAKURA_PEOPLE, SAKURA_NOTICES, SAKURA_TROUBLES, "JP", id="sakura"),
]


@pytest.mark.parametrize(("world", "people", "notices", "troubles", "region"), ORGANISATIONS)
def test_every_address_of_a_contact_can_be_sent_to(world, people, notices, troubles, region):
    addresses = [
        (channel, address)
        for one in people
        for channel, address in (
            (Channel.EMAIL, one.email),
            (Channel.EMAIL, one.corrected),
            (Channel.SMS, one.phone),
            (Channel.LINEWORKS, one.lineworks_id),
        )
        if address
    ]

    assert [pair for pair in addresses if check_recipient(*pair, region=region).finding] == []


@pytest.mark.parametrize(("world", "people", "notices", "troubles", "region"), ORGANISATIONS)
def test_nobody_has_bounced_in_the_month_of_webhooks(world, people, notices, troubles, region):
    month = {f"{person}@{domain}" for person in world.people for domain, _weight in world.domains}

    assert {address for one in people for address in (one.email, one.corrected)} & month == set()


@pytest.mark.parametrize(("world", "people", "notices", "troubles", "region"), ORGANISATIONS)
def test_the_notices_are_for_people_that_there_are(world, people, notices, troubles, region):
    ids = {one.external_id for one in people}
    named = {external_id for one in notices for external_id in one.to} | {troubles.typo, troubles.elsewhere}

    assert named - ids == set()
    assert len(ids) == len(people)
    typo = next(one for one in people if one.external_id == troubles.typo)
    assert suggest(typo.email).endswith("@gmail.com")


def test_the_sandbox_is_told_the_kept_accounts_with_the_address_of_this_start(tmp_path, monkeypatch):
    file = tmp_path / "accounts.json"
    monkeypatch.setattr(demo_sandbox, "FILE", file)
    account = {"provider": "ses", "access_key_id": "AKIA1", "url": f"{demo_sandbox.HERE}/webhooks/ses/token"}
    with Sandbox() as sandbox:
        demo_sandbox.register(sandbox.url, "http://127.0.0.1:8000")  # the first start: none are kept yet
        before = sandbox.world.accounts.all()
        demo_sandbox.keep([account])
        demo_sandbox.register(sandbox.url, "http://127.0.0.1:8123")
        (known,) = sandbox.world.accounts.all()

    assert before == ()
    assert known.url == "http://127.0.0.1:8123/webhooks/ses/token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_accounts_that_the_sandbox_refuses_are_no_quiet_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_sandbox, "FILE", tmp_path / "accounts.json")
    demo_sandbox.keep([{"provider": "pigeon"}])

    with Sandbox() as sandbox, pytest.raises(RuntimeError, match="answered 400"):
        demo_sandbox.register(sandbox.url, "http://127.0.0.1:8000")


def test_the_settings_lead_every_sender_to_the_sandbox_and_trust_its_certificate():
    with Sandbox() as sandbox:
        said = dict(pair.split("=", 1) for pair in demo_sandbox.settings_for(sandbox.url).split(","))
        signer = demo_sandbox.signer(sandbox.url)

    assert said == dict.fromkeys(("sendgrid", "ses", "lineworks", "twilio", "vonage"), sandbox.url)
    assert signer.certificate_url == sandbox.url + demo_sandbox.CERTIFICATE
