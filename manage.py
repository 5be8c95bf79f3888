#!/usr/bin/env python
"""Django's command line for NotifyGuard."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notifyguard.settings")
    if sys.argv[1:2] != ["demo"]:
        from notifyguard.demo_environment import adopt

        adopt()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
