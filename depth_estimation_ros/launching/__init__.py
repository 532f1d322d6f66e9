"""What the launch files need: arguments, and the environment of the processes."""
