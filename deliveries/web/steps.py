"""What to do in each provider's console so that its events come here; the longer story is in docs/providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# These show their key only after the URL was pasted: the connection is made first and gets its key then.
KEY_COMES_LATER = frozenset({"sendgrid"})

_PLACES: dict[str, _StrPromise] = {
    "sendgrid": _("Paste it in SendGrid under Settings, Mail Settings, Event Webhooks, as the Post URL."),
    "ses": _("Paste it in Amazon SNS as the endpoint of an HTTPS subscription to the topic."),
    "lineworks": _("Paste it in the LINE WORKS Developer Console as the bot's callback URL."),
    "twilio": _("Paste it in Twilio as the delivery status callback of the messaging service."),
    "vonage": _("Paste it in the Vonage dashboard under API Settings as the URL for delivery receipts."),
    "smpp": _("Let the program that holds the SMPP session post each delivery receipt to it."),
}

_STEPS: dict[str, tuple[_StrPromise, ...]] = {
    "sendgrid": (
        _("In SendGrid open Settings, Mail Settings, Event Webhooks, and create a webhook."),
        _("Paste the URL above as its Post URL."),
        _(
            "Tick Processed, Dropped, Deferred, Delivered, Bounced, Spam Reports, Unsubscribes, Group Unsubscribes "
            "and Group Resubscribes. Leave Opened and Clicked off: they are many, and say nothing about delivery."
        ),
        _("Switch Signed Event Webhook on and save. Copy the verification key that SendGrid shows, and enter it here."),
        _("Choose Test Your Integration. The test events arrive here within a minute."),
    ),
    "ses": (
        _(
            "In Amazon SNS open the topic and create a subscription: protocol HTTPS, endpoint the URL above. "
            "Leave raw message delivery off, since raw messages are not signed."
        ),
        _("NotifyGuard confirms the subscription by itself; SNS shows it as confirmed within a minute."),
        _(
            "In Amazon SES open the configuration set and add an event destination with this topic. Tick Sends, "
            "Rendering failures, Rejects, Deliveries, Hard bounces, Complaints, Delivery delays and Subscriptions."
        ),
        _("Make the configuration set the default of the sending identity, or name it in each send call."),
        _("Send a message to bounce@simulator.amazonses.com and see the bounce arrive here."),
        _(
            "Give the subscription a dead-letter queue: by itself SNS tries again for about a minute only, "
            "and what it gives up is lost."
        ),
    ),
    "lineworks": (
        _("In the LINE WORKS Developer Console open the bot, switch the callback URL on and paste the URL above."),
        _("Write a message to the bot and see the callback arrive here."),
        _(
            "LINE WORKS reports no deliveries: what fails is in the answer to the send call. Let your product post "
            "each answer to the same URL, signed with the Bot Secret (docs/providers/lineworks.md)."
        ),
    ),
    "twilio": (
        _(
            "In Twilio open Messaging, Services, your service, Integration, and paste the URL above as the delivery "
            "status callback. Without a service name it as StatusCallback in each send call."
        ),
        _("Add #rc=5&rp=all to the end of the URL: otherwise Twilio does not repeat a callback that failed."),
        _("Send a message and see its status arrive here."),
    ),
    "vonage": (
        _("In the Vonage dashboard open API Settings and paste the URL above for delivery receipts, method POST-JSON."),
        _("Ask Vonage's support to sign your callbacks, by the method that is entered here."),
        _("For the Messages API open the application and paste the same URL as its Status URL."),
        _("Send a message and see its receipt arrive here."),
    ),
    "smpp": (
        _("Let the program that holds the SMPP session post each delivery receipt to the URL above, as JSON."),
        _(
            "Sign each request: the header X-NotifyGuard-Signature is t=<unix seconds>,v1=<hex>, where hex is the "
            "HMAC-SHA256 of <unix seconds>.<body> under the signing secret (docs/providers/smpp.md)."
        ),
        _("Repeat a request that is not answered with 200: NotifyGuard stores each receipt once."),
        _("Send a message and see its receipt arrive here."),
    ),
}


def place_of_url(provider: str) -> _StrPromise:
    """Return where the webhook URL goes, in one sentence."""
    return _PLACES[provider]


def steps_of(provider: str) -> tuple[_StrPromise, ...]:
    """Return the steps to take in the provider's console, in order, once the connection is made."""
    return _STEPS[provider]


# The labels and helps of providers' and senders' fields, which know no Django: here so that they reach the catalogues.
FIELD_WORDS: tuple[_StrPromise, ...] = (
    _("Verification key"),
    _("Shown by SendGrid under Event Webhooks once Signed Event Webhook is on; begins with MFkw."),
    _("SNS topic ARN"),
    _("For example arn:aws:sns:ap-northeast-1:123456789012:mail-events; several are separated by commas."),
    _("Bot Secret"),
    _("Of the bot, in the LINE WORKS Developer Console."),
    _("Bot ID"),
    _("If set, callbacks of other bots are refused."),
    _("Login ID domains"),
    _("Of the organisation, separated by commas, e.g. example.com, sales.example.com. Tells foreign IDs."),
    _("Domain ID"),
    _("The number of the organisation's domain."),
    _("Auth Token"),
    _("Of the account that sends. For webhooks signed with a SharedKey: the secret of that SharedKey."),
    _("Account SID"),
    _("Starts with AC. If set, callbacks of other accounts are refused."),
    _("Signature secret"),
    _("API Settings in the Vonage dashboard."),
    _("Signature method"),
    _("As in API Settings: md5hash, md5, sha1, sha256 (default) or sha512; all but md5hash are HMAC."),
    _("API key"),
    _("If set, callbacks of other API keys are refused."),
    _("Signing secret"),
    _("Shared with the program that posts the receipts."),
    _("Time zone"),
    _("Of the carrier's clock, for dates without a zone, e.g. Asia/Tokyo. Default: UTC."),
    _("Country"),
    _("Two letters, e.g. JP, if the carrier reports national numbers such as 09012345678."),
    _("With the permissions Mail Send and, for its lists, Suppressions."),
    _("Sender address"),
    _("Of a verified sender or an authenticated domain."),
    _("Sender name"),
    _("Region"),
    _("eu for a subuser in the EU; else global."),
    _("Calls a minute"),
    _("If the account may make more or fewer."),
    _("Access key ID"),
    _("Of an IAM user that may ses:SendEmail and ses:GetAccount."),
    _("Secret access key"),
    _("Where the identity is verified, e.g. ap-northeast-1."),
    _("Configuration set"),
    _("Its event destination is the connection's SNS topic."),
    _("Of a verified identity."),
    _("Client ID"),
    _("Of the app in the Developer Console; it needs the scopes bot, bot.message."),
    _("Client Secret"),
    _("Service Account"),
    _("Of the app, e.g. abc12.serviceaccount@example.com."),
    _("Private key"),
    _("Of the service account; the whole PEM file."),
    _("Domain"),
    _("Of the organisation's login IDs; several with commas."),
    _("Edition"),
    _("gov for the government edition."),
    _("The plan's limit; 60 with the free plan, else 240."),
    _("Starts with AC."),
    _("Sender"),
    _("Number with +, alphanumeric sender ID, or Messaging Service SID (MG…)."),
    _("API secret"),
    _("Number, or up to 11 letters and digits where the country allows it."),
)
