from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "notifyguard.accounts"
    label = "accounts"
