class Index:
    fingerprint = "x"

    def overlap(self, text: str) -> str | None:
        return None


def load(sets, n):
    return Index()
