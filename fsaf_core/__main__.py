"""`python -m fsaf_core` is `fsaf`; `torchrun ... -m fsaf_core train ...` trains with several processes."""

import sys

from .cli import main

sys.exit(main())
