from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

GROUP = "support"
PERMISSIONS = ("view_deskconversation", "read_transcript", "archive", "kick")


def create_group(apps: Any, schema_editor: Any) -> None:
    """The group of the support staff; one that is there already stays as it is."""
    Group = apps.get_model("auth", "Group")
    if Group.objects.filter(name=GROUP).exists():
        return
    # Django makes permissions only after all migrations; these are needed now.
    config = apps.get_app_config("gateway")
    config.models_module = True
    create_permissions(config, apps=apps, using=schema_editor.connection.alias, verbosity=0)
    config.models_module = None
    permissions = apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label="gateway", codename__in=PERMISSIONS
    )
    Group.objects.create(name=GROUP).permissions.set(permissions)


class Migration(migrations.Migration):

    dependencies = [
        ("gateway", "0001_desk"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    # The group stays when this is undone: people may be in it.
    operations = [migrations.RunPython(create_group, migrations.RunPython.noop)]
