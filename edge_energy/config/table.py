"""What all tables of the configuration have in common.

The description of a setting is what a problem says that was expected.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations

from pydantic import BaseModel, ConfigDict, ValidationInfo


class Table(BaseModel):
    """A table: nothing unknown in it, nothing changed afterwards, no value in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def pem_file(value: Path | None, info: ValidationInfo) -> Path | None:
    """Check a file of keys or certificates; a key_file comes after its cert_file."""
    if info.field_name == "key_file" and "cert_file" in info.data:
        certificate = info.data["cert_file"]
        if (certificate is None) != (value is None):
            raise ValueError("expected cert_file and key_file together")
    if value is None:
        return value
    try:
        value.open("rb").close()
    except OSError as error:
        raise ValueError(f"expected a file that the daemon can read ({error.strerror})") from None
    return value
