"""What providers say, as arithmetic: reading their answers and headers. Pure, no I/O."""
