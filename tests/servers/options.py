"""How an estate is to be: the command line's choices, and those of a reset."""

import dataclasses


@dataclasses.dataclass
class Options:
    primary_up: bool = False
    control_plane_dark: bool = False
    restore_only: bool = False
    capacity: int | None = None
    transition_seconds: float = 3.0

    def changed(self, wanted):
        """A copy with some choices replaced; an unknown name is an error, not a silent default."""
        return dataclasses.replace(self, **wanted)

    def as_dict(self):
        return dataclasses.asdict(self)
