def read(*a):
    return iter(())
