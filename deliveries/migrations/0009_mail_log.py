"""The mail log lists what waits and searches all deliveries by title and by name: partial indexes, each of few rows."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # built while the table is in use

    dependencies = [("deliveries", "0008_guard_sending")]

    operations = [
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "queued")),
                fields=["tenant", "-first_at", "-id"],
                name="delivery_waiting",
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("title_key", ""), _negated=True),
                fields=["tenant", "title_key"],
                name="delivery_by_title",
                opclasses=["uuid_ops", "varchar_pattern_ops"],
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("name", ""), _negated=True),
                fields=["tenant", "name"],
                name="delivery_by_name",
                opclasses=["uuid_ops", "varchar_pattern_ops"],
            ),
        ),
    ]
