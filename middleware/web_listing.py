"""A folder of a static web site as a page.

Ids and classes are those of Swift's listings, so style sheets made for them fit: #title, #listing, #heading,
#parent; .item, .subdir, .type-<type>, .colname, .colsize, .coldate.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote

TYPE = "text/html; charset=UTF-8"

_STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-weight: 600; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
tr.item:hover { background: color-mix(in srgb, currentColor 5%, transparent); }
.colname { overflow-wrap: anywhere; }
.colsize, .coldate { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
a { text-decoration: none; }
a:hover { text-decoration: underline; }
@media (max-width: 40rem) { .coldate { display: none; } }"""


def render(
    label: str, css: str, prefix: str, rows: Iterable[dict[str, Any]], query: str, *, has_parent: bool
) -> str:
    """The page; `query` is added to every link."""
    listed = list(rows)
    lines = [_row("subdir", row["subdir"][len(prefix) :], query) for row in listed if "subdir" in row]
    lines += [_object(row, prefix, query) for row in listed if "name" in row]
    if has_parent:
        lines.insert(0, f'<tr id="parent" class="item">{_name("../", f"../{query}")}{_cells("", "")}</tr>')
    heading = '<th class="colname">Name</th><th class="colsize">Size</th><th class="coldate">Date</th>'
    table = "\n".join([f'<tr id="heading">{heading}</tr>', *lines])
    title = f"Listing of {label}"
    return _page(title, css, f'<h1 id="title">{escape(title)}</h1>\n<table id="listing">\n{table}\n</table>')


def disabled(label: str, css: str, index: str) -> str:
    """What is shown instead, where listings are switched off."""
    told = [
        "<h1>Web Listing Disabled</h1>",
        "<p>This site shows no listings. Its owner can allow them: X-Container-Meta-Web-Listings: true</p>",
    ]
    if index:
        told.append(f"<p>Its index, <b>{escape(index)}</b>, is not here.</p>")
    return _page(f"Listing of {label}", css, "\n".join(told))


def css_path(css: str, prefix: str) -> str:
    """A style sheet's address, seen from the folder; one that begins at a root stays as it is."""
    if not css:
        return ""
    if css.startswith(("/", "http://", "https://")):
        return quote(css, safe=":/")
    return "../" * prefix.count("/") + quote(css)


def _page(title: str, css: str, body: str) -> str:
    style = f"<style>\n{_STYLE}\n</style>"
    if css:
        style = f'<link rel="stylesheet" type="text/css" href="{escape(css)}" />'
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title>",
        style,
    ]
    return "\n".join(
        ["<!DOCTYPE html>", "<html>", "<head>", *head, "</head>", "<body>", body, "</body>", "</html>", ""]
    )


def _object(row: dict[str, Any], prefix: str, query: str) -> str:
    kinds = " ".join(f"type-{part.strip().lower()}" for part in row["content_type"].split("/"))
    date = row["last_modified"].partition(".")[0].replace("T", " ")
    return _row(kinds, row["name"][len(prefix) :], query, size(row["bytes"]), date)


def _row(kind: str, name: str, query: str, shown_size: str = "", date: str = "") -> str:
    # A dot as %2E, or a browser would take a folder called .. for the one above.
    link = f"./{quote(name).replace('.', '%2E')}{query}"
    return f'<tr class="item {escape(kind)}">{_name(name, link)}{_cells(shown_size, date)}</tr>'


def _name(name: str, link: str) -> str:
    return f'<td class="colname"><a href="{escape(link)}">{escape(name)}</a></td>'


def _cells(shown_size: str, date: str) -> str:
    sizes, dates = shown_size or "&nbsp;", escape(date) or "&nbsp;"
    return f'<td class="colsize">{sizes}</td><td class="coldate">{dates}</td>'


def size(count: int) -> str:
    """A number of bytes for people."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(max(count.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{count / 1024**power:.{1 if power else 0}f} {units[power]}"
