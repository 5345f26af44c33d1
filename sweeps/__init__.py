"""Many runs: a plan, the engines that run it, and the tables of what came out."""
