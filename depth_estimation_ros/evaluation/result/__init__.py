"""From one compared frame to the figures of a report."""
