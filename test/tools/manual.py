"""Makes the manual of the directives in the form of httpd's: build/manual/mod_md.xml and mod_md.html.

The source is docs/directives.md. The XML has the element names of httpd's modulesynopsis.dtd, so that it can be put among the
sources of httpd's manual, and translated there: a file for each language. `make manual` runs this; test_tools_manual.py checks it.
"""
import re
import sys
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

TOP = Path(__file__).resolve().parent.parent.parent
MARKDOWN = MarkdownIt("commonmark").enable("table")
DESCRIPTION = "Obtains and renews TLS certificates by ACME, and staples OCSP responses"
COMPATIBILITY = "httpd 2.4.49 and later; takes the place of the C module of the same name"
# Contexts that httpd's manual has; others are told in the text.
CONTEXTS = ("server config", "virtual host", "directory", ".htaccess")
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem; color: #222; background: #fff; }
pre, dl, td, th { padding: .5rem; } pre, dl { background: #f4f4f4; overflow-x: auto; } table { border-collapse: collapse; }
td, th { border: 1px solid #888; text-align: left; vertical-align: top; } dt { font-weight: bold; } dd { margin: 0 0 .3rem 1rem; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818; } pre, dl { background: #262626; } a { color: #8bf; } }
"""


def sections(text):
    """(name, items, body) of each directive, and the other parts as (title, None, body), in order."""
    for level, title, body in re.findall(r"^(##|###) (.+?)\n(.*?)(?=^###? |\Z)", text, re.M | re.S):
        if level == "##":
            yield title, None, body
        else:
            top = re.match(r"\s*(?:- \w+: .+\n)+", body)[0]
            yield title.strip("`"), dict(re.findall(r"^- (\w+): (.+)$", top, re.M)), body[len(top):]


def identifier(name):
    """The target of links: as httpd's manual has it, in lower case and without brackets."""
    return name.strip("<>").lower() if not name.startswith("<MDomain>") else "mdomain-1"


def see_also(body, name):
    """The directives that a text leads to, in order and without itself."""
    return [each for each in dict.fromkeys(re.findall(r"\[`?<?(MD\w+)>?`?\]\(#", body)) if each != name.strip("<>")]


def inline(text):
    """A line of Markdown as XHTML, without a paragraph around it."""
    return MARKDOWN.renderInline(text)


def xml_body(body):
    """Markdown as the elements that httpd's manual has for text."""
    text = MARKDOWN.render(body)
    text = re.sub(r'<pre><code class="language-apache">(.*?)</code></pre>', r'<highlight language="config">\n\1</highlight>', text, flags=re.S)
    text = re.sub(r"<pre><code[^>]*>(.*?)</code></pre>", r"<example><pre>\1</pre></example>", text, flags=re.S)
    text = re.sub(r'<a href="#[\w-]+">(?:<code>)?(?:&lt;)?(MD\w+)(?:&gt;)?(?:</code>)?</a>', r'<directive module="mod_md">\1</directive>', text)
    text = re.sub(r"</?(?:thead|tbody)>\n?", "", text)
    return text.replace("<table>", '<table border="1" style="zebra">')


def directive_xml(name, items, body):
    """One directivesynopsis."""
    kind = ' type="section" idtype="section"' if name.startswith("<") else ""
    places, _, override = items["Context"].replace("`", "").partition("; override ")
    contexts = [place for place in places.split(", ") if place in CONTEXTS]
    others = [place for place in places.split(", ") if place not in CONTEXTS]
    if others:
        body = f"{body.rstrip()}\n\nAlso allowed in {' and '.join(f'`{each}`' for each in others)}.\n"
    lines = [f"<directivesynopsis{kind}>", f"<name>{escape(name.strip('<>'))}</name>", f"<description>{escape(items['Description'])}</description>"]
    lines.append(f"<syntax>{escape(items['Syntax'].strip('`'))}</syntax>")
    if items["Default"] != "none":
        lines.append(f"<default>{escape(items['Default'].strip('`'))}</default>")
    lines.append("<contextlist>" + "".join(f"<context>{each}</context>" for each in contexts) + "</contextlist>")
    if override:
        lines.append(f"<override>{override}</override>")
    lines.append(f"<compatibility>{escape(items['Compatibility'])}</compatibility>")
    lines.append(f"<usage>\n{xml_body(body)}</usage>")
    lines += [f'<seealso><directive module="mod_md">{each}</directive></seealso>' for each in see_also(body, name)]
    return "\n".join([*lines, "</directivesynopsis>"])


def as_xml(text):
    """The whole page for httpd's manual."""
    parts = list(sections(text))
    out = ['<?xml version="1.0"?>', '<!DOCTYPE modulesynopsis SYSTEM "../style/modulesynopsis.dtd">',
           '<?xml-stylesheet type="text/xsl" href="../style/manual.en.xsl"?>', '<modulesynopsis metafile="mod_md.xml.meta">',
           "<name>mod_md</name>", f"<description>{DESCRIPTION}</description>", "<status>Extension</status>",
           "<sourcefile>mod_md.c</sourcefile>", "<identifier>md_module</identifier>", f"<compatibility>{COMPATIBILITY}</compatibility>"]
    [how] = [body for title, items, body in parts if title == "How to read this" and items is None]
    out.append(f"<summary>\n{xml_body(how)}</summary>")
    for title, items, body in parts:
        if items is None and body.strip() and title != "How to read this":
            out.append(f'<section id="{title.lower().replace(" ", "-")}"><title>{escape(title)}</title>\n{xml_body(body)}</section>')
    # `<MDomain>` would have the name of MDomain, which it is another spelling of.
    out += [directive_xml(name, items, body) for name, items, body in parts if items and name != "<MDomain>"]
    return "\n".join([*out, "</modulesynopsis>", ""])


def as_html(text):
    """The same page for a browser."""
    out = ['<!DOCTYPE html>', '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
           f"<title>mod_md: directives</title><style>{STYLE}</style></head><body>", MARKDOWN.render(text.partition("\n## ")[0])]
    for title, items, body in sections(text):
        if items is None:
            out.append(f'<h2 id="{title.lower().replace(" ", "-")}">{escape(title)}</h2>\n{MARKDOWN.render(body)}')
            continue
        items = {**items, "Status": "Extension", "Module": "mod_md"}
        terms = "".join(f"<dt>{name}</dt><dd>{inline(value)}</dd>" for name, value in items.items())
        links = ", ".join(f'<a href="#{identifier(each)}">{each}</a>' for each in see_also(body, title))
        out.append(f'<h3 id="{identifier(title)}">{escape(title)}</h3>\n<dl>{terms}</dl>\n{MARKDOWN.render(body)}')
        out.append(f"<p>See also: {links}</p>" if links else "")
    page = "\n".join([*out, "</body></html>", ""])
    return re.sub(r'href="(?![#\w]*:|#)([\w.-]+)\.md', r'href="../../docs/\1.md', page)


def main():
    """Writes both files."""
    text, folder = (TOP / "docs/directives.md").read_text(), TOP / "build/manual"
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in (("mod_md.xml", as_xml(text)), ("mod_md.html", as_html(text))):
        (folder / name).write_text(page)
        print(folder.relative_to(TOP) / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
