"""Live view in a browser, on the Rerun viewer (package ``rerun-sdk``)."""

import os

# Rerun would log a lost connection as errors of its own; `nodes.view_depth` says what is wrong.
os.environ.setdefault("RUST_LOG", "off")
