"""What the nodes consist of behind their topics and parameters: lifecycle, inputs, the stream of frames, reports."""
