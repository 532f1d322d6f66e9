"""The demo: a camera and the node as separate processes, what they publish recorded, measured and drawn."""
