"""Run the command line as `python -m fsaf_core`; torchrun needs it in this form."""

import sys

from .cli import main

sys.exit(main())
