class Seen:
    def __init__(self, config):
        self.x = set()

    def known(self, q, a):
        k = (q, a)
        if k in self.x:
            return "exact duplicate"
        self.x.add(k)
        return None
