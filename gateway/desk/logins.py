"""Logins and groups at the desk: Django's pages, with fields that everybody can use.

Django's own boxes to move permissions between have labels that screen readers must not be given, and its split times
have none.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import ManyToManyField
from django.forms import CheckboxSelectMultiple

_CHECKS: dict[Any, Any] = {ManyToManyField: {"widget": CheckboxSelectMultiple(attrs={"class": "checks"})}}

admin.site.unregister([User, Group])


@admin.register(User)
class LoginAdmin(UserAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """A login; when it was made and last used is not for anybody to write."""

    filter_horizontal = ()
    formfield_overrides = _CHECKS
    readonly_fields = ("last_login", "date_joined")


@admin.register(Group)
class PermissionsAdmin(GroupAdmin):
    """A group and what it may do."""

    filter_horizontal = ()
    formfield_overrides = _CHECKS
