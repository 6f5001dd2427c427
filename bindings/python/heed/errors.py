"""What heed raises: one exception for each status of heed/c/status.h, each with heed's sentence."""

from __future__ import annotations


class Error(Exception):
    """A call that heed refused or could not complete; nothing was changed. `str(error)` is the sentence."""

    #: The name of the status, as heed_status_name has it.
    status = "unknown"


class InvalidArgument(Error, ValueError):
    """An argument that breaks a rule; the sentence names it, its value and the rule."""

    status = "invalid_argument"


class Unsupported(Error, NotImplementedError):
    """What this machine or this build cannot do, for instance an instruction set that is forced."""

    status = "unsupported"


class OutOfMemory(Error, MemoryError):
    """Memory that the system did not grant."""

    status = "out_of_memory"


class Exhausted(Error, RuntimeError):
    """A budget that does not suffice: the pages or the sequences of a cache."""

    status = "exhausted"


class Internal(Error, RuntimeError):
    """A fault of heed's own."""

    status = "internal"


#: The exceptions in the order of heed_status, whose first one, HEED_OK, raises nothing.
BY_STATUS = (Error, InvalidArgument, Unsupported, OutOfMemory, Exhausted, Internal)
