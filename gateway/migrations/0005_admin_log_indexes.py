from typing import Any

from django.db import migrations, models

# Of Django's own table: the desk looks up what was done to a conversation, and what was done since a day.
INDEXES = (
    models.Index(fields=["object_id", "-id"], name="desk_log_of_object"),
    models.Index(fields=["action_time"], name="desk_log_by_time"),
)


def add(apps: Any, schema_editor: Any) -> None:
    log_entry = apps.get_model("admin", "LogEntry")
    for index in INDEXES:
        schema_editor.add_index(log_entry, index)


def remove(apps: Any, schema_editor: Any) -> None:
    log_entry = apps.get_model("admin", "LogEntry")
    for index in INDEXES:
        schema_editor.remove_index(log_entry, index)


class Migration(migrations.Migration):

    dependencies = [
        ("gateway", "0004_nonces"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [migrations.RunPython(add, remove)]
