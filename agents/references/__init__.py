"""References: policies that know the model of the user, or its latent state; some of their functions are compiled."""
