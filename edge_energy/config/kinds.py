"""Kinds of settings: how each is read, its limits, and the words for what is expected. No I/O."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat

from edge_energy.config import times, values


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError
    return path


Duration = Annotated[float, BeforeValidator(values.duration)]
Size = Annotated[int, BeforeValidator(values.size)]
Number = Annotated[int, BeforeValidator(values.number)]
Real = Annotated[FiniteFloat, BeforeValidator(values.number)]
Text = Annotated[str, AfterValidator(values.plain_text)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Host = Annotated[str, AfterValidator(values.host)]
Url = Annotated[str, AfterValidator(values.http_url)]
Brokers = Annotated[str, AfterValidator(values.brokers)]
Timezone = Annotated[str, AfterValidator(values.timezone)]
TopicFilter = Annotated[str, AfterValidator(values.topic_filter)]
TopicPrefix = Annotated[str, AfterValidator(values.topic_prefix)]
Quantity = Annotated[str, AfterValidator(values.quantity)]
Address = Annotated[str, AfterValidator(values.address)]
DeviceId = Annotated[str, AfterValidator(values.device_id)]
Channel = Annotated[str, BeforeValidator(values.channel)]
Topic = Annotated[str, AfterValidator(values.topic)]
TimeOfDay = Annotated[time, BeforeValidator(times.time_of_day)]
Weekday = Annotated[int, BeforeValidator(times.weekday)]
EnergyUnit = Literal["Wh", "kWh", "mWh", "Wmin"]


def text(default: Any, description: str = "a text without line breaks", **options: Any) -> Any:
    """Describe any setting in words; a default of `...` makes it required."""
    return Field(default, description=description, **options)


def pem(**options: Any) -> Any:
    """Describe an optional file of keys or certificates."""
    return Field(None, description="the path of a PEM file, beginning with /", **options)


def number(default: int, low: int, high: int) -> Any:
    """Describe a whole number."""
    words = f"{low} or {high}" if high == low + 1 else f"a whole number from {low} to {high}"
    return Field(default, ge=low, le=high, description=words)


def real(default: Any, low: float, high: float, unit: str) -> Any:
    """Describe a number that need not be whole; a default of `...` makes it required."""
    words = f"a number of {unit} from {low:g} to {high:.0f}"
    return Field(default, ge=low, le=high, description=words)


def watts(default: Any = None, low: float = 1) -> Any:
    """Describe a power (W)."""
    return real(default, low, 1_000_000, "watts")


def span(default: str, low: str, high: str) -> Any:
    """Describe a duration."""
    words = f'a duration from {low} to {high}, like "{default}"'
    least, most = values.duration(low), values.duration(high)
    return Field(values.duration(default), ge=least, le=most, description=words)


def no_span(example: str, low: str, high: str) -> Any:
    """Describe a duration that is None unless set."""
    words = f'a duration from {low} to {high}, like "{example}"'
    return Field(None, ge=values.duration(low), le=values.duration(high), description=words)


def amount(default: str, low: str, high: str) -> Any:
    """Describe a size."""
    words = f'a size from {low} to {high}, like "{default}"'
    least, most = values.size(low), values.size(high)
    return Field(values.size(default), ge=least, le=most, description=words)


def switch(*, default: bool | None) -> Any:
    """Describe something that is on or off."""
    return Field(default, description="true or false")


def choice(default: str, *others: str) -> Any:
    """Describe one of several words."""
    return Field(default, description=" or ".join(f'"{word}"' for word in (default, *others)))
