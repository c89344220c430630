"""Human tasks on the worker: opened, told of, decided by links, closed."""
