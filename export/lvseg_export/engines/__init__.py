"""The engines that run a bundle, one file each. Each is imported only when it is asked for."""
