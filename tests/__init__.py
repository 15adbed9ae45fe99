"""A package, so that `tests` is this one: smdebug_rulesconfig, which sagemaker needs, installs one of its own."""
