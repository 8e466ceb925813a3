"""The simulator: sessions of one world as arrays, in code compiled by Numba."""
