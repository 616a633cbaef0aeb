"""`python -m melascope.cli`: the command line without its script."""

from melascope.cli.main import main

main()
