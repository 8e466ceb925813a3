"""Learning from a teacher that reads the latent state of training worlds."""
