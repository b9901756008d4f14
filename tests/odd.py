"""Identifiers as nobody expects them, and as somebody sends them; each is taken as it is."""

IDENTIFIERS = (
    *(".", "..", "...", "." * 100, "/", "//", "a/b", "a/", "/a", "a/../b", "../..", "./."),
    *("%2F", "%2e%2e", "..%2F", "%", "%zz", "%00", "#", "a#b", "?", "a?b=c", "&", "a=b&c=d", "+"),
    *("a+b", " ", " a ", "a b", ";", "@a", "~", "*", "{id}", "{identifier:path}", "[bold]x", "[]"),
    *("-", "--", "-x", "--help", "--live", "-h", "--identifier=x", "'", '"', "\\", "\\n"),
    *("<b>&lt;", "mev_1", "search", "event", "None", "null", "0", "é", "e\u0301", "\u00a0"),
    *("\N{TOP HAT}", "\N{TOP HAT}" * 100, "x" * 100, "\n", "a\r\nb", "\ta", "\x1b[31mred", "\x7f"),
    *("\u2028", "\u202eabc", "\ufeff"),
)

# One of each kind, for a door that takes its time.
FEW = (".", "..", "a/", "a/../b", "%2F", "%", "#", "?", "&", " ", "--help", "é", "\n", "<b>&lt;")

assert len({*IDENTIFIERS}) == len(IDENTIFIERS)
assert {*FEW} <= {*IDENTIFIERS}
