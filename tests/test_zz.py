import json, time
from dataclasses import replace
import pytest
from pathlib import Path
from collective.clients.reports import content, definition, html, templates, text
from collective.clients.reports.content import build
import collective.clients.reports as R
HOST=[{"identity":"web1","facts":{"a":1,"mounts":5},"agents":{"x":"1"},"classes":[]},
 {"identity":"web2","facts":{"a":{"b":1},"mounts":["/"]},"agents":{"x":"1"},"classes":[]},
 {"identity":"web3","facts":{"a":"<script>alert(1)</script>","mounts":{"k":float("1e308")}},"agents":{"x":"1"},"classes":[]},
 {"identity":"web4","facts":{"a":float("nan"),"mounts":None,"big":10**400},"agents":{"x":"1"},"classes":[]},
 {"identity":"web5","facts":{"a":[[1]],"mounts":"str"},"agents":{"x":"1"},"classes":[]},
]
def rep(tmp_path, y):
    p=tmp_path/"r.yaml"; p.write_text(y); return definition.read(p)
@pytest.mark.parametrize("y",[
 "title: t\nexpand: facts.mounts\ncolumns: [{heading: A, value: entry.key},{heading: B, value: facts.a}]\nsort: [A,B]\n",
 "title: t\ncolumns: [{heading: A, value: facts.a}, {heading: G, value: facts.big}]\nsort: [A, -G]\ntotals: {A: average, G: sum}\nbars: [A]\n",
 "title: t\ncolumns: [{heading: A, value: facts.a, format: bytes}, {heading: G, value: facts.big, format: duration},{heading: T, value: facts.big, format: time},{heading: N, value: facts.mounts, format: names},{heading: H, value: facts.big, format: age}]\ntotals: {G: average}\ncollapse: true\ngroup: A\n",
 "title: t\ndiffers: facts.a\ncolumns: [{heading: A, value: facts.a}]\n",
 "title: t\npage_body: '{{ node.identity }} {{ node.facts.mounts | bytes }} {{ node.facts.big | duration}} {{ node.facts.a | column(9)}} {% for k in node.facts.mounts %}{{k}}{% endfor %}'\n",
])
def test_r(tmp_path,y):
    r=rep(tmp_path,y)
    from collective.clients.render.view import Screen
    import io
    c=build(r,HOST,time.time())
    if r.is_template: print(templates.write(c)); return
    h=html.as_html(c); assert "<script>alert" not in h
    text.as_markdown(c); text.as_text(c, Screen(io.StringIO(),columns=80))
