"""`python -m cli` is `foxtrot`: what `foxtrot up` starts its services with."""

from cli.main import main

main()
