"""``python -m palomar.cli``."""

from palomar.cli import main

main()
