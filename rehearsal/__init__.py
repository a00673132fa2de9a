"""A whole deployment on this machine: the engine, an emulated AWS account, and the walk through both environments."""
