"""Convert template resources of confd, as far as they are data, and list what cannot be converted.

    imported = read(Path("conf.d/haproxy.toml"), None, {"/services/web": "/roles/web"})
    imported.settings      the YAML file for crpc template render
    imported.template      the Jinja2 template
    imported.lost          one line for each part that was not converted

resource.py       the TOML file
go_words.py       the words of an action of a Go template
expressions.py    an expression of a Go template → Jinja2
go_template.py    a Go template → Jinja2
"""

from collective.confd_import.resource import ImportedTemplate, read

__all__ = ["ImportedTemplate", "read"]
