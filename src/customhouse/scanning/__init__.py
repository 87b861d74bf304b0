"""Reading layers apart from everything else: in processes that can be lost, and once for each layer."""
