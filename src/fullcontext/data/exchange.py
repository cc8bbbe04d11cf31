def export(*a):
    pass


def load(*a):
    pass
