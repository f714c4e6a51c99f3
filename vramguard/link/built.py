"""Services whose image a Dockerfile of the repository builds: what its ENTRYPOINT, CMD and ENV say of them.

A service with such a recipe is one deployment: the recipe alone says nothing more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Launch


def built(launches: Iterable[Launch]) -> Iterator[Launch]:
    """The launches, those that name a recipe completed by it, and without the recipes that are taken."""
    known = list(launches)
    recipes = {launch.at.path: launch for launch in known if launch.form == "dockerfile"}
    wanted = {path for launch in known if (path := launch.joins.get("dockerfile")) in recipes}
    for launch in known:
        recipe = recipes.get(launch.joins.get("dockerfile", ""))
        if recipe is not None:
            yield _of(launch, recipe)
        elif launch.form != "dockerfile" or launch.at.path not in wanted:
            yield launch


def _of(service: Launch, recipe: Launch) -> Launch:
    """A service with its image's own program, unless it replaces that (Dockerfile reference, "ENTRYPOINT and CMD")."""
    env, image = {**recipe.env, **service.env}, recipe.image or service.image
    begins = recipe.joins.get("entrypoint")  # words of the command that are ENTRYPOINT's; 0 for a text for a shell
    if service.command and (service.entrypoint or begins is None):
        return replace(service, env=env, image=image)
    if service.command and begins != "0":
        command = (*recipe.command[: int(begins or 0)], *service.command)
        return replace(service, command=command, entrypoint=True, env=env, image=image)
    return replace(
        service, command=recipe.command, script=recipe.script, entrypoint=recipe.entrypoint, env=env, image=image
    )
