"""The artifact and what runs it: backbone, probe, engines. Knows nothing of HTTP or files of imagery."""
