"""What runs a module, as a value that whoever reads the module can ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Hardware, Word


class House(NamedTuple):
    """What runs some code: its cards, its variables, its image, and the words that follow the code's own name.

    `actor`: the class that it runs, where it runs one of several. `settings`: the file that its tool hands to the code.
    """

    name: str
    hardware: Hardware
    env: Mapping[str, Word]
    image: Word | None = None
    words: tuple[Word, ...] = ()
    actor: str = ""
    settings: str = ""

    @property
    def has_cards(self) -> bool:
        """Whether it says anything of cards."""
        return bool(self.hardware.places) or self.hardware.accelerator is not None
