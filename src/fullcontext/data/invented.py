"""Numbers as invented words, and as names such as code has."""

SYLLABLES = tuple(consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeiou")
"""80, the digits of an invented word."""
_PARTS = """
account add alias append apply args array assert async attach audit await back base batch
begin bind bit block board body book bound box branch break buffer build bulk byte cache call
cancel cap case cast catch cell chain char check chunk class clean clear clock clone close
code collect color column compare compile config connect convert copy core count cover create
cursor custom cut cycle data date debug decode default delay delete depth detach diff digest
disk domain draw drop dump edge edit element emit empty enable encode end engine entry equal
error escape event exact exec exit expand export extra factory fail fetch field file fill
filter find first fix flag flush fold font force format frame free full gain gate gather get
global grab graph grid group guard guess handle hash head heap help hide hook host icon image
import index info init inner input insert inspect install item iterate job join json jump keep
kernel key kill kind label lag last layer layout leaf length level library limit line link
list load local lock log long loop lower macro mail main make map mark mask match max member
menu merge meta mime min mode model module mount move name native nest net next node notify
null number object offset open option order origin output owner pack page pair parent parse
part patch path pause peek phase pick pipe place plain plugin point poll pool pop port post
prefix print probe process proxy pull push queue quick quote raise random range rank rate raw
read ready record reduce refresh region release remove rename render repeat reply report
request reset resolve restore result retry reverse root rotate round route row rule run safe
sample save scan scope score search seek select send serve session set shape share shift show
shut signal size skip sleep slice socket sort source space span split stack stage start state
step stop store stream strip style submit sum swap switch sync table tag take target task test
text thread tick time token top touch trace track train tree trim try tuple type unit unpack
update upper user valid value vector verify version view visit wait walk warn watch weight
width window wrap write yield zero zip zone
"""
PARTS = tuple(_PARTS.split())
"""374, the digits of a name as code has them. They begin with all letters but x: where every answer
begins alike, a model learns to prefer what begins so."""


class Number(int):
    """An integer that the format `w` writes as an invented word of its own (81 is `babebe`), and
    `i` as an identifier of its own (0 is `account_account`)."""

    def __format__(self, spec: str) -> str:
        if spec == "w":
            return "".join(reversed(_digits(self, SYLLABLES, 3)))
        if spec == "i":
            return "_".join(_digits(self, PARTS, 2))
        return super().__format__(spec)


def _digits(number: int, of: tuple[str, ...], least: int) -> list[str]:
    """At least so many, the lowest first."""
    left = int(number)
    found: list[str] = []
    while left or len(found) < least:
        left, last = divmod(left, len(of))
        found.append(of[last])
    return found
