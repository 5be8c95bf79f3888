"""The application's role may use the tables of Django and allauth; they belong to no tenant."""

from django.db import migrations

from notifyguard.accounts.tenancy import GrantTable


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_guard_tables"),
        ("account", "0009_emailaddress_unique_primary_email"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("mfa", "0003_authenticator_type_uniq"),
        ("sessions", "0001_initial"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
    ]

    operations = [
        GrantTable(
            "account_emailaddress",
            "account_emailconfirmation",
            "django_session",
            "mfa_authenticator",
            "socialaccount_socialaccount",
            "socialaccount_socialapp",
            "socialaccount_socialtoken",
        ),
        GrantTable("django_content_type", "django_migrations", privileges="SELECT"),
    ]
