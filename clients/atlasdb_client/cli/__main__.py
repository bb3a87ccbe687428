"""`python -m atlasdb_client.cli` is `atlasdb`."""

import sys

from atlasdb_client.cli import main

sys.exit(main())
