"""`python -m edge_energy` is `edge-energy`."""

from edge_energy.cli import main

main()
