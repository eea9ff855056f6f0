"""`python -m skvae`."""

import sys

from skvae.cli import main

sys.exit(main())
