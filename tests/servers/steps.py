"""Single steps of install.sh in a container: the functions of one setup.sh, as install.sh calls them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from .appliance import CHECKOUT, copy_repository

if TYPE_CHECKING:
    from .container import Container

# Everything of install.sh but its last lines, which run it.
STEPS = r"""
sed '/^main "\$@"$/,$d; s|^SOURCE=.*|SOURCE=%(checkout)s|' %(checkout)s/install.sh >/run/steps.sh
source /run/steps.sh
%(choices)s
prepare
for step in %(steps)s; do "$step"; done
for unit in "${RESTART[@]}"; do
    [[ $unit == edge-energy* ]] || run systemctl restart "$unit"
done
rm -f "$UNFINISHED"
printf 'To know: %%s\n' "${NOTES[@]}"
"""


def take_steps(container: Container, *steps: str, timeout: float = 300, **choices: str) -> str:
    """Run functions of install.sh, with choices like MODE="simulation", and start what they want started.

    Returns what was said; ServerError where one fails.
    """
    if not container.path(CHECKOUT).exists():
        copy_repository(container)
    chosen = "\n".join(f"{name}={shlex.quote(value)}" for name, value in choices.items())
    script = STEPS % {"checkout": CHECKOUT, "choices": chosen, "steps": " ".join(steps)}
    environment = {"npm_config_cache": "/root/.npm"}
    ran = container.run("bash", "-c", script, timeout=timeout, env=environment)
    return ran.stdout + ran.stderr
