"""The products there are, and what one device of them is called. No I/O."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Product(NamedTuple):
    """What is printed on the box; `returned` says whether its relay meter counts returned energy, too."""

    name: str
    gen: int
    app: str
    model: str
    prefix: str
    inputs: int = 1
    relay: bool = True
    returned: bool = False
    ethernet: bool = False


PRO_1PM = Product("pro1pm", 2, "Pro1PM", "SPSW-201PE16EU", "shellypro1pm", inputs=2, returned=True, ethernet=True)
PLUS_1PM = Product("plus1pm", 2, "Plus1PM", "SNSW-001P16EU", "shellyplus1pm")
PRO_3EM = Product("pro3em", 2, "Pro3EM", "SPEM-003CEBEU", "shellypro3em", inputs=0, relay=False, ethernet=True)
GEN1_1PM = Product("gen1", 1, "1PM", "SHSW-PM", "shelly1pm")
PRODUCTS = {product.name: product for product in (PRO_1PM, PLUS_1PM, PRO_3EM, GEN1_1PM)}

FIRMWARE = {1: ("1.7.5", "20260311-095856/1.7.5-g9979d16"), 2: ("2.0.0", "20260710-101108/2.0.0-g87fbfa4")}
GEN1_FIRMWARE = "20230913-112003/v1.14.0-gcb84623"
VENDOR = "EC6260"


class Identity(NamedTuple):
    """One device; the same name gives the same addresses in every run."""

    name: str
    product: Product

    @property
    def mac(self) -> str:
        """Twelve hexadecimal digits."""
        return VENDOR + hashlib.sha256(f"shelly {self.name}".encode()).hexdigest()[:6].upper()

    @property
    def id(self) -> str:
        """What frames bear as `src`; Gen1 devices use the last six digits, in capitals."""
        if self.product.gen == 1:
            return f"{self.product.prefix}-{self.mac[-6:]}"
        return f"{self.product.prefix}-{self.mac.lower()}"
