"""What all unit tests have in common."""

import gc

# Importing pulumi_aws makes millions of objects that stay: looking among them for garbage takes a third of the time.
gc.set_threshold(1_000_000)
