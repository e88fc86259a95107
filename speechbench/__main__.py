"""`python -m speechbench` is the command `speechbench`."""

from speechbench.cli import main

main(prog_name="speechbench")
