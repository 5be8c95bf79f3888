"""A database of the bench's own, migrated by the owner and used as the application's role."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from django.core.management import call_command
from django.db import connections
from psycopg2 import sql
from psycopg2.extensions import connection as Link


def owner_link(database: str) -> Link:
    link = psycopg2.connect(os.environ["DATABASE_OWNER_URL"], dbname=database)
    link.autocommit = True
    return link


@contextmanager
def bench_database(name: str = "bench") -> Iterator[Link]:
    """Make the database anew, yield the owner's connection to it, and drop it afterwards."""
    server = owner_link(str(connections["owner"].settings_dict["NAME"]))
    _drop(server, name)
    with server.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    for alias in ("default", "owner"):
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
    call_command("migrate", database="owner", verbosity=0, skip_checks=True)
    link = owner_link(name)
    try:
        yield link
    finally:
        link.close()
        connections.close_all()
        _drop(server, name)
        server.close()


def _drop(server: Link, name: str) -> None:
    """Drop the database; a connection that was just closed may linger in the server for a moment."""
    for _ in range(50):
        try:
            with server.cursor() as cursor:
                cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg2.errors.ObjectInUse:
            time.sleep(0.1)
        else:
            return
