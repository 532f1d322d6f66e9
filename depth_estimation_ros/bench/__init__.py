"""What frames cost: times, processor time, memory over hours."""
