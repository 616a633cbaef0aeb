"""What the ISIC Archive's API says: collections, and a record of each photograph.

The API (version 2) answers lists in pages, `{"count", "next", "previous",
"results"}`, of at most 100 (`openapi.yml` and `pagination.py` of
ImageMarkup/isic). Nothing it says is believed unchecked: an id becomes a file
name only where it is one, and a `next` that leads to another host or in a
circle is refused.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from melascope.datasets.archive_http import ArchiveError, Client
from melascope.errors import DataError

ID = re.compile(r"ISIC_[0-9]{7,10}")
"""How the archive names photographs (its constant `ISIC_ID_REGEX` asks for 7 digits)."""

SIZES: Mapping[str, str] = {"full": "full", "thumbnail": "thumbnail_256"}
"""The sizes that can be fetched, and what the API calls them."""

_PAGE = 100
_LONGEST_TEXT = 1_000
_MOST_BARREN = 20
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Known:
    """A set that is known by a name of its own.

    Attributes:
        collection: The name of its collection in the archive.
        photographs: How many it had when it was published.
        citations: What to cite.
    """

    collection: str
    photographs: int
    citations: tuple[str, ...]


_HAM10000 = (
    "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset, a large collection of multi-source dermatoscopic "
    "images of common pigmented skin lesions. Scientific Data 5, 180161 (2018). https://doi.org/10.1038/sdata.2018.161"
)
_MSK = (
    "Codella N et al. Skin lesion analysis toward melanoma detection: a challenge at the 2017 International Symposium "
    "on Biomedical Imaging (ISBI). 2017. https://arxiv.org/abs/1710.05006"
)
_BCN = "Combalia M et al. BCN20000: dermoscopic lesions in the wild. 2019. https://arxiv.org/abs/1908.02288"
_ISIC2016 = (
    "Gutman D et al. Skin lesion analysis toward melanoma detection: a challenge at the International Symposium on "
    "Biomedical Imaging (ISBI) 2016. 2016. https://arxiv.org/abs/1605.01397"
)
_ISIC2020 = (
    "Rotemberg V et al. A patient-centric dataset of images and metadata for identifying melanomas using clinical "
    "context. Scientific Data 8, 34 (2021). https://doi.org/10.1038/s41597-021-00815-z"
)

# Ids are looked up by name when asked for, since a name lasts longer than an id; `isic collection list` gave 66, 65
# and 70 for the last three. The archive's collection "HAM10000" (212) has 11,720 photographs: the 10,015 of the paper,
# which are the training set of ISIC 2018's task 3, and that challenge's validation and test sets.
KNOWN: Mapping[str, Known] = {
    "isic2016": Known("Challenge 2016: Training", 900, (_ISIC2016,)),
    "isic2017": Known("Challenge 2017: Training", 2_000, (_MSK,)),
    "ham10000": Known("Challenge 2018: Task 3: Training", 10_015, (_HAM10000,)),
    "isic2019": Known("Challenge 2019: Training", 25_331, (_HAM10000, _MSK, _BCN)),
    "isic2020": Known("Challenge 2020: Training", 33_126, (_ISIC2020,)),
}
"""The sets that have a short name."""


@dataclass(frozen=True)
class Collection:
    """A collection of the archive: its id, its name and the DOI under which to cite it, empty where it has none."""

    id: int
    name: str
    doi: str = ""


@dataclass(frozen=True)
class Photograph:
    """One photograph of the archive.

    Attributes:
        id: `ISIC_` and seven digits.
        url: Where its file is; such addresses may lapse after a while.
        size: Bytes of the file, None where the archive does not say.
        license: Such as `CC-BY`.
        attribution: Whom to name.
        fields: What the archive says of it, all sections together, name to text.
    """

    id: str
    url: str
    size: int | None
    license: str
    attribution: str
    fields: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return it as plain data, from which `Photograph(**data)` makes it again."""
        return asdict(self)


@dataclass(frozen=True)
class Page:
    """One page of a list: its photographs, where the next one is (empty at the end), and how many there are in all."""

    photographs: list[Photograph]
    next: str
    count: int | None


def photograph(record: Any, size: str) -> Photograph:
    """Return a photograph from the API's record of it.

    Raises:
        ArchiveError: When the record has no usable id or names no file.
    """
    name = record.get("isic_id") if isinstance(record, dict) else None
    if not isinstance(name, str) or not ID.fullmatch(name):
        raise ArchiveError(f"The archive lists a photograph whose id is not one: {str(name)[:60]!r}.")
    files = record.get("files")
    file = files.get(SIZES[size]) if isinstance(files, dict) else None
    url = file.get("url") if isinstance(file, dict) else None
    if not isinstance(url, str) or not url:
        raise ArchiveError(f"The archive names no file for {name}.")
    stated = file.get("size") if isinstance(file, dict) else None
    known = stated if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0 else None
    fields: dict[str, str] = {}
    metadata = record.get("metadata")
    for section, values in metadata.items() if isinstance(metadata, dict) else ():
        for key, value in values.items() if isinstance(values, dict) else ((section, values),):
            if isinstance(key, str) and _FIELD.fullmatch(key) and (text := _text(value)):
                fields[key] = text
    return Photograph(
        name, url, known, _text(record.get("copyright_license")), _text(record.get("attribution")), fields
    )


def _text(value: Any) -> str:
    """Return a value as one line of text; nothing for what is no plain value."""
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)).split())[:_LONGEST_TEXT]


class Archive:
    """The archive's lists, through a client.

    Args:
        client: Knows the server.
        size: `full` or `thumbnail`: which file a photograph's `url` names.
    """

    def __init__(self, client: Client, size: str = "full") -> None:
        self.client = client
        self._size = size

    def photograph(self, name: str) -> Photograph:
        """Return the record of one photograph by its id.

        Raises:
            ArchiveError: When the archive has no such public photograph; `status` is 404 then.
        """
        found = photograph(self.client.json(f"images/{quote(name, safe='')}/"), self._size)
        if found.id != name:
            raise ArchiveError(f"Asked for {name}, the archive answered with {found.id}.")
        return found

    def first_page(self, collections: tuple[int, ...] = (), query: str = "") -> str:
        """Return the address of the first page of a search."""
        wanted = {"limit": str(_PAGE)}
        if collections:
            wanted["collections"] = ",".join(map(str, collections))
        if query:
            wanted["query"] = query
        return f"{self.client.server}images/search/?{urlencode(wanted)}"

    def pages(self, url: str, refused: Callable[[str], None]) -> Iterator[Page]:
        """Yield the pages from an address on; `refused` is told of each record that cannot be used.

        Raises:
            ArchiveError: When the archive fails, or its pages lead elsewhere or in a circle.
        """
        seen: set[str] = set()
        barren = 0
        for records, url_of_next, count in self._lists(url):
            found = []
            for record in records:
                try:
                    found.append(photograph(record, self._size))
                except ArchiveError as error:
                    refused(str(error))
            fresh = [each for each in found if each.id not in seen]
            barren = 0 if fresh else barren + 1
            if (found and not fresh) or barren > _MOST_BARREN:
                raise ArchiveError("The archive's pages lead in a circle; repeat the command later.")
            seen.update(each.id for each in fresh)
            yield Page(fresh, url_of_next, count)

    def collection(self, number: int) -> Collection:
        """Return a collection by its id.

        Raises:
            ArchiveError: When the archive has no such public collection.
        """
        try:
            return _collection(self.client.json(f"collections/{number}/"))
        except ArchiveError as error:
            if error.status in (403, 404):
                raise ArchiveError(f"The archive has no public collection {number}.", error.status) from None
            raise

    def find_collection(self, name: str) -> Collection:
        """Return a collection by its name; case, spaces and punctuation do not matter.

        Raises:
            DataError: When there is none, or there are several; the message names the nearest or them.
        """
        every = [
            _collection(record)
            for records, _next, _count in self._lists(f"{self.client.server}collections/?limit={_PAGE}")
            for record in records
        ]
        found = [each for each in every if _plain(each.name) == _plain(name)]
        if len(found) > 1:
            ids = ", ".join(str(each.id) for each in found)
            raise DataError(f'The archive has {len(found)} collections "{name}"; say which with --collection: {ids}.')
        if not found:
            names = [*KNOWN, *(each.name for each in every)]
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or list(KNOWN)
            raise DataError(
                f'The archive has no collection "{name}". There are {len(every)}; near it: {"; ".join(near)}.'
            )
        return found[0]

    def _lists(self, url: str) -> Iterator[tuple[list[Any], str, int | None]]:
        """Yield results, the address of the next page and the count, page by page."""
        asked: set[str] = set()
        while url:
            if url in asked:
                raise ArchiveError("The archive's pages lead in a circle; repeat the command later.")
            asked.add(url)
            said = self.client.json(url)
            records = said.get("results") if isinstance(said, dict) else None
            if not isinstance(records, list):
                raise ArchiveError(
                    f"{urlsplit(url).netloc} does not speak the ISIC Archive's API, version 2; is --server right?"
                )
            url_of_next = self._followed(url, said.get("next"))
            count = said.get("count")
            yield records, url_of_next, count if isinstance(count, int) else None
            url = url_of_next

    def _followed(self, url: str, url_of_next: Any) -> str:
        """Return where the next page is: the same place as this one, with another query."""
        if not url_of_next:
            return ""
        here = urlsplit(url)
        try:
            there = urlsplit(str(url_of_next))
            same = (there.hostname, there.path) == (here.hostname, here.path)
        except ValueError:
            same = False
        if not same:
            raise ArchiveError(f"The archive's next page leads elsewhere, which is not followed: {url_of_next!s:.200}")
        # A server behind a proxy may not know its own scheme or port.
        return urlunsplit((here.scheme, here.netloc, here.path, there.query, ""))


def _collection(record: Any) -> Collection:
    number = record.get("id") if isinstance(record, dict) else None
    if not isinstance(number, int):
        raise ArchiveError("The archive lists a collection without an id; is --server right?")
    # `doi` has been a text with `doi_url` beside it, and an object with `url`.
    doi = record.get("doi_url") or record.get("doi") or ""
    return Collection(number, _text(record.get("name")), _text(doi.get("url") if isinstance(doi, dict) else doi))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())
