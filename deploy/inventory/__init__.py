"""What exists of a stack, found through the APIs by name and tag: what `status` shows and `teardown` removes."""
